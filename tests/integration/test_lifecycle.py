"""The life of a procedure in real processes: what is announced, in which order, and how it ends."""

from __future__ import annotations

import os
import signal
import time
from unittest.mock import ANY

import pytest
from support.main_process import CONTEXT, DEVICE
from support.processes import is_gone, let_go_on, suspend
from support.sources import SLEEPING
from support.waiting import wait_until

from ska_oet_device.mptools import stat_of

# Leaves ten processes behind, each of which is found only when the one before it is dead.
CHAIN = """
    import os, time
    from pubsub import pub
    def main():
        reader, writer = os.pipe()
        for number in range(10):
            if os.fork():
                break
            os.setsid()
        else:
            os.write(writer, b"!")
        if number == 0:
            os.read(reader, 1)
            pub.sendMessage("armed")
        time.sleep(600)
"""
TO_READY = ["IDLE", "LOADING", "IDLE", "READY"]


class TestTheWayToTheEnd:
    def test_a_script_that_completes_passes_every_state_once(self, main, script):
        uid = main.create(script("def main():\n    pass\n"))
        main.wait_for(uid, "READY")
        main.run(uid)
        end = main.wait_for_end(uid)
        assert main.states(uid) == [*TO_READY, "RUNNING", "READY", "COMPLETE"]
        assert end.reason == "completed"
        nothing = {"signals_sent": [], "reaped": [], "survivors": []}
        assert end.exit == {"exit_code": 0, "signal": None, "reason": "completed", **nothing}
        times = [change.time for change in main.told.changes]
        assert times == sorted(times)

    def test_init_is_called_with_its_arguments_first(self, main, script):
        path = script("""
            from pubsub import pub
            def init(*args, context, **kwargs):
                pub.sendMessage("init", args=args, kwargs=kwargs, context=context)
            def main(*args):
                pub.sendMessage("main", args=args)
        """)
        uid = main.create(path, 1, subarray_id=2)
        main.wait_for(uid, "READY")
        assert main.states(uid) == ["IDLE", "LOADING", "IDLE", "INITIALISING", "READY"]
        context = {**CONTEXT, "process_uid": uid, "run_id": ANY, "device": DEVICE}
        assert main.said(uid, "init") == [{"args": (1,), "kwargs": {"subarray_id": 2}, "context": context}]
        main.run(uid, "main", "a")
        main.wait_for_end(uid)
        assert main.said(uid, "main") == [{"args": ("a",)}]

    def test_another_function_returns_to_ready_and_may_be_followed(self, main, script):
        uid = main.ready(script("def f(): pass\ndef main(): pass\n"))
        for _ in range(3):
            before = len(main.states(uid))
            main.run(uid, "f")
            wait_until(lambda before=before: len(main.states(uid)) == before + 2)
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"
        assert main.states(uid) == [*TO_READY, *["RUNNING", "READY"] * 4, "COMPLETE"]

    def test_what_a_script_did_wrong_is_told_in_its_own_terms(self, main, script):
        uid = main.running(script("def main():\n    raise ValueError('no such receiver')\n"))
        end = main.wait_for_end(uid)
        assert main.states(uid)[-1] == "FAILED"
        assert end.reason == "ValueError: no such receiver"
        assert "script1.py" in end.stacktrace
        assert "_worker.py" not in end.stacktrace

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("raise KeyError('at import')\ndef main(): pass", "KeyError: 'at import'"),
            (
                "def init(a): pass\ndef main(): pass",
                "the arguments do not fit init(a): missing a required argument: 'a'",
            ),
            ("def init(): raise RuntimeError('in init')\ndef main(): pass", "RuntimeError: in init"),
            ("import sys\nsys.exit(3)\ndef main(): pass", "SystemExit: 3"),
            ("import os\nos._exit(4)\ndef main(): pass", "the process ended with exit code 4 in LOADING"),
            (
                "import os\nos.kill(os.getpid(), 11)\ndef main(): pass",
                "the process ended with signal 11 (SIGSEGV) in LOADING",
            ),
        ],
    )
    def test_a_script_that_never_gets_ready_fails_with_the_reason(self, main, script, source, reason):
        uid = main.create(script(source))
        assert main.wait_for_end(uid).reason == reason
        assert main.states(uid)[-1] == "FAILED"

    @pytest.mark.parametrize(
        ("body", "state", "reason"),
        [
            ("import sys; sys.exit(0)", "COMPLETE", "completed"),
            ("import sys; sys.exit('no')", "FAILED", "SystemExit: no"),
            ("import os; os._exit(0)", "FAILED", "the process ended with exit code 0 in RUNNING"),
            ("import os; os.abort()", "FAILED", "the process ended with signal 6 (SIGABRT) in RUNNING"),
        ],
    )
    def test_a_script_that_ends_its_process_is_told_as_it_was(self, main, script, body, state, reason):
        uid = main.running(script(f"def main():\n    {body}\n"))
        end = main.wait_for_end(uid)
        assert (main.states(uid)[-1], end.reason) == (state, reason)

    def test_announcements_are_numbered_without_gaps(self, main, script):
        path = script("def main():\n    pass\n")
        uids = [main.create(path) for _ in range(10)]
        for uid in uids:
            main.wait_for(uid, "READY")
            main.run(uid)
            main.wait_for_end(uid)
        assert main.told.numbers == list(range(1, len(main.told.numbers) + 1))

    def test_the_last_words_arrive_before_the_death(self, main, script):
        path = script("""
            import os
            from pubsub import pub
            def main():
                for number in range(500):
                    pub.sendMessage("count", number=number, ballast="x" * 1000)
                os.kill(os.getpid(), 9)
        """)
        for _ in range(5):
            uid = main.running(path)
            end = main.wait_for_end(uid)
            assert end.reason == "the process ended with signal 9 (SIGKILL) in RUNNING"
            assert [data["number"] for data in main.said(uid, "count")] == list(range(500))
            order = [kind for kind, who, _ in main.told.order if who == uid]
            assert order[-1] == "LifecycleMessage"
            assert "message" in order[:-1]


