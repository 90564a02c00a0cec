"""The event loop of main: pipes, signals and deadlines in one wait."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ska_oet_device.mptools import EventLoop


@pytest.fixture
def loop():
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGUSR1, signal.SIGUSR2)}
    made = EventLoop()
    watchdog = made.call_later(20, made.stop)
    yield made
    assert watchdog.callback is not None, "the loop had to be stopped"
    made.close()
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@contextlib.contextmanager
def at_one_time() -> Iterator[None]:
    """Have no time pass: what is asked for meanwhile is due in the order of its seconds, however busy the machine."""
    now = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now)
        yield


class TestBeforeWaiting:
    def test_is_called_once_when_everything_that_has_arrived_is_handled(self, loop, pair):
        seen: list[str] = []

        def readable() -> None:
            pair[0].recv(1)
            for _ in range(3):
                loop.before_waiting(flush)
            seen.append("handled")

        def flush() -> None:
            seen.append("flushed")
            if seen.count("flushed") == 2:
                loop.stop()

        loop.watch(pair[0], readable)
        pair[1].send(b"12")
        loop.run()
        assert seen == ["handled", "flushed", "handled", "flushed"]

    def test_is_called_though_the_loop_has_been_stopped(self, loop):
        seen: list[str] = []
        loop.call_later(0, lambda: (loop.before_waiting(lambda: seen.append("flushed")), loop.stop()))
        loop.run()
        assert seen == ["flushed"]


class TestDeadlines:
    def test_may_be_further_away_than_the_system_can_wait(self, pair):
        made = EventLoop()  # without a watchdog, whose deadline would come first
        try:
            made.call_later(365 * 86400.0, lambda: None)
            made.watch(pair[0], made.stop)
            pair[1].send(b"x")
            made.run()
        finally:
            made.close()

    @pytest.mark.parametrize("far", [float("nan"), float("inf"), -1e300, 1e300, 2**31 / 1000, -float("inf")])
    def test_of_any_number_at_all_do_not_keep_the_others(self, loop, far):
        seen: list[str] = []
        loop.call_later(0.01, lambda: seen.append("first"))
        loop.call_later(far, lambda: seen.append("far"))
        loop.call_later(0.02, lambda: seen.append("second"))
        loop.call_later(0.03, loop.stop)
        loop.run()
        assert [each for each in seen if each != "far"] == ["first", "second"]
        assert ("far" in seen) == (not far > 0)

    def test_come_in_the_order_of_their_times(self, loop):
        seen: list[str] = []
        with at_one_time():
            loop.call_later(0.02, lambda: seen.append("second"))
            loop.call_later(0.04, loop.stop)
            loop.call_later(0.03, lambda: seen.append("third"))
            loop.call_later(0.01, lambda: seen.append("first"))
        loop.run()
        assert seen == ["first", "second", "third"]

    def test_of_one_time_come_in_the_order_they_were_asked_for(self, loop, monkeypatch):
        seen: list[int] = []
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now)
        for number in range(20):
            loop.call_later(0, lambda number=number: seen.append(number))
        loop.call_later(0, loop.stop)
        loop.run()
        assert seen == list(range(20))

    def test_are_never_early(self, loop):
        started = time.monotonic()
        loop.call_later(0.05, loop.stop)
        loop.run()
        assert time.monotonic() - started >= 0.05

    def test_that_are_cancelled_do_not_come(self, loop):
        seen: list[str] = []
        timer = loop.call_later(0.01, lambda: seen.append("cancelled"))
        loop.call_later(0.03, loop.stop)
        timer.cancel()
        loop.run()
        timer.cancel()  # after the fact: harmless
        assert seen == []

    def test_may_cancel_one_another_and_set_new_ones(self, loop):
        seen: list[str] = []

        def first() -> None:
            now_due.cancel()
            loop.call_later(0, lambda: seen.append("new"))
            loop.call_later(0.03, loop.stop)

        with at_one_time():
            now_due = loop.call_later(0.02, lambda: seen.append("cancelled by the first"))
            loop.call_later(0.01, first)
        loop.run()
        assert seen == ["new"]

    def test_that_fail_do_not_end_the_loop(self, loop, caplog):
        seen: list[str] = []
        loop.call_later(0.0, lambda: 1 / 0)
        loop.call_later(0.01, lambda: seen.append("after"))
        loop.call_later(0.02, loop.stop)
        loop.run()
        assert seen == ["after"]
        assert "ZeroDivisionError" in caplog.text


class TestPipes:
    def test_are_called_when_there_is_something_to_read(self, loop, pair):
        ours, theirs = pair
        seen: list[bytes] = []

        def readable() -> None:
            seen.append(ours.recv(10))
            if len(seen) == 2:
                loop.stop()
            else:
                theirs.send(b"again")

        loop.watch(ours, readable)
        theirs.send(b"once")
        loop.run()
        assert seen == [b"once", b"again"]

    def test_are_asked_for_writing_only_when_that_is_wanted(self, loop, pair):
        seen: list[str] = []

        def writable() -> None:
            seen.append("writable")
            loop.interest(pair[0], read=True, write=False)
            loop.call_later(0.03, loop.stop)

        loop.watch(pair[0], lambda: None, writable)
        with at_one_time():
            loop.call_later(0.02, lambda: loop.interest(pair[0], read=True, write=True))
            loop.call_later(0.01, lambda: seen.append("not yet"))
        loop.run()
        assert seen == ["not yet", "writable"]

    def test_are_kept_but_not_waited_for_while_nothing_is_wanted_of_them(self, loop, pair):
        seen: list[str] = []

        def readable() -> None:
            seen.append(pair[0].recv(10).decode())
            loop.stop()

        def wanted() -> None:
            seen.append("wanted again")
            loop.interest(pair[0], read=True, write=False)

        loop.watch(pair[0], readable)
        loop.interest(pair[0], read=False, write=False)
        pair[1].send(b"x")
        loop.call_later(0.02, wanted)
        loop.run()
        assert seen == ["wanted again", "x"]

    def test_may_be_unwatched_and_watched_anew_while_nothing_is_wanted_of_them(self, loop, pair):
        seen: list[bytes] = []
        loop.watch(pair[0], lambda: seen.append(b"the first one"))
        loop.interest(pair[0], read=False, write=False)
        loop.unwatch(pair[0])
        loop.watch(pair[0], lambda: (seen.append(pair[0].recv(10)), loop.stop()))
        pair[1].send(b"x")
        loop.run()
        assert seen == [b"x"]

    def test_are_left_alone_once_unwatched(self, loop, pair):
        seen: list[str] = []
        loop.watch(pair[0], lambda: seen.append("called"))
        loop.unwatch(pair[0])
        loop.unwatch(pair[0])
        pair[1].send(b"x")
        loop.interest(pair[0], read=True, write=True)  # nobody watches it: nothing happens
        loop.call_later(0.02, loop.stop)
        loop.run()
        assert seen == []

    def test_may_be_unwatched_when_they_are_closed_already(self, loop):
        ours, theirs = socket.socketpair()
        loop.watch(ours, lambda: None)
        ours.close()
        theirs.close()
        loop.unwatch(ours)

    def test_one_whose_callback_fails_does_not_end_the_loop(self, loop, pair, caplog):
        def readable() -> None:
            pair[0].recv(10)
            raise RuntimeError("broken callback")

        loop.watch(pair[0], readable)
        pair[1].send(b"x")
        loop.call_later(0.03, loop.stop)
        loop.run()
        assert "broken callback" in caplog.text

    def test_one_whose_callback_fails_again_and_again_leaves_time_for_the_others(self, loop, pair):
        calls: list[float] = []

        def readable() -> None:
            calls.append(time.monotonic())
            if len(calls) == 3:
                loop.call_later(0, loop.stop)
            raise RuntimeError("it has read nothing, so there is still something to read")

        loop.watch(pair[0], readable)
        pair[1].send(b"x")
        loop.run()
        assert len(calls) == 3
        assert calls[-1] - calls[0] >= 0.2

    def test_one_whose_callback_has_failed_is_called_again(self, loop, pair):
        seen: list[bytes] = []

        def readable() -> None:
            seen.append(pair[0].recv(1))
            if len(seen) == 1:
                raise RuntimeError("this once")
            loop.stop()

        loop.watch(pair[0], readable)
        pair[1].send(b"12")
        loop.run()
        assert seen == [b"1", b"2"]

    def test_one_that_another_has_closed_in_the_same_moment_is_not_called(self, loop):
        pairs = [socket.socketpair() for _ in range(2)]
        seen: list[str] = []

        def readable() -> None:
            seen.append("called")
            for ours, _ in pairs:
                loop.unwatch(ours)
                ours.close()
            loop.call_later(0, loop.stop)

        for ours, theirs in pairs:
            loop.watch(ours, readable)
            theirs.send(b"x")
        loop.run()
        for _, theirs in pairs:
            theirs.close()
        assert seen == ["called"]

    def test_one_that_cannot_be_waited_for_now_is_waited_for_later(self, loop, pair):
        """The kernel has room for so many only: epoll_ctl(2), ENOSPC and ENOMEM, which no test can bring about."""
        modify, refusals = loop._selector.modify, [OSError(28, "No space left on device")]

        def refuse_once(*args):
            if refusals:
                raise refusals.pop()
            return modify(*args)

        loop._selector.modify = refuse_once
        loop.watch(pair[0], lambda: None, loop.stop)
        loop.interest(pair[0], read=True, write=True)
        loop.run()
        assert refusals == []


class TestSignals:
    def test_are_called_in_the_loop(self, loop):
        seen: list[object] = []
        loop.on_signal(signal.SIGUSR1, lambda: (seen.append(threading.current_thread()), loop.stop()))
        loop.call_later(0, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        loop.run()
        assert seen == [threading.main_thread()]

    def test_that_came_before_the_loop_ran_are_not_lost(self, loop):
        loop.on_signal(signal.SIGUSR1, loop.stop)
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.run()

    def test_of_different_kinds_are_told_apart(self, loop):
        seen: list[str] = []
        loop.on_signal(signal.SIGUSR1, lambda: seen.append("one"))
        loop.on_signal(signal.SIGUSR2, lambda: seen.append("two"))

        def both() -> None:
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGUSR1)
            loop.call_later(0.05, loop.stop)

        loop.call_later(0, both)
        loop.run()
        assert sorted(seen) == ["one", "two"]

    def test_come_after_what_can_be_read(self, loop, pair):
        seen: list[str] = []

        def readable() -> None:
            pair[0].recv(10)
            seen.append("last words")

        loop.watch(pair[0], readable)
        loop.on_signal(signal.SIGUSR1, lambda: (seen.append("death"), loop.stop()))
        # Both are there before the loop looks.
        os.kill(os.getpid(), signal.SIGUSR1)
        pair[1].send(b"x")
        loop.run()
        assert seen == ["last words", "death"]

    def test_whose_callback_fails_do_not_end_the_loop(self, loop, caplog):
        loop.on_signal(signal.SIGUSR1, lambda: 1 / 0)
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.call_later(0.02, loop.stop)
        loop.run()
        assert "ZeroDivisionError" in caplog.text


def test_with_nothing_to_do_the_loop_sleeps(loop):
    loop.call_later(0.3, loop.stop)
    before = time.thread_time()
    loop.run()
    assert time.thread_time() - before < 0.1
