"""When an exception may interrupt."""

# ruff: noqa: PT012 - what a gate does shows in several statements

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time

import pytest
from support.forked import in_a_child

from ska_oet_device.mptools import InterruptGate, TerminateInterrupt, become_subreaper, die_with_parent
from ska_oet_device.mptools._signals import reset_signals


def _caught(interrupt, clean_up):
    def deed():
        with contextlib.suppress(KeyboardInterrupt):
            interrupt()
        clean_up()
        interrupt()

    deed()
    interrupt()


def _finally(interrupt, clean_up):
    with contextlib.suppress(KeyboardInterrupt):
        try:
            interrupt()
        finally:
            interrupt()
            clean_up()
            interrupt()
    interrupt()


def _in_a_with(interrupt, clean_up):
    @contextlib.contextmanager
    def tidy():
        try:
            yield
        except KeyboardInterrupt:
            interrupt()
            clean_up()
            interrupt()

    with tidy():
        interrupt()
    interrupt()


def _raised_from(interrupt, clean_up):
    with contextlib.suppress(ValueError):
        try:
            interrupt()
        except KeyboardInterrupt:
            interrupt()
            clean_up()
            raise ValueError from None
    interrupt()


def _in_a_coroutine(interrupt, clean_up):
    async def deed():
        try:
            await asyncio.sleep(0)
            interrupt()
        except KeyboardInterrupt:
            await asyncio.sleep(0)
            interrupt()
            clean_up()
        await asyncio.sleep(0)
        interrupt()

    asyncio.run(deed())
    interrupt()