class TestStop:
    def test_interrupts_a_sleeping_script_and_its_finally_blocks_run(self, main, script):
        uid = main.armed(
            script("""
            import time
            from pubsub import pub
            def main():
                try:
                    pub.sendMessage("armed")
                    time.sleep(600)
                finally:
                    pub.sendMessage("cleaned")
        """)
        )
        main.stop(uid)
        end = main.wait_for_end(uid)
        assert main.states(uid)[-1] == "STOPPED"
        assert end.exit["signals_sent"] == ["SIGTERM"]
        assert main.said(uid, "cleaned") == [{}]

    def test_comes_through_except_exception(self, main, script):
        uid = main.armed(
            script("""
            import time
            from pubsub import pub
            def main():
                while True:
                    try:
                        pub.sendMessage("armed")
                        time.sleep(600)
                    except Exception:
                        pass
        """)
        )
        main.stop(uid)
        assert main.wait_for_end(uid).exit["signals_sent"] == ["SIGTERM"]

    @pytest.mark.parametrize("state", ["IDLE", "LOADING", "INITIALISING", "READY", "RUNNING"])
    def test_works_in_every_state(self, main, script, state):
        slow = "    import time\n    time.sleep(600)\n"
        sources = {
            "LOADING": "import time\ntime.sleep(600)\ndef main(): pass\n",
            "INITIALISING": f"def main(): pass\ndef init():\n{slow}",
            "RUNNING": f"def main():\n{slow}",
        }
        uid = main.create(script(sources.get(state, "def main(): pass\n")))
        if state == "RUNNING":
            main.wait_for(uid, "READY")
            main.run(uid)
        main.wait_for(uid, state)
        main.stop(uid)
        main.wait_for_end(uid)
        assert main.states(uid)[-1] == "STOPPED"

    def test_works_before_there_is_a_process(self, new_main, script):
        main = new_main()
        main.configure(0)
        path = script("def main(): pass\n")
        uids = [main.create(path) for _ in range(20)]
        for uid in uids:
            main.stop(uid)
        for uid in uids:
            main.wait_for_end(uid)
            assert main.states(uid)[-1] == "STOPPED"

    def test_twice_is_harmless_and_of_the_ended_too(self, main, script):
        uid = main.running(script(SLEEPING))
        main.stop(uid)
        main.stop(uid)
        main.wait_for_end(uid)
        main.stop(uid)
        main.stop(999)
        other = main.running(script(SLEEPING))
        main.stop(other)
        main.wait_for_end(other)
        assert main.states(uid).count("STOPPED") == 1

    def test_of_one_whose_death_is_not_noticed_yet_changes_nothing(self, main, script):
        uid = main.running(script(SLEEPING))
        pid = main.wait_for(uid, "RUNNING").os_pid
        suspend(main.pid)
        try:
            os.kill(pid, signal.SIGKILL)
            # Before its other thread is gone, too, the kernel does not say of it that it has ended.
            wait_until(lambda: is_gone(pid) and len(os.listdir(f"/proc/{pid}/task")) == 1)
            main.stop(uid)
        finally:
            os.kill(main.pid, signal.SIGCONT)
        end = main.wait_for_end(uid)
        assert end.reason == "the process ended with signal 9 (SIGKILL) in RUNNING"
        assert end.exit["signals_sent"] == []

    def test_of_one_that_has_ended_changes_nothing_while_what_it_left_is_cleaned_up(self, main, script):
        path = script(CHAIN)
        for _ in range(3):
            uid = main.armed(path)
            pid = main.wait_for(uid, "RUNNING").os_pid
            os.kill(pid, signal.SIGKILL)
            while stat_of(pid) is not None:
                time.sleep(0.001)
            main.stop(uid)
            assert main.wait_for_end(uid).reason == "the process ended with signal 9 (SIGKILL) in RUNNING"
            assert main.states(uid)[-1] == "FAILED"

    def test_a_deaf_script_is_killed_after_the_grace_period(self, main, script):
        path = script("""
            import time
            from pubsub import pub
            def main():
                while True:
                    try:
                        pub.sendMessage("armed")
                        time.sleep(600)
                    except BaseException:
                        pass
        """)
        uid = main.armed(path, grace=3.0)  # within which it has to tell where it is
        asked = time.time()
        main.stop(uid)
        end = main.wait_for_end(uid)
        assert main.states(uid)[-1] == "STOPPED"
        assert end.exit["signals_sent"] == ["SIGTERM", "SIGKILL"]
        assert end.exit["signal"] == signal.SIGKILL
        assert "the process was killed 3 s after SIGTERM, in main (script1.py line 8)" in end.reason
        assert 3.0 <= end.time - asked < 10.0

    def test_a_script_held_in_c_is_killed_too(self, main, script):
        path = script("""
            import ctypes, signal
            from pubsub import pub
            def main():
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
                pub.sendMessage("armed")
                ctypes.CDLL(None).sleep(600)
        """)
        uid = main.armed(path, grace=0.3)
        main.stop(uid)
        assert main.wait_for_end(uid).exit["signals_sent"] == ["SIGTERM", "SIGKILL"]

    def test_many_run_side_by_side(self, main, script):
        path = script("""
            import time
            from pubsub import pub
            def init():
                while True:
                    try:
                        pub.sendMessage("armed")
                        time.sleep(600)
                    except BaseException:
                        pass
            main = init
        """)
        uids = [main.create(path, grace=3.0) for _ in range(12)]
        for uid in uids:
            main.wait_for_message(uid, "armed")
        began = time.monotonic()
        for uid in uids:
            main.stop(uid)
        for uid in uids:
            assert main.wait_for_end(uid).exit["signals_sent"] == ["SIGTERM", "SIGKILL"]
        assert time.monotonic() - began < 25.0  # one after the other would take 36


