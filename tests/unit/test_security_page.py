"""What docs/explanations/security.md names is there, and the unit that it links to is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ska_oet_device.properties import BY_NAME

PAGE = Path(__file__).parents[2] / "docs/explanations/security.md"
RUN_PAGE = Path(__file__).parents[2] / "docs/how-to/run-it-for-good.md"
OF_TANGO = {"EventBufferHwm"}
NO_PROPERTY = {"create_env"}


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text()


def test_it_opens_what_there_is(text):
    table = text.partition("## What each property opens")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert "ScriptRoots" in named
    assert named - OF_TANGO - NO_PROPERTY <= set(BY_NAME)


def test_it_links_to_files_that_there_are(text):
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_there_is_one_unit_to_which_the_page_links(text):
    assert "```ini" not in text
    assert "../how-to/run-it-for-good.md#by-systemd" in text
    assert RUN_PAGE.read_text().count("\n## By systemd\n") == 1


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path):
    unit = re.search(r"```ini\n(.*?)```", RUN_PAGE.read_text(), re.DOTALL)[1]
    file = tmp_path / "oet-device@01.service"
    file.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", unit, flags=re.MULTILINE))
    found = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (found.returncode, found.stderr) == (0, "")
