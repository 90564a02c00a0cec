"""Who may run, who hears whom, and what happens when somebody does not listen or talks nonsense."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.processes import procedures_of, suspend
from support.sources import DEAF, NOTHING, SLEEPING
from support.waiting import wait_until

from ska_oet_device.procedure import messages

ONE, TWO = "mid-oet/subarray/01", "mid-oet/subarray/02"


class TestArbitration:
    def test_a_start_that_finds_another_running_is_dropped_and_the_procedure_stays_ready(self, main, script):
        busy, other = main.running(script(SLEEPING)), main.ready(script(NOTHING))
        before = time.time()
        main.run(other, force=True)
        wait_until(lambda: main.told.dropped, what="the dropped start")
        dropped = main.told.dropped[0]
        assert dropped.msg_src == other
        assert dropped.reason == f"the start of main was dropped, since procedure {busy} was RUNNING"
        assert before <= dropped.time <= time.time()
        main.stop(busy)
        main.wait_for_end(busy)
        assert main.states(other)[-1] == "READY"  # dropped, never kept for later
        main.run(other)
        assert main.wait_for_end(other).reason == "completed"

    def test_a_start_that_finds_the_turn_of_an_abort_script_is_dropped_for_that(self, main, script):
        stopped, abort, late = (main.ready(script(NOTHING)) for _ in range(3))
        main.run(abort, force=True, after=stopped)  # held until that one has ended
        main.run(late, force=True)
        dropped = wait_until(lambda: main.told.dropped, what="the dropped start")[0]
        assert dropped.msg_src == late
        assert dropped.reason == f"the start of main was dropped, since abort script {abort} runs next"

    def test_a_start_behind_main_takes_nobodys_turn(self, main, script):
        path = script("def main():\n    pass\ndef other():\n    pass\n")
        others = [main.ready(path) for _ in range(5)]
        for uid in others:
            for fn_name in ("main", "other"):
                main.run(uid, fn_name, force=True)
            main.wait_for_end(uid)
        assert main.told.dropped == []
        assert all(main.states(uid).count("RUNNING") == 1 for uid in others)

    def test_of_many_asked_ahead_of_time_one_runs(self, main, script):
        path = script("import time\ntime.sleep(0.2)\ndef main():\n    time.sleep(600)\n")
        uids = [main.create(path) for _ in range(5)]
        for uid in uids:
            main.run(uid, force=True)
        wait_until(lambda: len(main.told.dropped) == 4, 20, "four dropped starts")
        (winner,) = set(uids) - {dropped.msg_src for dropped in main.told.dropped}
        main.wait_for(winner, "RUNNING")
        because = f"the start of main was dropped, since procedure {winner} was "
        reasons = {dropped.reason for dropped in main.told.dropped}
        assert reasons <= {f"{because}RUNNING", f"{because}being started"}
        assert sum("RUNNING" in main.states(uid) for uid in uids) == 1

    def test_at_no_time_are_two_running(self, main, script):
        path = script(NOTHING)
        uids = [main.create(path) for _ in range(30)]
        for uid in uids:
            main.run(uid, force=True)
        wait_until(lambda: sum(state == 8 for _, _, state in list(main.told.order)) + len(main.told.dropped) == 30, 30)
        running: set[int] = set()
        for kind, uid, state in main.told.order:
            if kind == "LifecycleMessage":
                if state == messages.ProcedureState.RUNNING:
                    assert not running
                    running.add(uid)
                else:
                    running.discard(uid)

    def test_a_start_after_another_is_held_until_that_one_has_ended(self, main, script):
        first, after = main.running(script(DEAF), grace=1.0), main.ready(script(NOTHING))
        main.run(after, force=True, after=first)
        main.stop(first)
        main.wait_for_end(after)
        changes = [(change.msg_src, change.new_state.name) for change in main.told.changes]
        assert changes.index((first, "STOPPED")) < changes.index((after, "RUNNING"))
        assert main.told.dropped == []

    def test_a_start_after_one_that_has_ended_already_begins_at_once(self, main, script):
        first = main.running(script(NOTHING))
        main.wait_for_end(first)
        after = main.ready(script(NOTHING))
        main.run(after, force=True, after=first)
        assert main.wait_for_end(after).reason == "completed"

    def test_calls_asked_ahead_of_time_come_in_their_order(self, main, script):
        path = script("from pubsub import pub\ndef f(n): pub.sendMessage('f', n=n)\ndef main(): pass\n")
        uid = main.create(path)
        for number in range(5):
            main.run(uid, "f", number, force=True)
        main.run(uid, force=True)
        main.wait_for_end(uid)
        assert [data["n"] for data in main.said(uid, "f")] == [0, 1, 2, 3, 4]

    def test_devices_do_not_wait_for_one_another(self, main, script):
        one, two = main.running(script(SLEEPING), device=ONE), main.running(script(SLEEPING), device=TWO)
        assert "RUNNING" in main.states(one)
        assert "RUNNING" in main.states(two)
        main.stop(one, ONE)
        main.wait_for_end(one)
        assert main.states(two)[-1] == "RUNNING"


LISTENING = """
    import time
    from pubsub import pub
    def hear(value):
        pub.sendMessage("heard", value=value)
    def hear_override(msg_src):
        pub.sendMessage("overridden", by=msg_src)
    def init():
        pub.subscribe(hear, "news")
        pub.subscribe(hear_override, "operator.wait_for_qa_ready.override")
    def main():
        pass