class TestDeadlines:
    @pytest.mark.parametrize(
        ("source", "limit", "state"),
        [
            ("import time\ntime.sleep(600)\ndef main(): pass\n", "LoadTimeout", "LOADING"),
            ("import time\ndef main(): pass\ndef init(): time.sleep(600)\n", "InitTimeout", "INITIALISING"),
            ("import time\ndef main(): time.sleep(600)\n", "RunTimeout", "RUNNING"),
        ],
    )
    def test_a_phase_that_takes_too_long_fails_with_that_reason(self, main, script, source, limit, state):
        main.wait_for_spares()  # the time until there is a worker counts as well
        began = time.time()
        uid = main.create(script(source), timeouts={limit: 3.0})  # it has to get into that state within LoadTimeout
        main.run(uid, force=True)
        end = main.wait_for_end(uid)
        assert main.states(uid)[-1] == "FAILED"
        assert end.reason == f"{state} took longer than {limit} (3 s)"
        assert end.time - began >= 3.0

    def test_a_script_for_which_there_is_no_worker_fails_by_its_load_timeout(self, main, script):
        spares, template = main.wait_for_spares(), main.wait_for_template()
        suspend(template)
        try:
            for spare in spares:
                os.kill(spare, signal.SIGKILL)
            wait_until(lambda: not main.spares())
            uid = main.create(script(SLEEPING), timeouts={"LoadTimeout": 0.5})
            end = main.wait_for_end(uid)
        finally:
            let_go_on(template)
        assert end.reason == "CREATING took longer than LoadTimeout (0.5 s)"

    def test_time_spent_ready_counts_for_none(self, main, script):
        main.wait_for_spares()
        limit = 10.0  # seconds, in which a busy machine gets through each of the others
        limits = {"LoadTimeout": limit, "InitTimeout": limit, "RunTimeout": limit}
        uid = main.ready(script("def init(): pass\ndef main(): pass\n"), timeouts=limits)
        time.sleep(limit + 0.2)
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"


