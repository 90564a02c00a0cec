"""What main believes a worker: the fields of each message are what they should be, or there is no message."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.mptools import FrameReader, NotPlainError, dumps
from ska_oet_device.procedure.messages import (
    FROM_WORKER,
    LARGEST_FINDINGS,
    LONGEST_REASON,
    CheckFindings,
    CheckStep,
    EnvironmentReady,
    FilledIn,
    Finished,
    Load,
    Ping,
    ScriptLoaded,
    StateEntered,
    to_frame,
)
from ska_oet_device.procedure.supervision._worker_messages import read_told

RIGHT = [
    StateEntered(6, 1.5, "init"),
    ScriptLoaded({"path": "/a.py", "sha256": "0", "git_commit": None, "environment": None}),
    EnvironmentReady("/env/1", "/checkout/a.py", {"prepared": {}}),
    Finished("failed", 1.5, "ValueError: why", "Traceback"),
    Finished("completed", 1.5, "completed"),
    FilledIn({"subarray_id": 2}),
    CheckStep("imports", False, "ValueError: why", 1.5),
    CheckFindings("Observes.", {"main": {"signature": "()", "docstring": None, "parameters": {"type": "object"}}}),
    CheckStep("found", True, None, 1.5),
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def payload_of(message: Any) -> bytes:
    (frame,) = FrameReader(FROM_WORKER).feed(to_frame(message))
    return frame.payload


@pytest.mark.parametrize("message", RIGHT, ids=repr)
def test_what_a_worker_sends_is_believed(message):
    assert read_told(payload_of(message)) == message


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (RIGHT[0], "state", 9),
        (RIGHT[0], "state", True),
        (RIGHT[0], "state", [6]),
        (RIGHT[0], "state", 6.0),
        (RIGHT[0], "time", 1),
        (RIGHT[0], "time", math.nan),
        (RIGHT[0], "time", math.inf),
        (RIGHT[1], "provenance", ["/a.py"]),
        (RIGHT[1], "provenance", {"path": "x" * 100_000}),
        (RIGHT[1], "provenance", {"path": "/a.py", "filled_in": 5}),  # that is FilledIn's to say
        (RIGHT[1], "provenance", {"path": "/a.py"}),
        (RIGHT[1], "provenance", {"path": "/a.py", "sha256": b"0", "git_commit": None, "environment": None}),
        (RIGHT[2], "folder", None),
        (RIGHT[2], "folder", "/" + "a" * 5000),
        (RIGHT[2], "path", "/a\0.py"),
        (RIGHT[2], "source", "git"),
        (RIGHT[3], "outcome", "unknown"),
        (RIGHT[3], "outcome", ["failed"]),
        (RIGHT[3], "moment", "now"),
        (RIGHT[3], "reason", None),
        (RIGHT[3], "reason", "x" * (LONGEST_REASON + 1)),
        (RIGHT[3], "stacktrace", 5),
        (RIGHT[5], "arguments", {"subarray_id": "2"}),
        (RIGHT[5], "arguments", {"subarray_id": True}),
        (RIGHT[5], "arguments", {"subarray_id": 2**100}),
        (RIGHT[5], "arguments", {"subarray_id": 2, "scans": 3}),
        (RIGHT[5], "arguments", ["subarray_id"]),
        (RIGHT[6], "step", "guessed"),
        (RIGHT[6], "step", ["found"]),
        (RIGHT[6], "ok", 0),
        (RIGHT[6], "reason", None),
        (RIGHT[6], "reason", "x" * (LONGEST_REASON + 1)),
        (RIGHT[6], "time", math.nan),
        (RIGHT[7], "docstring", 5),
        (RIGHT[7], "functions", ["main"]),
        (RIGHT[7], "functions", {"main": {"signature": "()"}}),
        (RIGHT[7], "functions", {"main": {"signature": "()", "docstring": 5, "parameters": {}}}),
        (RIGHT[7], "functions", {"main": {"signature": "()", "docstring": "", "parameters": None}}),
        (RIGHT[7], "functions", {"main": {"signature": "x" * LARGEST_FINDINGS, "docstring": "", "parameters": {}}}),
    ],
    ids=repr,
)
def test_a_wrong_field_is_no_message(message, field, value):
    with pytest.raises(NotPlainError, match=field):
        read_told(payload_of(dataclasses.replace(message, **{field: value})))


def test_what_others_send_is_no_message_of_a_worker():
    for message in (Ping(3), Load(1, "", {}, "", [], {}, {}, {}, 0.0)):
        with pytest.raises(NotPlainError, match=type(message).__name__):
            read_told(payload_of(message))


@given(st.sampled_from([type(each).__name__ for each in RIGHT]), st.lists(ANYTHING, max_size=5))
def test_whatever_is_written_there_is_a_message_or_refused(name, values):
    with contextlib.suppress(NotPlainError):
        read_told(dumps([name, values]))