"""
SPEAKING = "from pubsub import pub\ndef main(): pub.sendMessage('news', value=[1, 'two', (3,)])\n"


class TestMessagesOfScripts:
    def test_reach_the_other_scripts_of_the_device_and_nobody_elses(self, main, script):
        path = script(LISTENING)
        near, far = main.ready(path, device=ONE), main.ready(path, device=TWO)
        speaker = main.running(script(SPEAKING), device=ONE)
        assert main.wait_for_message(near, "heard") == {"value": [1, "two", (3,)]}
        assert main.said(speaker, "news") == [{"value": [1, "two", (3,)]}]
        main.wait_for_end(speaker)
        main.send(messages.Broadcast(TWO, "operator.wait_for_qa_ready.override", {"msg_src": "gui"}))
        main.wait_for_message(far, "overridden")  # by now anything else would have come, too
        assert main.said(far, "heard") == []
        assert main.said(near, "news") == []  # what came from outside does not go out again

    def test_of_the_operator_reach_every_script_of_the_device(self, main, script):
        path = script(LISTENING)
        uids = [main.ready(path) for _ in range(3)]
        main.send(messages.Broadcast(ONE, "operator.wait_for_qa_ready.override", {"msg_src": "gui"}))
        for uid in uids:
            assert main.wait_for_message(uid, "overridden") == {"by": "gui"}

    @pytest.mark.timeout(120)
    def test_that_a_stopped_script_does_not_read_are_dropped_beyond_some(self, main, script):
        listener = main.ready(script(LISTENING))
        pid = main.wait_for(listener, "READY").os_pid
        suspend(pid)
        try:
            speaker = main.running(
                script("""
                from pubsub import pub
                def main():
                    for number in range(2000):  # 20 MB
                        pub.sendMessage("news", value=[number, "x" * 10_000])
            """)
            )
            assert main.wait_for_end(speaker, 60).reason == "completed"
        finally:
            os.kill(pid, signal.SIGCONT)

        def has_caught_up() -> bool:
            main.send(messages.Broadcast(ONE, "operator.wait_for_qa_ready.override", {"msg_src": "gui"}))
            time.sleep(0.1)
            return bool(main.said(listener, "overridden"))

        wait_until(has_caught_up, 60, "the listener hears what is sent now")
        heard = [data["value"][0] for data in main.said(listener, "heard")]
        assert heard == list(range(len(heard)))
        assert 500 < len(heard) < 1500  # 8 MiB, and what the pipe holds

    def test_that_are_not_plain_arrive_as_what_stands_for_them(self, main, script):
        uid = main.running(
            script("""
            import dataclasses, enum
            from pubsub import pub
            class Band(enum.Enum):
                ONE = "one"
            @dataclasses.dataclass(frozen=True)
            class Target:
                name: str
            def main():
                pub.sendMessage("odd", band=Band.ONE, target=Target("M31"))
                pub.sendMessage("unreadable", targets={Target("M31")})
                pub.sendMessage("last")
        """)
        )
        assert main.wait_for_end(uid).reason == "completed"
        assert main.said(uid, "odd") == [{"band": "one", "target": {"name": "M31"}}]
        assert main.said(uid, "unreadable") == []
        assert main.said(uid, "last") == [{}]

    @pytest.mark.parametrize("failure", ["sys.exit(3)", "1 / 0", "value.nothing", "(lambda f: f(f))(lambda f: f(f))"])
    def test_on_which_a_listener_fails_harm_neither_it_nor_the_speaker(self, main, script, failure):
        listener = main.ready(
            script(f"""
            import sys
            from pubsub import pub
            def fail(value):
                {failure}
            def hear(value):
                pub.sendMessage("heard", value=value)
            def init():
                pub.subscribe(fail, "news")
                pub.subscribe(hear, "other")
            def main():
                pass
        """)
        )
        speaker = main.running(
            script("""
            from pubsub import pub
            def main():
                pub.sendMessage("news", value=1)
                pub.sendMessage("other", value=2)
        """)
        )
        assert main.wait_for_end(speaker).reason == "completed"
        assert main.wait_for_message(listener, "heard") == {"value": 2}
        main.run(listener)
        assert main.wait_for_end(listener).reason == "completed"

    def test_that_cannot_be_read_do_not_harm_those_who_listen(self, main, script):
        listener = main.ready(script(LISTENING))
        garbled = main.running(
            script("""
            from pubsub import pub
            import gc
            from ska_oet_device.mptools import Connection
            from ska_oet_device.procedure import script_message
            def main():
                gc.unfreeze()  # where the worker has put what is its own
                (pipe,) = [found for found in gc.get_objects() if isinstance(found, Connection)]
                said = script_message.said("news", {}, 1.0)[:-2]
                for kwargs in (b"{this is no JSON", b"[1]", b'{"!eval": "1"}', b"[" * 50_000, b"\\xff"):
                    pipe.send(2, said + kwargs)
                pub.sendMessage("news", value=1)
        """)
        )
        assert main.wait_for_message(listener, "heard") == {"value": 1}
        main.wait_for_end(garbled)
        assert main.states(listener)[-1] == "READY"


ON_THE_PIPE = """
    import gc, os, socket, struct, time
    from ska_oet_device.mptools import Connection
    from ska_oet_device.procedure.messages import (
        EnvironmentReady, FilledIn, Finished, Load, Ping, ScriptLoaded, StateEntered, to_frame
    )
    def main(kind):
        gc.unfreeze()  # where the worker has put what is its own
        (pipe,) = [found for found in gc.get_objects() if isinstance(found, Connection)]
        frames = {
            "text": b"Traceback (most recent call last):",
            "too long": struct.pack("!IB", 2**31, 1),
            "no message": struct.pack("!IB", 5, 1) + b"hello",
            "another birth": struct.pack("!IB", 4, 250) + struct.pack("!I", os.getppid()),
            "a birth cut short": struct.pack("!IB", 1, 250) + b"x",
            "a failed birth": struct.pack("!IB", 1, 251) + b"x",
            "no such state": to_frame(StateEntered(99, 1.0)),
            "its own end": to_frame(StateEntered(9, 1.0)),
            "a large message": struct.pack("!IB", 60_000_000, 1),
            "a large pubsub message": struct.pack("!IB", 2_000_000, 2),
            "an unknown tag": struct.pack("!IB", 0, 77),
            "another's message": to_frame(Ping(3)),
            "a state that is none": to_frame(StateEntered([7], 1.0)),
            "a true state": to_frame(StateEntered(True, 1.0)),
            "a time that is none": to_frame(StateEntered(6, float("nan"))),
            "a name for a time": to_frame(StateEntered(6, "now")),
            "a second script": to_frame(ScriptLoaded({"path": "/another.py"})),
            "filled in twice": to_frame(FilledIn({"subarray_id": 2})) * 2,
            "an environment": to_frame(EnvironmentReady("/env", "/a.py", {})),
            "it listens twice": struct.pack("!IB", 0, 3) * 2,
            "listening with a load": struct.pack("!IB", 5, 3) + b"hello",
            "it is ready again and again": (to_frame(StateEntered(6, 1.0)) + to_frame(StateEntered(7, 1.0, "f"))) * 100,
            "it completes too early": to_frame(Finished("completed", 1.0, "")),
            "an end of no kind": to_frame(Finished("unknown", 1.0, "")),
            "a reason without end": to_frame(Finished("failed", 1.0, "x" * 100_000)),
            "a reason that is none": to_frame(Finished("failed", 1.0, ["x"])),
            "a trace that is none": to_frame(Finished("failed", 1.0, "x", {"a": 1})),
            "two ends": to_frame(Finished("failed", 1.0, "x")) * 2,
        }
        pipe.send_frame(frames[kind])
        time.sleep(600)