class TestAKilledWorker:
    @pytest.mark.parametrize("state", ["LOADING", "INITIALISING", "READY", "RUNNING"])
    def test_fails_with_the_signal_and_the_state(self, main, script, state):
        slow = "    import time\n    time.sleep(600)\n"
        sources = {
            "LOADING": "import time\ntime.sleep(600)\ndef main(): pass\n",
            "INITIALISING": f"def main(): pass\ndef init():\n{slow}",
            "RUNNING": f"def main():\n{slow}",
        }
        uid = main.create(script(sources.get(state, "def main(): pass\n")))
        if state == "RUNNING":
            main.wait_for(uid, "READY")
            main.run(uid)
        os.kill(main.wait_for(uid, state).os_pid, signal.SIGKILL)
        end = main.wait_for_end(uid)
        assert end.reason == f"the process ended with signal 9 (SIGKILL) in {state}"
        assert end.exit["signal"] == signal.SIGKILL
        assert end.exit["signals_sent"] == []

    def test_sigterm_from_outside_is_told_as_such(self, main, script):
        # Sleeping for long at once would overlook a signal that comes just before.
        uid = main.running(script("import time\ndef main():\n    while True:\n        time.sleep(0.02)\n"))
        os.kill(main.wait_for(uid, "RUNNING").os_pid, signal.SIGTERM)
        end = main.wait_for_end(uid)
        assert main.states(uid)[-1] == "FAILED"
        assert end.reason.startswith("SIGTERM from outside")

    def test_does_not_disturb_its_neighbours(self, main, script):
        other = main.ready(script("def main(): pass\n"))
        uid = main.running(script(SLEEPING))
        os.kill(main.wait_for(uid, "RUNNING").os_pid, signal.SIGKILL)
        main.wait_for_end(uid)
        main.run(other)
        assert main.wait_for_end(other).reason == "completed"


class TestTheDeathOfMain:
    def test_ends_every_process_it_had(self, main, script):
        path = script(SLEEPING)
        main.wait_for_spares()
        uids = [main.ready(path) for _ in range(2)]
        main.run(uids[0])
        main.wait_for(uids[0], "RUNNING")
        main.wait_for_spares()
        main.see()
        assert len(main.seen) >= 5
        main.kill()
        wait_until(lambda: all(map(is_gone, main.seen)), 20, "the end of all workers; mostly within a second")


