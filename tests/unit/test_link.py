"""The device server's end of the pipe to main; main's end is held by the test."""

from __future__ import annotations

import socket

import pytest

from ska_oet_device.event import Bus, topics
from ska_oet_device.procedure import messages
from ska_oet_device.procedure.link import Link


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with theirs:
        yield ours, theirs


def test_may_be_closed_before_it_is_started_and_more_than_once(ends):
    link = Link(ends[0])
    for _ in range(2):
        link.close()


def test_may_be_closed_more_than_once_and_carries_nothing_after_that(ends):
    ours, theirs = ends
    link, bus = Link(ours), Bus()
    theirs.sendall(messages.to_frame(messages.Welcome(1, "boot", [])) + messages.to_frame(messages.CaughtUp()))
    link.start()
    link.connect("mid-oet/subarray/01", bus)
    assert bus.is_heard(topics.procedure.management.create)
    for _ in range(2):
        link.close()
    assert not bus.is_heard(topics.procedure.management.create)
    assert theirs.recv(1) == b""
