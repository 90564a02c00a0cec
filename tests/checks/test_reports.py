"""What the report of a check says of a script."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.parse
from pathlib import Path

import pytest
from support.checks import STEPS, checked, failure, report_of, steps_of
from support.tango_server import SCRIPTS

from ska_oet_device.config import EXAMPLES

MAIN = "\ndef main():\n    pass\n"
WELL = {**dict.fromkeys(STEPS, True), "environment": None}


def test_a_script_that_is_as_it_should_be_is_told_with_its_functions(oet):
    before = time.time()
    report = checked(oet, "good.py")
    assert set(report) == {"check_id", "complete", "ok", "steps", "docstring", "functions", "provenance"}
    assert report["ok"] is report["complete"] is True
    assert steps_of(report) == WELL
    times = [step["time"] for step in report["steps"] if step["ok"]]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= time.time()
    assert {step["reason"] for step in report["steps"]} == {None}
    assert report["docstring"] == "A script as it should be: init, main, and other functions."
    assert list(report["functions"]) == ["init", "main", "calibrate"]
    assert report["functions"]["main"] == {
        "signature": "(scans=0)",
        "docstring": "Observe.",
        "parameters": {
            "type": "object",
            "properties": {"scans": {"default": 0}},
            "required": [],
            "additionalProperties": False,
        },
    }
    assert report["provenance"]["path"] == str(SCRIPTS / "good.py")
    assert len(report["provenance"]["sha256"]) == 64


def test_a_bare_uri_is_checked_too(oet):
    check_id = json.loads(oet.proxy.Check("file://good.py"))["check_id"]
    assert report_of(oet, check_id)["ok"]


@pytest.mark.parametrize("name", sorted(path.name for path in Path(EXAMPLES).glob("[!_]*.py")))
def test_the_packaged_examples_are_well(oet, folder, name):
    shutil.copy(Path(EXAMPLES) / name, folder / f"example_{name}")
    report = checked(oet, f"example_{name}")
    assert report["ok"], report
    assert report["docstring"]
    assert "main" in report["functions"]


@pytest.mark.parametrize(
    ("text", "step", "reason"),
    [
        ("def main(:\n", "compiles", "SyntaxError"),
        ('{"cells": [], "nbformat": 4}\n', "compiles", "notebook"),
        ("x = 1\n", "functions", "the script has no function main"),
        ("main = 1\n", "functions", "a main that cannot be called (int)"),
        ("raise LookupError('no such receiver')" + MAIN, "imports", "LookupError: no such receiver"),
        ("import sys\nsys.exit('enough')" + MAIN, "imports", "SystemExit: enough"),
        ("import os\nos._exit(3)" + MAIN, "imports", "the process ended with exit code 3 in LOADING"),
        ("import os\nos._exit(0)" + MAIN, "imports", "the process ended with exit code 0 in LOADING"),
        ("import ctypes\nctypes.string_at(0)" + MAIN, "imports", "ended with signal 11 (SIGSEGV) in LOADING"),
        ("import os\nos.kill(os.getpid(), 9)" + MAIN, "imports", "ended with signal 9 (SIGKILL) in LOADING"),
        ("import os\nos.kill(os.getpid(), 15)" + MAIN, "imports", "SIGTERM from outside"),
        ("a = []\nwhile True:\n    a.append(bytes(10 << 20))" + MAIN, "imports", "MaxMemory is 300 MiB"),
        (
            "from ska_oet_device import scripting\nscripting.stop('clouds')" + MAIN,
            "imports",
            "stopped by the script: clouds",
        ),
        ("import os\nos.closerange(3, 256)" + MAIN, "imports", "ended with exit code"),
        ("input()" + MAIN, "imports", "nobody can answer"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_script_is_told_as_a_procedure_would_tell_it(oet, script, text, step, reason):
    report = checked(oet, script(text))
    failed, why = failure(report)
    assert (failed, reason in why) == (step, True), why
    assert report["provenance"]["sha256"]


@pytest.mark.parametrize(
    "text",
    [
        "import time\nwhile True:\n    time.sleep(1)",
        pytest.param("import signal, time\nsignal.signal(15, 1)\ntime.sleep(99)", marks=pytest.mark.long),
    ],
    ids=str,
)
def test_an_import_that_does_not_end_is_ended_and_told(oet, script, impatient, text):
    with impatient(3):
        failed, why = failure(checked(oet, script(text + MAIN)))
    assert failed == "imports"
    assert "LOADING took longer than LoadTimeout (3 s)" in why


def test_no_line_of_a_script_runs_that_has_no_main(oet, script, tmp_path):
    name = script(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    report = checked(oet, name)
    assert steps_of(report)["imports"] is None
    assert not (tmp_path / "ran").exists()


def test_a_script_that_is_not_there_is_reported_and_not_refused(oet):
    step, reason = failure(checked(oet, "no_such_script.py"))
    assert step == "found"
    assert "no file for file://" in reason
    assert "no_such_script.py" in reason


def test_a_script_outside_the_roots_is_not_found(oet):
    step, reason = failure(checked(oet, {"script_type": "filesystem", "script_uri": "file:///etc/passwd"}))
    assert step == "found"
    assert "outside ScriptRoots" in reason


TAKES = """
def init(subarray_id, sources=()):
    pass

def main(duration, *, band=1):
    pass

