"""`oet config` writes files without a device, a database or Tango, or says why not."""

from __future__ import annotations

import json
import os
import stat
import subprocess

import pytest
from support.shell import Done, OetCommand
from support.tango_server import program


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory):
    """Call `oet config` where no Tango can be imported."""
    poison = tmp_path_factory.mktemp("no-tango")
    (poison / "tango.py").write_text("raise RuntimeError('Tango is not to be loaded')\n")
    command = OetCommand("no-such-host:1")
    return lambda *arguments, **more: command("config", *arguments, PYTHONPATH=str(poison), **more)


def test_it_writes_to_standard_output(config):
    done: Done = config("dsconfig", "--mid", "--subarrays", "2")
    assert (done.status, done.err) == (0, "")
    assert list(json.loads(done.out)["servers"]["OetDevice"]) == ["01", "02"]


def test_it_writes_a_file_which_says_how_it_was_written(config, tmp_path):
    path = tmp_path / "oet.json"
    done = config("dsconfig", "--low", "-p", "ScriptRoots=/my scripts", "--output", str(path))
    assert (done.status, done.out, done.err) == (0, "", "")
    said = json.loads(path.read_text())["_source"]
    assert said == "oet config dsconfig --low --subarrays 1 '--property=ScriptRoots=/my scripts'"


def test_a_file_that_is_there_is_replaced_and_stays_as_open_as_it_was(config, tmp_path):
    path, link = tmp_path / "oet.yaml", tmp_path / "link"
    path.write_text("old" * 10_000)
    path.chmod(0o640)
    link.symlink_to(path)
    assert config("archiving", "--mid", "-o", str(link)).status == 0
    assert "old" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["link", "oet.yaml"]


def test_a_new_file_may_be_read_by_whom_the_umask_lets(config, tmp_path):
    path = tmp_path / "oet.yaml"
    before = os.umask(0o027)
    try:
        assert config("archiving", "--mid", "-o", str(path)).status == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dsconfig",), "--mid or --low is missing"),
        (("dsconfig", "--mid", "--low"), "--mid or --low, and not both"),
        (("archiving", "--mid", "--hdbpp", "--eda"), "--hdbpp or --eda, and not both"),
        (("dsconfig", "--mid", "--subarrays", "0"), "0 is not a number of subarrays from 1 to 99"),
        (("archiving", "--low", "-n", "100"), "100 is not a number of subarrays from 1 to 99"),
        (("dsconfig", "--mid", "-n", "two"), "'--subarrays'"),
        (("dsconfig", "--mid", "-p", "ScriptRoots"), "--property 'ScriptRoots' is not NAME=VALUE"),
        (("dsconfig", "--mid", "-p", "Roots=/a"), "'Roots' is no property; these are: ScriptRoots, "),
        (("dsconfig", "--mid", "-p", "SpareWorkers=-1"), "Property SpareWorkers: '-1' is not a whole number"),
        (("archiving", "--mid", "--tango-host", "x"), "'x' is not HOST:PORT of a Tango database"),
        (("archiving", "--mid", "--manager", "x"), "'x' is not the name of a device"),
    ],
    ids=lambda each: "-".join(each).replace("--", "") if isinstance(each, tuple) else "",
)
def test_arguments_that_do_not_fit_are_told_in_a_line(config, tmp_path, arguments, said):
    path = tmp_path / "file"
    done = config(*arguments, "--output", str(path))
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not path.exists()


@pytest.mark.parametrize("path", ["/nowhere/oet.json", "/proc/oet.json", "/", "/dev/full"])
def test_a_file_that_cannot_be_written_is_told(config, path):
    done = config("dsconfig", "--mid", "--output", path)
    assert done.status == 74
    assert f"oet: {path} cannot be written: " in done.err


def in_a_shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line, "sh", program("oet"), "config", "dsconfig", "--mid", "-n", "99"],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_file_that_there_is_no_room_for_leaves_the_old_one(tmp_path):
    path = tmp_path / "oet.json"
    path.write_text("old")
    done = in_a_shell(f'ulimit -f 1; exec "$@" --output {path}')
    assert (done.returncode, done.stderr) == (74, f"oet: {path} cannot be written: File too large\n")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["oet.json"]


def test_a_full_standard_output_is_told():
    done = in_a_shell('exec "$@" >/dev/full')
    assert (done.returncode, done.stderr) == (74, "oet: standard output cannot be written: No space left on device\n")


def test_a_reader_that_has_gone_is_nothing_to_speak_of():
    done = in_a_shell('"$@" | true')
    assert (done.returncode, done.stderr) == (0, "")
