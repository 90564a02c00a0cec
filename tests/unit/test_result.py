"""What main returns, as JSON for the record: whatever people return, and never more than there is room for."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid

import numpy
import pytest

from ska_oet_device.procedure.application._result import with_result
from ska_oet_device.procedure.messages import LARGEST_RESULT
from ska_oet_device.procedure.worker._result import result_of


class Band(enum.Enum):
    LOW = "low"


@dataclasses.dataclass
class Scan:
    files: list[pathlib.Path]
    band: Band


Point = collections.namedtuple("Point", "az el")


class HostileText(str):
    def __str__(self):
        raise RuntimeError("no")

    def __len__(self):
        return 0


class HostileDict(dict):
    def items(self):
        raise RuntimeError("no")


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1, 1),
        (True, True),
        ("häßlich \ud800 \0", "häßlich \ud800 \0"),
        (10**400, 10**400),
        ([1, (2.5, None)], [1, [2.5, None]]),
        ({"a": {1: "b", pathlib.Path("/x"): 2}}, {"a": {"1": "b", "/x": 2}}),
        (range(3), [0, 1, 2]),
        ({7}, [7]),
        (float("nan"), None),
        ([float("inf")], [None]),
        (Scan([pathlib.Path("/data/a.h5")], Band.LOW), {"files": ["/data/a.h5"], "band": "low"}),
        (Point(1, 2), [1, 2]),
        (datetime.datetime(2026, 11, 29, 16, 0), "2026-11-29T16:00:00"),
        (datetime.timedelta(minutes=1), 60.0),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (collections.deque([1]), [1]),
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), True),
        (numpy.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (numpy.datetime64("2026-11-29"), "2026-11-29"),
        (deep(99), deep(99)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_people_return_is_kept(value, kept):
    text, note = result_of(value)
    assert note == ""
    assert json.loads(text) == kept
    assert text.isascii()
    assert with_result({"result": text}) == {"result": kept}


def test_none_is_nothing():
    assert result_of(None) == (None, "")


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (object(), "the result is or holds a object, which is no JSON"),
        ({"a": [b"x"]}, "the result is or holds a bytes, which is no JSON"),
        (1j, "the result is or holds a complex, which is no JSON"),
        ("x" * LARGEST_RESULT, "more than 64 KiB"),
        ("é" * 30_000, "more than 64 KiB"),
        ([0] * 10_000_000, "more than 64 KiB"),
        ([["x" * 100] * 100] * 10_000_000, "more than 64 KiB"),
        (numpy.zeros(10_000_000), "more than 64 KiB"),
        (10**5000, "cannot be read: ValueError"),
        (deep(200), "nests deeper than 100 levels"),
        (numpy.longdouble(1), "longdouble"),
        (numpy.zeros(1).view(type("Quantity", (numpy.ndarray,), {})), "Quantity"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_leaves_a_note(value, note):
    text, told = result_of(value)
    assert text is None
    assert note in told


def test_a_ring_has_an_end():
    ring = []
    ring.append(ring)
    assert result_of(ring)[0] is None


def test_a_class_that_raises_harms_nobody():
    assert result_of(HostileDict()) == (None, "the result cannot be read: RuntimeError: no")
    assert json.loads(result_of(HostileText("text"))[0]) == "text"


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "[" * 60_000, "9" * 60_000, json.dumps(deep(300))], ids=lambda text: text[:5]
)
def test_what_a_worker_claims_is_no_more_than_a_note(text):
    told = with_result({"reason": "completed", "result": text})
    assert told["reason"] == "completed"
    assert "result" not in told
    assert told["result_note"].startswith("the result cannot be read: ")
    assert len(told["result_note"]) <= 300
