"""Main's end of one worker, over a real pipe; the other end is held by the test."""

from __future__ import annotations

import socket

import pytest

from ska_oet_device.mptools import Channel, Children, EventLoop, WorkerHandle, encode


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
    assert worker.paused