"""


class TestGarbageOnThePipe:
    @pytest.mark.parametrize(
        "kind",
        [
            "text",
            "too long",
            "no message",
            "another birth",
            "a birth cut short",
            "a failed birth",
            "no such state",
            "its own end",
            "a large message",
            "it is ready again and again",
            "it completes too early",
            *(
                pytest.param(kind, marks=pytest.mark.long)
                for kind in (
                    "a large pubsub message",
                    "an unknown tag",
                    "another's message",
                    "a state that is none",
                    "a true state",
                    "a time that is none",
                    "a name for a time",
                    "a second script",
                    "filled in twice",
                    "an environment",
                    "it listens twice",
                    "listening with a load",
                    "an end of no kind",
                    "a reason without end",
                    "a reason that is none",
                    "a trace that is none",
                    "two ends",
                )
            ),
        ],
    )
    def test_ends_that_procedure_with_the_reason_and_no_other(self, main, script, kind):
        other = main.ready(script(NOTHING))
        uid = main.ready(script(ON_THE_PIPE))
        main.run(uid, "main", kind)
        end = main.wait_for_end(uid)
        assert main.states(uid)[-1] == "FAILED"
        assert "pipe is broken" in end.reason
        main.run(other)
        assert main.wait_for_end(other).reason == "completed"
        assert main.problems == []


FLOOD = """
    import time
    from pathlib import Path
    from pubsub import pub
    def main(count, reached):
        for number in range(count):
            pub.sendMessage("flood", number=number, ballast="x" * 10_000)
            Path(reached).write_text(str(number))
