"""The socket between a worker and what its script forks, where a child says more than it takes or nobody reads."""

from __future__ import annotations

import select
import socket
import threading
from typing import ClassVar

import pytest
from support.forked import in_a_child

from ska_oet_device.mptools import Connection
from ska_oet_device.procedure.script_message import is_unheard, said
from ska_oet_device.procedure.worker import _forked
from ska_oet_device.procedure.worker._forked import ForkedProcesses


def _pair(monkeypatch, **constants):
    for name, value in constants.items():
        monkeypatch.setattr(_forked, name, value)
    ours, theirs = socket.socketpair()
    forked = ForkedProcesses(Connection(ours))
    forked.before_fork()
    return forked, Connection(theirs)


@in_a_child
def test_a_message_that_the_system_does_not_take_whole_is_told_without_what_it_carries(monkeypatch):
    forked, main = _pair(monkeypatch, LARGEST_SAID=10_000)
    forked.tell(said("topic", {"text": "x" * 50_000}, 7.0))
    payload = main.receive().payload
    assert is_unheard(payload)
    assert b"topic" in payload


class _Poll:
    """What select.poll returns, but that it notes for how long it is to wait."""

    waited: ClassVar[list[float]] = []

    def __init__(self, monkeypatch):
        monkeypatch.undo()
        self._poll = select.poll()
        self.register = self._poll.register

    def poll(self, milliseconds):
        self.waited.append(milliseconds)
        return self._poll.poll(milliseconds)


def _fill(forked, payload):
    while True:
        forked.tell(payload)


@in_a_child
def test_a_worker_that_does_not_read_holds_a_child_up_once(monkeypatch):
    monkeypatch.setattr(ForkedProcesses, "_pass_on", lambda *_: None)
    forked, _ = _pair(monkeypatch, _PATIENCE=0.05)
    payload = said("topic", {"text": "x" * 50_000}, 7.0)
    with pytest.raises(TimeoutError):
        _fill(forked, payload)
    monkeypatch.setattr(select, "poll", lambda: _Poll(monkeypatch))
    with pytest.raises(TimeoutError):
        forked.tell(payload)
    assert _Poll.waited == [0.0]


@in_a_child
def test_where_no_socket_could_be_made_a_child_is_told(monkeypatch):
    monkeypatch.setattr(socket, "socketpair", lambda *_: (_ for _ in ()).throw(OSError("no descriptor")))
    forked = ForkedProcesses(None)
    forked.before_fork()
    with pytest.raises(OSError, match="no way"):
        forked.tell(b"")


@in_a_child
def test_the_second_fork_makes_no_second_socket(monkeypatch):
    forked, _ = _pair(monkeypatch)
    threads = threading.active_count()
    forked.before_fork()
    assert threading.active_count() == threads