class TestInterruptGate:
    def test_is_closed_at_first_and_remembers(self):
        gate = InterruptGate()
        gate.interrupt(TerminateInterrupt("early"))
        assert not gate.raised
        with pytest.raises(TerminateInterrupt, match="early"), gate.open():
            pytest.fail("what is inside must not run")
        assert gate.raised

    def test_raises_at_once_while_it_is_open(self):
        gate = InterruptGate()
        with pytest.raises(TerminateInterrupt), gate.open():
            gate.interrupt(TerminateInterrupt())
            pytest.fail("not interrupted")

    def test_interrupts_only_once_so_that_the_clean_up_is_left_in_peace(self):
        gate = InterruptGate()
        cleaned = False
        with pytest.raises(TerminateInterrupt, match="first"), gate.open():
            try:
                gate.interrupt(TerminateInterrupt("first"))
            finally:
                gate.interrupt(TerminateInterrupt("second"))
                cleaned = True
        assert cleaned
        with gate.open():
            gate.interrupt(TerminateInterrupt("third"))
        assert gate.waiting is None

    def test_interrupts_again_what_a_callback_of_c_has_kept_to_itself(self):
        gate, called = InterruptGate(), []

        def callback(_):
            called.append("callback")
            gate.interrupt(TerminateInterrupt("first"))

        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.set_trace_callback(callback)
            with pytest.raises(TerminateInterrupt, match="second"), gate.open():
                database.execute("select 1")
                called.append("user code")
                gate.interrupt(TerminateInterrupt("second"))
        assert called == ["callback", "user code"]

    def test_interrupts_again_behind_bookkeeping_that_is_under_way(self):
        gate, done = InterruptGate(), []
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.set_trace_callback(lambda _: gate.interrupt(TerminateInterrupt("first")))
            with pytest.raises(TerminateInterrupt, match="second"), gate.open():
                database.execute("select 1")
                with gate.closed():
                    gate.interrupt(TerminateInterrupt("second"))
                    done.append("bookkeeping")
                done.append("user code")
        assert done == ["bookkeeping"]

    @pytest.mark.parametrize("handler", [_caught, _finally, _in_a_with, _raised_from, _in_a_coroutine])
    def test_interrupts_nobody_again_who_has_handled_it(self, handler):
        gate, done = InterruptGate(), []
        with gate.open():
            handler(lambda: gate.interrupt(TerminateInterrupt()), lambda: done.append("cleaned up"))
            done.append("went on")
        assert done == ["cleaned up", "went on"]

    def test_does_not_hold_what_the_interrupted_held_when_the_next_signal_has_come(self):
        gate, gone = InterruptGate(), []

        class Held:
            def __del__(self):
                gone.append(True)

        def interrupted():
            held = Held()  # noqa: F841
            gate.interrupt(TerminateInterrupt())

        with gate.open():
            with contextlib.suppress(TerminateInterrupt):
                interrupted()
            gate.interrupt(TerminateInterrupt())
            assert gone

    @in_a_child
    def test_a_signal_in_a_hook_of_a_fork_interrupts_what_follows_it(self):
        """Python drops what a hook raises: the script would never learn that it is to stop."""
        gate = InterruptGate()
        signal.signal(signal.SIGTERM, lambda *_: gate.interrupt(TerminateInterrupt()))

        def hook():
            with gate.closed():
                os.kill(os.getpid(), signal.SIGTERM)

        sys.unraisablehook = lambda _: gate.take_back()
        os.register_at_fork(before=hook)
        with pytest.raises(TerminateInterrupt), gate.open():
            if os.fork() == 0:
                os._exit(0)
            time.sleep(20)  # as a rule; the signal may also be told right behind the fork
        assert os.waitpid(-1, 0)[1] == 0

    def test_a_part_that_is_closed_is_finished_first(self):
        gate, done = InterruptGate(), []
        with pytest.raises(TerminateInterrupt), gate.open():
            with gate.closed():
                gate.interrupt(TerminateInterrupt())
                done.append("bookkeeping")
            done.append("user code")
        assert done == ["bookkeeping"]

    def test_a_part_is_closed_where_python_has_lost_sight_of_the_main_thread(self, monkeypatch):
        """A KeyError that a handler raises in `threading.current_thread` is taken for a thread that is not known."""
        monkeypatch.setitem(threading._active, threading.get_ident(), threading.Thread())
        assert threading.current_thread() is not threading.main_thread()
        self.test_a_part_that_is_closed_is_finished_first()

    def test_a_closed_part_within_a_closed_part_opens_nothing(self):
        gate, done = InterruptGate(), []
        with pytest.raises(TerminateInterrupt), gate.open(), gate.closed():
            with gate.closed():
                gate.interrupt(TerminateInterrupt())
            done.append("still closed")
        assert done == ["still closed"]

    def test_is_closed_again_after_it_was_open(self):
        gate = InterruptGate()
        with gate.open():
            pass
        gate.interrupt(TerminateInterrupt())
        assert gate.waiting is not None

    def test_is_closed_after_an_exception_too(self):
        gate = InterruptGate()
        with pytest.raises(ValueError, match="mine"), gate.open():
            raise ValueError("mine")
        gate.interrupt(TerminateInterrupt())
        assert gate.waiting is not None

    def test_of_several_that_wait_one_is_raised(self):
        gate = InterruptGate()
        gate.interrupt(TerminateInterrupt("first"))
        gate.interrupt(TerminateInterrupt("second"))
        with pytest.raises(TerminateInterrupt), gate.open():
            pass
        with gate.open():
            pass

    def test_another_thread_neither_closes_nor_opens_it(self):
        gate, inside, leave = InterruptGate(), threading.Event(), threading.Event()

        def elsewhere() -> None:
            with gate.closed():
                inside.set()
                leave.wait()

        thread = threading.Thread(target=elsewhere)
        with pytest.raises(TerminateInterrupt), gate.open():
            thread.start()
            inside.wait()
            try:
                gate.interrupt(TerminateInterrupt())
            finally:
                leave.set()
        thread.join()

    def test_no_exception_that_user_code_may_swallow_by_except_exception(self):
        assert not issubclass(TerminateInterrupt, Exception)


class TestTheFateOfAProcess:
    @in_a_child
    def test_orphans_fall_to_a_subreaper(self):
        become_subreaper()
        reader, writer = os.pipe()
        middle = os.fork()
        if middle == 0:
            parent = os.getpid()
            if os.fork() == 0:
                while os.getppid() == parent:
                    time.sleep(0.001)
                os.write(writer, str(os.getppid()).encode())
                os._exit(7)
            os._exit(0)
        os.waitpid(middle, 0)
        pid, status = os.waitpid(-1, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        assert pid != middle
        assert int(os.read(reader, 100)) == os.getpid()

    @in_a_child
    def test_a_process_that_shares_its_parents_fate_ends_with_it(self):
        become_subreaper()
        reader, writer = os.pipe()
        middle = os.fork()
        if middle == 0:
            child = os.fork()
            if child == 0:
                die_with_parent(os.getppid())
                os.write(writer, b"bound")
                time.sleep(60)
                os._exit(0)
            os.read(reader, 100)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(middle, 0)
        _, status = os.waitpid(-1, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL

    @in_a_child
    def test_a_process_whose_parent_is_gone_already_ends_at_once(self):
        child = os.fork()
        if child == 0:
            die_with_parent(1_000_000_000)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    @in_a_child
    def test_a_fresh_child_has_the_default_action_for_every_signal(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        reset_signals()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
