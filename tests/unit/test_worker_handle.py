"""Main's end of one worker, over a real pipe; the other end is held by the test."""

from __future__ import annotations

import signal
import socket
import subprocess

import pytest

from ska_oet_device.mptools import Channel, Children, EventLoop, WorkerHandle, encode
from ska_oet_device.mptools._template_protocol import FORKED, PID


@pytest.fixture
def loop():
    made = EventLoop()
    yield made
    made.close()


@pytest.fixture
def pair(loop):
    """A worker's handle, and the worker's end of the pipe."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    worker = WorkerHandle(loop, Children(), Channel(ours))
    with theirs:
        yield worker, theirs
    worker.close()


def test_a_paused_worker_is_not_read_until_it_is_resumed(loop, pair):
    worker, theirs = pair
    seen: list[object] = []
    worker.on_frame = lambda frame: (seen.append(frame.payload), loop.stop())
    worker.pause()
    theirs.send(encode(1, b"said meanwhile"))
    loop.call_later(0.02, lambda: (seen.append("resumed"), worker.resume()))
    loop.run()
    assert seen == ["resumed", b"said meanwhile"]


def test_a_paused_worker_is_given_all_that_is_sent_to_it(loop, pair):
    worker, theirs = pair
    large = encode(1, bytes(4 * 1024 * 1024))  # more than a pipe takes at once
    received = bytearray()

    def read() -> None:
        received.extend(theirs.recv(1024 * 1024))
        if len(received) == len(large):
            loop.stop()

    loop.watch(theirs, read)
    loop.call_later(5, loop.stop)
    worker.pause()
    worker.send(large)
    loop.run()
    loop.unwatch(theirs)
    assert bytes(received) == large


def test_a_worker_that_is_silenced_is_not_heard_any_more(loop, pair):
    worker, theirs = pair
    seen: list[object] = []
    worker.on_frame = lambda frame: (seen.append(frame.payload), worker.silence())
    theirs.send(encode(1, b"first") + encode(1, b"second"))
    loop.call_later(0.05, loop.stop)
    loop.run()
    assert seen == [b"first"]
    with pytest.raises(BrokenPipeError):
        theirs.send(encode(1, b"third"))


def test_a_newborn_that_nobody_wants_is_ended_when_its_birth_has_been_read(loop):
    """Not before: until it is watched, it may have been reaped, and its id be another process's."""
    ours, theirs = socket.socketpair()
    children = Children()
    worker = WorkerHandle(loop, children, Channel(ours))
    ends: list[object] = []
    worker.on_born = lambda born: born.end(signal.SIGKILL)
    worker.on_end = lambda status: (ends.append(status.signal), loop.stop())
    children.reap_in(loop)
    loop.call_later(10, loop.stop)
    with subprocess.Popen(["sleep", "60"]) as process, theirs:
        theirs.send(encode(FORKED, PID.pack(process.pid)))
        loop.run()
        process.returncode = -signal.SIGKILL  # it has been reaped here
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    assert ends == [signal.SIGKILL]
