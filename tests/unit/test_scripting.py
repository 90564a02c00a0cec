"""What a script may import, without a device around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ska_oet_device.scripting import ThisRun, report_progress, this_run


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), float("inf"), "half", None])
def test_progress_outside_0_to_100_is_refused_with_the_value_and_the_rule(percent: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 100") as refused:
        report_progress(percent)
    assert repr(percent) in str(refused.value)


def nested_beyond_measure() -> list[object]:
    nested: list[object] = [1]
    for _ in range(36):
        nested = [nested, nested]
    return nested


@pytest.mark.parametrize("percent", [nested_beyond_measure(), 10**400], ids=["nested", "large"])
def test_what_is_no_percentage_is_refused_however_long_its_text_would_be(percent: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 100") as refused:
        report_progress(percent)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("activity", [nested_beyond_measure(), None, 5, b"half"], ids=["nested", "None", "5", "bytes"])
def test_an_activity_that_is_no_text_is_refused(activity: str) -> None:
    with pytest.raises(TypeError, match=f"activity must be text, not {type(activity).__name__}"):
        report_progress(5, activity)


def in_a_fresh_interpreter(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_progress_is_harmless_where_no_device_executes_the_script() -> None:
    code = "from ska_oet_device.scripting import report_progress; report_progress(50, 'half'); print('went on')"
    assert in_a_fresh_interpreter(code) == "went on\n"


def test_progress_is_an_ordinary_message_of_the_scripts_own_pypubsub() -> None:
    code = (
        "from pubsub import pub\n"
        "from ska_oet_device.scripting import report_progress\n"
        "def listener(percent, activity): print(percent, activity)\n"
        "pub.subscribe(listener, 'script.progress')\n"
        "report_progress(50, 'half')\n"
    )
    assert in_a_fresh_interpreter(code) == "50.0 half\n"


def test_importing_it_loads_no_tango() -> None:
    code = "import sys, ska_oet_device.scripting; print('tango' in sys.modules, 'pydantic' in sys.modules)"
    assert in_a_fresh_interpreter(code) == "False False\n"


VARIABLES = {
    "SKA_OET_PROCESS_UID": "3",
    "SKA_OET_RUN_ID": "0199",
    "SKA_OET_DEVICE": "mid-oet/subarray/02",
    "SKA_OET_SUBARRAY_ID": "2",
}


def test_a_script_can_be_tried_without_a_device_by_saying_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert this_run() == ThisRun(3, "0199", "mid-oet/subarray/02", 2)


@pytest.mark.parametrize("name", VARIABLES)
def test_what_nobody_has_told_is_no_guess(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each, value in VARIABLES.items():
        monkeypatch.setenv(each, value)
    monkeypatch.delenv(name)
    with pytest.raises(RuntimeError, match="no device executes this process.*" + name):
        this_run()


def test_a_number_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**VARIABLES, "SKA_OET_SUBARRAY_ID": "two"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match="two"):
        this_run()


def test_the_folder_of_a_run_is_made_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "3"
    for name, value in {**VARIABLES, "SKA_OET_FOLDER": str(folder)}.items():
        monkeypatch.setenv(name, value)
    run = this_run()
    assert not folder.parent.exists()
    assert run.folder == run.folder == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("folder", ["", None])
def test_where_nothing_is_kept_a_run_has_no_folder(monkeypatch: pytest.MonkeyPatch, folder: str | None) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SKA_OET_FOLDER", raising=False)
    if folder is not None:
        monkeypatch.setenv("SKA_OET_FOLDER", folder)
    with pytest.raises(RuntimeError, match="no folder for this run"):
        this_run().folder  # noqa: B018 - it is made by that
