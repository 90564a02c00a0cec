"""A client that follows what a procedure reports has its last report, however late an answer comes."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from ska_oet_device.client import LifecycleEvent, ProcedureState
from ska_oet_device.client._following import progress
from ska_oet_device.client._steps import PROGRESS, Ask, Give, Next, Read, Steps, Which

WHICH = Which(7, "run-7", "file://reports.py")
COMPLETE = LifecycleEvent(9, 7, "run-7", ProcedureState.READY, ProcedureState.COMPLETE, 2.0, "completed")


class Device:
    """A device whose procedure reports its last, and ends, right behind the answer number `ends_behind`."""

    def __init__(self, ends_behind: int) -> None:
        self._answers_left = ends_behind

    def end(self) -> None:
        self._answers_left = 0

    def answer(self, step: Any) -> Any:
        has_ended = self._answers_left <= 0
        self._answers_left -= 1
        if isinstance(step, Read):
            assert step.attributes == PROGRESS
            return [(7, 1.0), (100.0, 2.0), ("step 4", 2.0)] if has_ended else [(7, 1.0), (25.0, 1.0), ("step 1", 1.0)]
        assert isinstance(step, Ask)
        assert step.command == "Summarise"
        states = [["CREATING", 1.0], *([["COMPLETE", 2.0]] if has_ended else [])]
        return [
            {
                "id": 7,
                "run_id": "run-7",
                "uri": "",
                "script": {"script_type": "filesystem", "script_uri": "file://reports.py"},
                "script_args": [],
                "requested_by": [],
                "state": states[-1][0],
                "history": {"process_states": states, "stacktrace": None, "exit": None},
            }
        ]


def given(steps: Steps[None], device: Device) -> list[tuple[float | None, str]]:
    """Take the steps to their end; returns what they give."""
    values, answer = [], None
    with contextlib.suppress(StopIteration):
        while True:
            step = steps.send(answer)
            if isinstance(step, Give):
                values.append((step.value.percent, step.value.activity))
                answer = None
            elif isinstance(step, Next):
                device.end()
                answer = COMPLETE
            else:
                answer = device.answer(step)
    return values


@pytest.mark.parametrize("ends_behind", range(4))
def test_the_last_report_is_given_wherever_the_end_comes_between_two_answers(ends_behind):
    assert given(progress(WHICH), Device(ends_behind))[-1] == (100.0, "step 4")
