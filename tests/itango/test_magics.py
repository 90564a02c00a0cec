"""The magics in a real itango, line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.itango_session import itango_session

from ska_oet_device.client._stack import Stack

SHELLS = ["itango", pytest.param("ipython", marks=pytest.mark.long)]
LOAD = "%load_ext ska_oet_device.itango"


def answers(lines: list[str], environment: dict[str, str], folder: Path, shell: str = "itango") -> dict[str, str]:
    """Return what a shell answers to lines, none of which is there twice, without the marks of an Out."""
    found = itango_session([LOAD, *lines], environment, folder, shell=shell)
    assert found[0] == ""
    assert len(set(lines)) == len(lines)
    return dict(zip(lines, (re.sub(r"^Out\[\d+\]: \n?", "", answer) for answer in found[1:]), strict=True))


@pytest.mark.parametrize("shell", SHELLS)
def test_results_are_objects_that_look_like_lines_and_tables(
    environment: dict[str, str], tmp_path: Path, shell: str
) -> None:
    said = answers(
        [
            "p = %oet_run -i subarray_id=3 hello.py Anna seconds={1/4}",
            "p.wait().state.is_terminal",
            "p",
            "p.summary()",
            "%oet_output",
            "d = %oet_describe",
            "d",
            "d.summary.calls[-1].kwargs",
            "t = %oet_list",
            "t",
            "t[-1].id == p.id",
        ],
        environment,
        tmp_path,
        shell,
    )
    assert said["p.wait().state.is_terminal"] == "True"
    assert re.fullmatch(r"procedure \d+  file://hello.py  COMPLETE  completed", said["p"])
    assert said["p.summary()"] == said["p"]
    assert said["%oet_output"] == "Hello Anna, from subarray 3"
    assert re.search(r"^  called    \S+  main\('Anna', seconds=0.25\)$", said["d"], re.MULTILINE)
    assert re.search(rf"^  asked by  \S+  Run: \w+ \(\S*{shell}\S* pid \d+ on host \S+\)$", said["d"], re.MULTILINE)
    assert said["d.summary.calls[-1].kwargs"] == "{'seconds': 0.25}"
    table = said["t"].splitlines()
    assert table[0].split() == ["ID", "SCRIPT", "STATE", "SINCE", "REASON"]
    assert re.fullmatch(r"\d+ +file://hello.py +COMPLETE +[\d:]+ +completed", table[-1])
    assert said["t[-1].id == p.id"] == "True"


@pytest.mark.parametrize("shell", SHELLS)
def test_each_error_is_one_line_that_begins_with_the_reason_of_the_contract(
    environment: dict[str, str], tmp_path: Path, shell: str
) -> None:
    expected = {
        "%oet_run nosuch.py": r"OET_ScriptNotFound: no file for file://nosuch.py; .*",
        "%oet_describe 999999": r"OET_UnknownProcedure: there is no procedure 999999 on .*",
        "%oet_stop 999998": r"OET_UnknownProcedure: there is no procedure 999998 on .*",
        "%oet_output soon": r"OET_UnknownProcedure: soon is no id of a procedure",
        "%oet_stop for good": r"OET_InvalidState: no procedure is alive: there is none to stop",
        "%oet_stop -n bye": r"UsageError: -n: there is no such option",
        "%oet_stop 1 --now": r"UsageError: --now: there is no such option",
        "%oet_output -n 5": r"UsageError: -n: there is no such option",
        "%oet_device no/such/device": r"UnreachableError: device no/such/device not defined .*; "
        r"the OetDevices there are: mid-oet/subarray/01",
        "%oet_run": r"UsageError: which script\?.*",
        "%oet_run hello.py [1, 2": r"UsageError: \] is missing: \[1, 2",
        "%oet_run hello.py $nobody": r"UsageError: nobody: NameError: name 'nobody' is not defined",
        "%oet_run hello.py {1, 2}": r"UsageError: .* set .*",
        "%oet_list 3": r"UsageError: 3: %oet_list takes -a, or nothing",
    }
    said = answers([*expected, "1/0"], environment, tmp_path, shell)
    for line, pattern in expected.items():
        assert re.fullmatch(pattern, said[line]), said[line]
    assert "ZeroDivisionError" in said["1/0"]
    assert ("python_error" if shell == "itango" else "Traceback") in said["1/0"]  # as the shell has it


def test_what_has_been_stopped_is_meant_behind_its_abort_script_and_said_to_have_ended(
    environment: dict[str, str], tmp_path: Path
) -> None:
    said = answers(
        [
            "p = %oet_run hello.py seconds=600",
            "p.wait('RUNNING').state.name",
            "s = %oet_stop",
            "s.abort_script.wait().state.name",
            "oet = %oet_device",
            "oet.active.id == s.abort_script.id",
            "%oet_describe",
            "%oet_output",
            "%oet_stop {p}",
        ],
        environment,
        tmp_path,
    )
    assert said["oet.active.id == s.abort_script.id"] == "True"
    assert re.match(r"procedure \d+  file://hello.py\n  state     STOPPED", said["%oet_describe"])
    assert said["%oet_output"] == ""
    ended = r"procedure \d+ \(file://hello.py\) had ended already: STOPPED, stopped on request.*"
    assert re.fullmatch(ended, said["%oet_stop {p}"])


FAILS = """
def main():
    raise ValueError("the wind")
