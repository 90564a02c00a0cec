"""The files in deploy/systemd: systemd takes them, they protect, and the pages that name them name what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.systemd_host import ROOT, UNITS

PAGE = ROOT / "docs/how-to/deploy.md"
MOST_EXPOSED = 32  # tenths, as systemd-analyze counts them

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not shutil.which("systemd-analyze"), reason="systemd is not installed: tests/support/install_deploy.sh"
    ),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the units with a program that exists; the template has an instance, which alone can be looked at."""
    for file in UNITS.glob("oet*"):
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", file.read_text(), flags=re.MULTILINE)
        (tmp_path / file.name.replace("@.", "@01.")).write_text(text)
    return tmp_path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", ["oet-device@01.service", "oet-device.target", "oet.slice"])
def test_systemd_has_nothing_to_say_against_a_unit(folder: Path, name: str) -> None:
    found = analyze("verify", folder / name)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_systemd_has_nothing_to_say_against_the_unit_with_a_sites_own_settings(folder: Path) -> None:
    drop_ins = folder / "oet-device@01.service.d"
    drop_ins.mkdir()
    shutil.copy(UNITS / "examples/site.conf", drop_ins)
    found = analyze("verify", folder / "oet-device@01.service")
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_what_systemd_does_not_know_is_noticed(folder: Path) -> None:
    unit = folder / "oet-device@01.service"
    unit.write_text(unit.read_text().replace("KillMode=", "KilMode="))
    assert "KilMode" in analyze("verify", unit).stderr


def test_a_server_is_as_little_exposed_as_before(folder: Path) -> None:
    found = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", folder / "oet-device@01.service")
    assert found.returncode == 0, found.stdout + found.stderr


def test_each_instance_has_room_in_the_slice_of_all() -> None:
    assert "Slice=oet.slice" in (UNITS / "oet-device@.service").read_text()
    assert {"MemoryMax", "TasksMax"} <= set(re.findall(r"^(\w+)=", (UNITS / "oet.slice").read_text(), re.MULTILINE))


def test_the_page_installs_every_file_and_no_other() -> None:
    section = PAGE.read_text().partition("\n## By systemd\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"deploy/systemd/([\w./@-]*\w)", section))
    assert named == {str(file.relative_to(UNITS)) for file in UNITS.rglob("*") if file.is_file()}