def calibrate():
    pass

__all__ = ["main", "elsewhere"]
from os.path import join as elsewhere, exists
"""


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, None),
        ({"init_args": {"kwargs": {"sources": ["a"]}}}, None),
        ({"run_args": {"args": [3]}}, None),
        ({"run_args": {"kwargs": {"duration": 3, "band": 2}}}, None),
        ({"fn_name": "calibrate"}, None),
        ({"fn_name": "elsewhere", "run_args": {"args": ["a", "b"]}}, None),
        ({"init_args": {"args": [1, 2, 3]}}, "the arguments do not fit init(subarray_id, sources=()): too many"),
        ({"fn_name": "main"}, "the arguments do not fit main(duration, *, band=1): missing"),
        ({"run_args": {"args": [1, 2]}}, "the arguments do not fit main(duration, *, band=1): too many"),
        ({"run_args": {"kwargs": {"durations": 1}}}, "the arguments do not fit main"),
        ({"fn_name": "exists", "run_args": {"args": ["a"]}}, "no function 'exists'; it defines: calibrate, elsewhere"),
        ({"fn_name": "nothing"}, "the script defines no function 'nothing'"),
    ],
    ids=str,
)
def test_arguments_are_looked_at_by_the_rules_of_the_call(oet, script, asked, reason):
    if "fn_name" in asked and asked["fn_name"] in ("exists", "nothing"):
        text = TAKES.replace("def init(subarray_id, sources=()):\n    pass\n", "")
    else:
        text = TAKES
    report = checked(oet, script(text), **asked)
    if reason is None:
        assert report["ok"], report
    else:
        step, why = failure(report)
        assert (step, reason in why) == ("arguments", True), why


def test_what_init_would_define_is_not_looked_for(oet, script):
    name = script("def init():\n    global later\n    later = print\n\ndef main():\n    pass\n")
    assert checked(oet, name, fn_name="later")["ok"]


TYPED = '''
from __future__ import annotations
import dataclasses, enum
from typing import Optional
from pydantic import BaseModel

class Band(enum.Enum):
    LOW = "low"
    HIGH = "high"

@dataclasses.dataclass
class Target:
    name: str
    ra: float = 0.0

class Plan(BaseModel):
    targets: list[Target]

def main(plan: Plan, band: Band = Band.LOW, note: Optional[str] = None, *, repeat: int = 1):
    """Observe a plan."""
'''


def test_parameters_have_the_schemas_of_their_annotations(oet, script):
    told = checked(oet, script(TYPED))["functions"]["main"]
    assert told["signature"].startswith("(plan: Plan, band: Band = ")
    assert told["signature"].endswith(", note: Optional[str] = None, *, repeat: int = 1)")
    parameters = told["parameters"]
    assert parameters["properties"] == {
        "plan": {"$ref": "#/$defs/Plan"},
        "band": {"$ref": "#/$defs/Band", "default": "low"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "repeat": {"type": "integer", "default": 1},
    }
    assert parameters["required"] == ["plan"]
    assert set(parameters["$defs"]) == {"Plan", "Band", "Target"}


def test_a_report_of_many_large_functions_is_no_larger_than_an_event_may_be(oet, script):
    text = "\n".join(f"def f{i}(a: int = {i}):\n    '''{'a' * 3000}'''\n" for i in range(150))
    report = checked(oet, script(f"'''{'ö' * 9000}'''\n{text}\ndef main():\n    pass\n"))
    assert report["ok"]
    assert len(json.dumps(report)) <= 64 * 1024
    assert len(report["docstring"]) > 100
    assert steps_of(report) == WELL
    assert len(report["functions"]) == 151
    assert report["functions"]["f0"]["docstring"]
    assert report["functions"]["f149"]["docstring"] is None


LARGE = """
'''{text}'''
{functions}
def main(a={text!r}):
    pass
"""


@pytest.mark.parametrize("name", ["é" * 125, "\x01" * 250], ids=["letters", "controls"])
def test_a_report_is_no_larger_than_an_event_may_be_whatever_its_reason_and_its_path(oet, folder, name):
    deep = os.fsencode(folder)
    for _ in range(14):  # a path has 4,095 bytes at most
        deep += b"/" + name.encode()
        os.mkdir(deep)
    functions = "\n".join(f"def f{i}(a: int = {i}):\n    {'😀' * 300!r}\n" for i in range(150))
    Path(os.fsdecode(deep), "a.py").write_text(LARGE.format(text="😀" * 9000, functions=functions))
    uri = "file://" + urllib.parse.quote(deep + b"/a.py")
    report = checked(oet, {"script_type": "filesystem", "script_uri": uri}, run_args={"args": [1, 2]})
    step, reason = failure(report)
    assert step == "arguments", reason[-300:]
    assert len(reason) == 1000
    assert report["functions"]["f0"]
    assert len(os.fsencode(report["provenance"]["path"])) > 3500
    assert 50 * 1024 < len(json.dumps(report)) <= 64 * 1024


def test_what_a_script_prints_goes_nowhere(oet, script):
    name = script("import logging, os\nprint('seen by nobody')\nos.system('echo seen by nobody')\n"
                  "logging.error('seen by nobody')\ndef main(): pass\n")  # fmt: skip
    assert checked(oet, name)["ok"]
    assert "seen by nobody" not in oet.server.log_text()