"""


@pytest.mark.long
def test_a_failure_is_told_in_one_line_and_described_with_the_scripts_traceback(
    environment: dict[str, str], own_scripts: Path, tmp_path: Path
) -> None:
    (own_scripts / "fails.py").write_text(FAILS)
    said = answers(
        ["p = %oet_run fails.py", "p.wait()", "p", "%oet_describe", "%oet_run -w fails.py"], environment, tmp_path
    )
    reason = "ValueError: the wind"
    assert re.fullmatch(rf"ProcedureFailed: procedure \d+ \(file://fails.py\) is FAILED: {reason}", said["p.wait()"])
    assert re.fullmatch(rf"procedure \d+  file://fails.py  FAILED  {reason}", said["p"])
    assert re.search(rf"\n  reason    {reason}\n", said["%oet_describe"])
    assert re.search(
        rf'\n\nTraceback .*\n  File ".*fails.py", line 3, in main\n(.*\n)+{reason}$', said["%oet_describe"]
    )
    assert said["%oet_run -w fails.py"].endswith(f"FAILED  {reason}")


@pytest.mark.long
def test_a_run_whose_start_is_dropped_says_so_and_is_not_watched_for_ever(
    environment: dict[str, str], tmp_path: Path
) -> None:
    said = answers(
        [
            "p = %oet_run hello.py seconds=600",
            "p.wait('RUNNING')",
            "p",
            "q = %oet_run scan.py",
            "%oet_watch {q}",
            "%oet_stop {p}",
            "q.stop(abort=False)",
        ],
        environment,
        tmp_path,
    )
    assert re.fullmatch(r"procedure \d+  file://hello.py  RUNNING(  0 %  taking a breath)?", said["p"])
    assert re.search(r"procedure \d+  file://scan.py  READY  not started: .*RUNNING.*$", said["%oet_watch {q}"])


def test_a_device_is_chosen_by_name_or_by_the_environment(
    up: Stack, environment: dict[str, str], tmp_path: Path
) -> None:
    by_variable = {**environment, "OET_DEVICE": up.device}
    line = "oet = %oet_device"
    chosen = "%oet_device mid-oet/subarray/01"
    said = answers([line, "oet", "%oet_device sim/mount/1", "%oet_device", chosen], by_variable, tmp_path)
    assert re.fullmatch(rf"{up.device}  OK  ON: Ready: no procedure is alive\..*", said["oet"])
    assert re.fullmatch(
        r"NoDevice: sim/mount/1 is a \w+, not an OetDevice; .*: mid-oet/subarray/01", said["%oet_device sim/mount/1"]
    )
    assert said["%oet_device"] == said["oet"]
    assert re.fullmatch(r"mid-oet/subarray/01  OK  ON: Ready: no procedure is alive\..*", said[chosen])


def test_unloaded_and_loaded_again_twice_it_works_and_leaves_the_shell_as_it_was(
    environment: dict[str, str], tmp_path: Path
) -> None:
    matchers = "len(get_ipython().Completer.custom_matchers)"
    lines = [
        matchers,
        "handler = get_ipython().CustomTB",
        LOAD,
        "import ska_oet_device.itango as ours",
        "ours.load_ipython_extension(get_ipython())",
        "%oet_list -a",
        "%unload_ext ska_oet_device.itango",
        f"{matchers} ",
        "get_ipython().CustomTB == handler",
        "%oet_list -a",
        LOAD,
        "%reload_ext ska_oet_device.itango",
        "%oet_describe 999999",
    ]
    said = itango_session(lines, environment, tmp_path)
    assert said[5].splitlines()[0].split()[:2] in (["ID", "SCRIPT"], ["Out[6]:"], ["Out[6]:", "no"])
    assert said[0].rpartition(" ")[2] == said[7].rpartition(" ")[2] == "0"
    assert said[8].endswith("True")
    assert "not found" in said[9]
    assert said[12].startswith("OET_UnknownProcedure: ")


COMPLETED = {
    "%oet_run sc": "scan.py",
    "oet_run he": "hello.py",
    "p = %oet_run -w ": "hello.py",
    "%oet_describe ": "1",
    "%oet_output -f ": "1",
    "%oet_device mid": "mid-oet/subarray/01",
}


@pytest.mark.long
def test_scripts_ids_and_devices_are_completed(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "scandal.txt").touch()
    lines = [
        f"get_ipython().Completer.complete(line_buffer={line!r})[1]"
        for line in [*COMPLETED, "%oet_run hello.py sc", "%oet_run ./sc"]
    ]
    found = itango_session([LOAD, "%oet_run -w hello.py", *lines], environment, tmp_path)[2:]
    for (line, wanted), answer in zip(COMPLETED.items(), found, strict=False):
        assert f"'{wanted}'" in answer, (line, answer)
        assert "scandal" not in answer, (line, answer)
    assert "scan.py" not in found[-2]  # an argument is none of ours
    assert "./scandal.txt" in found[-1]  # nor a path of this machine


@pytest.mark.long
def test_a_database_that_is_away_is_an_error_of_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    nobody = {**environment, "TANGO_HOST": "127.0.0.1:9"}
    said = answers(
        ["%oet_list", "get_ipython().Completer.complete(line_buffer='%oet_describe ')[1]"], nobody, tmp_path, "ipython"
    )
    assert re.fullmatch(r"UnreachableError: .*", said["%oet_list"])