"""


class TestADeviceServerThatDoesNotRead:
    @pytest.fixture
    def wait_until_paused(self, tmp_path):
        """Return how to wait until the flooder gets no further; how far that is, is returned."""
        reached = tmp_path / "reached"

        def wait() -> int:
            def stands() -> int:
                before = reached.read_text() if reached.exists() else ""
                time.sleep(0.5)
                # With less than this it is a busy machine that holds it up: what main takes is not full yet.
                is_paused = before and int(before) > 20 and reached.read_text() == before
                return int(before) if is_paused else 0

            return wait_until(stands, 30, "the flooder to be paused")

        return wait

    @pytest.mark.timeout(120)
    def test_makes_the_flooder_wait_and_loses_nothing(self, main, script, tmp_path, wait_until_paused):
        flooder, other = main.ready(script(FLOOD)), main.ready(script(NOTHING))
        main.stop_reading()
        main.run(flooder, "main", 3000, str(tmp_path / "reached"))  # 30 MB
        assert wait_until_paused() < 1500
        main.stop(other)  # main still works: this shows when reading goes on
        wait_until(lambda: procedures_of(main.pid) == [f"{ONE}#{flooder}"], 10, "the end of the other one")
        main.go_on_reading()
        assert main.wait_for_end(flooder, 60).reason == "completed"
        assert [data["number"] for data in main.said(flooder, "flood")] == list(range(3000))
        assert main.states(other)[-1] == "STOPPED"
        assert main.told.numbers == list(range(1, len(main.told.numbers) + 1))

    def test_does_not_keep_a_script_waiting_once_everything_is_read(self, main, script):
        large = """
            from pubsub import pub
            def main():
                for number in range(300):
                    pub.sendMessage("large", number=number, text="x" * 300_000)
        """
        uid = main.running(script(large))
        assert main.wait_for_end(uid).reason == "completed"
        assert [data["number"] for data in main.said(uid, "large")] == list(range(300))

    @pytest.mark.timeout(120)
    def test_does_not_keep_a_paused_flooder_from_being_stopped(self, main, script, tmp_path, wait_until_paused):
        flooder = main.ready(script(FLOOD))
        main.stop_reading()
        main.run(flooder, "main", 10**9, str(tmp_path / "reached"))
        wait_until_paused()
        main.stop(flooder)
        wait_until(lambda: procedures_of(main.pid) == [], 20, "the end of the flooder")
        main.go_on_reading()
        end = main.wait_for_end(flooder)
        assert main.states(flooder)[-1] == "STOPPED"
        assert end.exit["signals_sent"] == ["SIGTERM"]
        numbers = [data["number"] for data in main.said(flooder, "flood")]
        assert numbers == list(range(len(numbers)))

    def test_a_paused_flooder_that_is_killed_is_noticed(self, main, script, tmp_path, wait_until_paused):
        flooder = main.ready(script(FLOOD))
        main.stop_reading()
        main.run(flooder, "main", 10**9, str(tmp_path / "reached"))
        wait_until_paused()
        os.kill(main.wait_for(flooder, "READY").os_pid, 9)
        wait_until(lambda: procedures_of(main.pid) == [], 20, "the end of the flooder")
        main.go_on_reading()
        assert main.wait_for_end(flooder).exit["signal"] == 9
