"""Long running commands as they are told are never larger than an event may be."""

from __future__ import annotations

import json

from ska_oet_device.procedure.application import LongRunningCommand, ResultCode, TaskStatus
from ska_oet_device.procedure.ui._lrc_texts import newest_written


def _failed(text: str) -> tuple[LongRunningCommand, ...]:
    times = (1796073872.7525287 + number for number in range(100))
    result = ResultCode.FAILED, text
    return tuple(
        LongRunningCommand("RunScript", number, time, TaskStatus.FAILED, time, time, 100, result)
        for number, time in enumerate(times, 1)
    )


def test_a_hundred_that_have_failed_are_told_with_their_reasons():
    commands = _failed("x" * 300)
    told = newest_written(commands)
    assert [json.loads(each)["uid"] for each in told] == [each.uid for each in commands]
    assert sum(map(len, told)) <= 64 * 1024


def test_where_their_reasons_are_all_escaped_the_newest_are_told():
    commands = _failed("😀" * 300)
    told = newest_written(commands)
    assert sum(map(len, told)) <= 64 * 1024
    assert 10 < len(told) < 100
    assert [json.loads(each)["uid"] for each in told] == [each.uid for each in commands[-len(told) :]]
