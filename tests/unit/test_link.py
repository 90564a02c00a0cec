"""The device server's end of the pipe to main; main's end is held by the test."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.waiting import wait_until

from ska_oet_device.event import Bus, topics
from ska_oet_device.mptools import FrameReader
from ska_oet_device.procedure import messages
from ska_oet_device.procedure.link import Link, _link


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


def _messages_of(theirs: socket.socket) -> list[object]:
    return [messages.from_payload(frame.payload) for frame in FrameReader().feed(theirs.recv(65536))]


@pytest.fixture
def started(ends):
    ours, theirs = ends
    theirs.sendall(messages.to_frame(messages.Welcome(1, "boot", [])) + messages.to_frame(messages.CaughtUp()))
    link = Link(ours)
    link.start()
    yield link, theirs
    link.close()


def test_main_that_asks_is_answered(started):
    _, theirs = started
    theirs.sendall(messages.to_frame(messages.Ping(7)))
    assert _messages_of(theirs) == [messages.Pong(7)]


def test_main_that_says_nothing_for_long_is_asked_and_owes_an_answer(started, monkeypatch):
    link, theirs = started
    link.look_after_main()  # it has just said something
    assert link.main.answer_overdue == 0
    monkeypatch.setattr(_link, "_SILENT_TOO_LONG", 0.02)
    time.sleep(0.03)
    link.look_after_main()
    link.look_after_main()  # it owes an answer already
    assert _messages_of(theirs) == [messages.Ping(0)]
    assert link.main.answer_overdue > 0
    theirs.sendall(messages.to_frame(messages.Pong(0)))
    wait_until(lambda: link.main.answer_overdue == 0, 5, "main is heard again")


def test_who_waits_for_main_goes_on_when_it_has_answered_that_question_and_no_other(started):
    link, theirs = started
    link.ping()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(link.wait_for_main, 30)
        asked = [messages.Ping(0), messages.Ping(1)]
        read: list[object] = []
        wait_until(lambda: read.extend(_messages_of(theirs)) or read == asked, 5, "main is asked twice")
        theirs.sendall(messages.to_frame(messages.Pong(0)))
        wait_until(lambda: link.main.answer_overdue == 0, 5, "main is heard")
        assert not waiting.done()
        theirs.sendall(messages.to_frame(messages.Pong(1)))
        assert waiting.result(10) is True


def test_who_waits_for_a_main_that_does_not_answer_goes_on_after_a_while(started):
    link, theirs = started
    assert link.wait_for_main(0.01) is False
    assert _messages_of(theirs) == [messages.Ping(1)]
    theirs.sendall(messages.to_frame(messages.Pong(1)) + messages.to_frame(messages.Ping(7)))  # too late
    assert _messages_of(theirs) == [messages.Pong(7)]  # and it goes on
