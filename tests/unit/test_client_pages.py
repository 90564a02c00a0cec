"""A client goes through a history page by page, also where the device has looked through a part of it in vain."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ska_oet_device.client import _errors as errors
from ska_oet_device.client._steps import Ask, history

IN_VAIN = 'nothing was found among the procedures from 36251 on: go on with "before": 36251, or say more [OET_TooLarge]'


def asked(step: Any) -> dict[str, Any]:
    assert isinstance(step, Ask)
    assert step.command == "History"
    return json.loads(step.argument)


def test_a_search_goes_on_where_the_device_has_stopped_looking():
    steps = history({"text": "3C273"}, None)
    assert asked(next(steps)) == {"text": "3C273", "before": 0, "limit": 100}
    assert asked(steps.throw(errors.TooLarge(IN_VAIN, "OET_TooLarge")))["before"] == 36251
    with pytest.raises(StopIteration):
        steps.send([])


def test_what_else_is_too_large_is_raised():
    steps = history({}, None)
    next(steps)
    with pytest.raises(errors.TooLarge, match="more than"):
        steps.throw(errors.TooLarge("the argument has more than 1 MiB", "OET_TooLarge"))