class TestScriptsThatMeddle:
    @pytest.mark.parametrize("clock", ["lambda: 5.0", "lambda: 'noon'", "lambda: float('nan')", "lambda: 1 / 0"])
    def test_another_clock_changes_no_time(self, main, script, clock):
        before = time.time()
        path = script(f"""
            import time
            def init():
                time.time = {clock}
            def f(): pass
            def main(): pass
        """)
        uid = main.ready(path)
        main.run(uid, "f")
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"
        times = [change.time for change in main.told.changes]
        assert times == sorted(times)
        assert before - 1 < times[0] <= times[-1] < time.time() + 1

    @pytest.fixture
    def with_clock(self, script):
        """Return how to write a script that changes the clock by which its worker tells the time."""
        return lambda claim: script(f"""
            from ska_oet_device.procedure.worker import _worker
            def init():
                _worker.now.__kwdefaults__["clock"] = lambda: {claim}
            def f(): pass
            def main(): pass
        """)

    @pytest.mark.parametrize("claim", ["5.0", "4e9"])
    def test_a_time_that_can_be_makes_no_two_changes_alike_and_is_not_in_the_future(self, main, with_clock, claim):
        uid = main.ready(with_clock(claim))
        main.run(uid, "f")
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"
        changes = [(change.new_state, change.time) for change in main.told.changes]
        assert all(moment < time.time() for _, moment in changes)
        assert len(changes) == len(set(changes))

    @pytest.mark.parametrize("claim", ["float('nan')", "'noon'"])
    def test_a_time_that_cannot_be_ends_it(self, main, with_clock, claim):
        uid = main.create(with_clock(claim))
        assert main.wait_for_end(uid).reason.startswith("its pipe is broken: time is")
        assert main.states(uid)[-1] == "FAILED"

    def test_states_out_of_order_end_it(self, main, script):
        path = script("""
            import gc
            from ska_oet_device.procedure.domain import ProcedureState, ScriptWorker
            def main():
                gc.unfreeze()  # where the worker has put what is its own
                worker, = [item for item in gc.get_objects() if isinstance(item, ScriptWorker)]
                worker.publish_lifecycle(ProcedureState.LOADING)
        """)
        uid = main.ready(path)
        main.run(uid)
        assert main.wait_for_end(uid).reason.startswith("its pipe is broken: LOADING cannot follow RUNNING")
        assert main.states(uid)[:5] == [*TO_READY, "RUNNING"]
        assert main.states(uid).count("LOADING") == 1
        assert main.states(uid)[-1] == "FAILED"

    @pytest.mark.parametrize("function", ["f", "main"])
    def test_one_that_closes_every_descriptor_does_not_stay_running(self, main, script, function):
        uid = main.ready(script("import os\ndef f(): os.closerange(0, 1000)\nmain = f\n"))
        main.run(uid, function)
        assert main.wait_for_end(uid).reason.startswith("the process ended with exit code")
        assert main.states(uid)[-1] == "FAILED"

    @pytest.mark.parametrize("act", ["del sys.stdout", "sys.stdout = Odd()", "sys.stdout = sys.stderr = None"])
    def test_what_has_become_of_its_streams_does_not_matter(self, main, script, act):
        path = script(f"""
            import sys
            class Odd:
                def flush(self):
                    raise RuntimeError
            def main():
                {act}
        """)
        uid = main.ready(path)
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"

    def test_an_exception_that_ends_the_program_when_it_is_shown_is_told(self, main, script):
        path = script("""
            class Odd(Exception):
                def __str__(self):
                    raise SystemExit(0)
            def main():
                raise Odd
        """)
        uid = main.ready(path)
        main.run(uid)
        assert main.wait_for_end(uid).reason == "Odd: (its text cannot be shown)"

    def test_log_records_that_wait_for_the_end_are_written(self, main, script, tmp_path):
        path = script(f"""
            import logging, logging.handlers
            def main():
                target = logging.FileHandler({str(tmp_path / "kept.log")!r})
                logging.getLogger("mine").addHandler(logging.handlers.MemoryHandler(100, target=target))
                logging.getLogger("mine").warning("kept")
        """)
        uid = main.ready(path)
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"
        assert (tmp_path / "kept.log").read_text() == "kept\n"

    def test_finalizers_run_at_the_end_those_of_the_template_do_not(self, new_main, script, tmp_path, monkeypatch):
        (tmp_path / "preloaded.py").write_text("import tempfile\nkept = tempfile.TemporaryDirectory()\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        main = new_main()
        main.configure(2, "preloaded")
        path = script("""
            import tempfile
            from pubsub import pub
            import preloaded
            def main():
                global own
                own = tempfile.TemporaryDirectory()
                pub.sendMessage("folders", own=own.name, kept=preloaded.kept.name)
        """)
        uid = main.ready(path)
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"
        (folders,) = main.said(uid, "folders")
        assert os.path.isdir(folders["kept"])
        assert not os.path.exists(folders["own"])
        os.rmdir(folders["kept"])

    def test_a_busy_background_task_does_not_swallow_a_stop(self, main, script, tmp_path):
        path = script(f"""
            import asyncio, time
            from pathlib import Path
            from pubsub import pub
            async def busy():
                while True:
                    time.sleep(0.05)
                    await asyncio.sleep(0)
            async def main():
                task = asyncio.create_task(busy())
                try:
                    await asyncio.sleep(0.2)
                    pub.sendMessage("busy")
                    await asyncio.sleep(600)
                finally:
                    Path({str(tmp_path / "tidied")!r}).touch()
        """)
        uid = main.ready(path)
        main.run(uid)
        wait_until(lambda: main.said(uid, "busy"))
        main.stop(uid)
        assert main.wait_for_end(uid).exit["signals_sent"] == ["SIGTERM"]
        assert (tmp_path / "tidied").exists()
