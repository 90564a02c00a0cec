"""What a script may import, without a device around it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ska_oet_device.scripting import report_progress


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), float("inf"), "half", None])
def test_progress_outside_0_to_100_is_refused_with_the_value_and_the_rule(percent: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 100") as refused:
        report_progress(percent)
    assert repr(percent) in str(refused.value)


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
