"""What a worker says of a script's message, what main puts before it, and what can be written there in its place."""

from __future__ import annotations

import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.mptools import NotPlainError
from ska_oet_device.procedure import script_message
from ska_oet_device.procedure.script_message import (
    LARGEST_KWARGS,
    LARGEST_SAID,
    MOST_CONTAINERS,
    Data,
    check_said,
    is_unheard,
    kwargs_in,
    label_of,
    read_labelled,
    said,
)

DEVICE = "mid-oet/subarray/01"


@given(
    st.text(max_size=300),
    st.integers(0, 2**40),
    st.text(max_size=300),
    st.dictionaries(st.text(), st.integers() | st.binary() | st.tuples(st.text())),
    st.floats(0, 2.0**32),
)
def test_a_message_arrives_as_it_was_sent_and_by_whom(device, uid, topic, data, time):
    payload = said(topic, data, time)
    assert len(payload) <= LARGEST_SAID
    assert not is_unheard(payload)
    check_said(payload)
    arrived = read_labelled(label_of(device, uid) + payload)
    assert arrived[:4] == (device, uid, time, topic)
    assert kwargs_in(arrived.kwargs) == data
    assert arrived.data == data


@pytest.mark.parametrize(
    "data",
    [{"a": "x" * LARGEST_KWARGS}, {"a": list(range(10**6))}, {"a": [[]] * MOST_CONTAINERS}, {"a": "[" * 60_000}],
    ids=["text", "numbers", "lists", "brackets"],
)
def test_what_is_too_large_travels_without_what_it_carries(data):
    payload = said("a.topic", data, 1.0)
    assert len(payload) < 100
    assert is_unheard(payload)
    arrived = read_labelled(label_of(DEVICE, 3) + payload)
    assert arrived.topic == "a.topic"
    assert kwargs_in(arrived.kwargs) is None
    assert arrived.data == {}


def test_a_topic_of_a_name_without_end_is_refused():
    with pytest.raises(NotPlainError, match="topic"):
        said("x" * 5000, {}, 1.0)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_message_or_refused(payload):
    for read in (check_said, read_labelled):
        with contextlib.suppress(NotPlainError):
            read(payload)


@pytest.mark.parametrize("time", [math.nan, math.inf, -1.0, 1e300])
def test_a_time_that_no_clock_says_is_refused(time):
    payload = struct.pack("!dH", time, 1) + b"t{}"
    with pytest.raises(NotPlainError):
        check_said(payload)
    with pytest.raises(NotPlainError):
        read_labelled(label_of(DEVICE, 3) + payload)


@pytest.mark.parametrize(
    "payload", [b"", b"short", struct.pack("!dH", 1.0, 500) + b"t", struct.pack("!dH", 1.0, 1) + b"t"]
)
def test_what_has_another_form_is_refused_by_main(payload):
    with pytest.raises(NotPlainError):
        check_said(payload)


def test_a_label_within_what_a_worker_says_is_a_topic_and_names_nobody():
    forged = label_of("another/device/01", 7) + said("t", {"a": 1}, 1.0)
    with contextlib.suppress(NotPlainError):
        check_said(forged)
    with contextlib.suppress(NotPlainError):
        assert read_labelled(label_of(DEVICE, 3) + forged)[:2] == (DEVICE, 3)


def test_what_it_carries_is_not_read_before_somebody_looks(monkeypatch):
    read = []
    monkeypatch.setattr(script_message, "loads", lambda kwargs: read.append(kwargs) or {"a": 1})
    data = Data(b'{"a":1}')
    assert repr(data) == '{"a":1}'
    assert read == []
    assert dict(data) == {"a": 1}
    assert data["a"] == 1
    assert len(read) == 1


@pytest.mark.parametrize("kwargs", [b"{", b"[1]", b'"text"', b'{"a":1}}', b'{"!":[1]}'])
def test_what_carries_no_keyword_arguments_is_refused_when_somebody_looks(kwargs):
    data = Data(kwargs)
    assert len(repr(data)) < 100
    with pytest.raises(NotPlainError):
        data["a"]
