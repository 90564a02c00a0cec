"""A script that writes to its pipe itself, as fast as it can, or lets a child do it: the others do not notice."""

from __future__ import annotations

import time

import pytest
from support.processes import memory_of
from support.sources import NOTHING, SLEEPING

pytestmark = pytest.mark.long

ON_THE_PIPE = """
    import gc, os, signal, socket, struct, sys, time
    from ska_oet_device.mptools import Connection
    from ska_oet_device.procedure.messages import Finished, StateEntered, to_frame
    from ska_oet_device.procedure.script_message import label_of, said
    from pubsub import pub

    gc.unfreeze()  # where the worker has put what is its own
    (pipe,) = [found for found in gc.get_objects() if isinstance(found, Connection)]

    def frame(tag, payload=b""):
        return struct.pack("!IB", len(payload), tag) + payload

    def write(data):
        while True:
            pipe._sock.sendall(data)

    def explode(levels, leaf):
        value = [leaf]
        for _ in range(levels):
            value = [value, value]
        return value

    def child_that_floods(data):
        ready, done = os.pipe()
        sock = pipe._sock.dup()  # the pipe itself is closed in a child
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.setsid()
            os.write(done, b"x")
            while True:
                sock.sendall(data)
        os.read(ready, 1)
"""


@pytest.fixture
def hostile(script):
    """Return how to write a script that has its pipe in its hands."""
    return lambda source: script(ON_THE_PIPE + source)


class TestWhatNeverEnds:
    @pytest.mark.parametrize("leaf", ["1", "float('nan')", "'x'"])
    def test_a_message_that_stands_for_a_text_without_end_is_told_without_it(self, main, hostile, leaf):
        uid = main.running(
            hostile(f"""
    def main():
        pub.sendMessage("large", value=explode(36, {leaf}))
        pub.sendMessage("small", value=explode(3, {leaf}))
    """)
        )
        assert main.wait_for_end(uid, 60).reason == "completed"
        assert main.said(uid, "large") == [{}]
        assert len(main.said(uid, "small")[0]["value"]) == 2

    def test_a_circle_is_not_sent_and_harms_nobody(self, main, hostile):
        uid = main.running(
            hostile("""
    def main():
        circle = []
        circle.append(circle)
        pub.sendMessage("circle", value=circle)
        pub.sendMessage("next")
    """)
        )
        assert main.wait_for_end(uid).reason == "completed"
        assert main.said(uid, "circle") == []
        assert main.said(uid, "next") == [{}]

    def test_a_text_of_thousands_of_lines_is_cut_in_the_reason_and_in_the_trace(self, main, hostile):
        uid = main.running(hostile("    def main():\n        raise ValueError('\\U0001f52d' * 10**6)\n"))
        end = main.wait_for_end(uid)
        assert main.states(uid)[-1] == "FAILED"
        assert end.reason.startswith("ValueError")
        assert len(end.reason) < 5000
        assert "left out" in end.stacktrace

    def test_fifty_bytes_take_no_gigabytes_of_main(self, main, hostile):
        before = memory_of(main.pid)
        uid = main.running(
            hostile("""
    import pickle
    class Large:
        def __reduce__(self):
            return bytearray, (2_000_000_000,)
    def main():
        pipe.send_frame(frame(1, pickle.dumps(Large())))
        time.sleep(600)
    """)
        )
        assert "pipe is broken" in main.wait_for_end(uid).reason
        assert memory_of(main.pid) < before + 50_000_000


class TestAForgedLabel:
    def test_speaks_for_nobody_else(self, main, hostile):
        other = main.ready(hostile("    def main():\n        pass\n"))
        uid = main.running(
            hostile("""
    def main():
        forged = label_of("mid-oet/subarray/01", 1) + said("news", {"a": 1}, 1.0)
        pub.sendMessage("before")
        pipe.send_frame(frame(2, said("of mine", {"label": ["mid-oet/subarray/01", 1]}, 1.0)))
        pipe.send_frame(frame(2, forged))
        pub.sendMessage("after")
    """)
        )
        assert main.wait_for_end(uid).reason == "completed"
        assert main.said(uid, "after") == [{}]
        assert main.said(uid, "of mine") == [{"label": ["mid-oet/subarray/01", 1]}]
        assert {who for who, _, _ in main.told.script_messages} == {uid}
        assert main.states(other)[-1] == "READY"


class TestFloods:
    @pytest.mark.parametrize(
        "data", ["frame(3)", "frame(2, said('t', {}, 1.0))", "frame(252)"], ids=["empty", "messages", "births"]
    )
    def test_of_a_child_do_not_hold_the_end_of_the_script_up(self, main, hostile, data):
        uid = main.running(
            hostile(f"""
    def main():
        child_that_floods({data} * 1000)
    """)
        )
        main.wait_for_end(uid)

    def test_of_states_end_that_procedure_and_keep_no_other_waiting(self, main, hostile, script):
        uid = main.ready(
            hostile("""
    def main():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pair = to_frame(StateEntered(6, 1.0)) + to_frame(StateEntered(7, 1.0, "f"))
        try:
            write(pair * 1000)
        except OSError:
            time.sleep(600)
    """),
            grace=1.0,
        )
        main.run(uid)
        other = main.ready(script(NOTHING), device="mid-oet/subarray/02")
        main.run(other, device="mid-oet/subarray/02")
        assert main.wait_for_end(other).reason == "completed"
        end = main.wait_for_end(uid)
        assert "pipe is broken" in end.reason
        assert len(main.states(uid)) < 10

    def test_of_states_that_follow_one_another_in_a_circle_end_that_procedure(self, main, hostile):
        uid = main.create(
            hostile("""
    now = time.time()
    write(b"".join(to_frame(StateEntered(state, now)) for state in (2, 4) * 500))
    main = print
    """)
        )
        end = main.wait_for_end(uid)
        assert end.new_state.name == "FAILED"
        assert end.reason == "its pipe is broken: it is LOADING for the second time"
        assert len(main.told.numbers) < 10

    def test_of_many_scripts_leave_a_stop_its_turn(self, main, hostile, script):
        for number in range(3):
            device = f"mid-oet/flood/{number}"
            main.running(
                hostile("    def main():\n        write(frame(2, said('t', {'a': 1}, 1.0)) * 1000)\n"), device=device
            )
        sleeper = main.running(script(SLEEPING))
        began = time.monotonic()
        main.stop(sleeper)
        main.wait_for_end(sleeper)
        assert time.monotonic() - began < 10  # it is some tenths; it was 4 seconds for one of them

    def test_of_a_script_that_is_ending_do_not_fill_main_while_nobody_reads(self, main, hostile):
        uid = main.running(
            hostile("""
    def main():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pub.sendMessage("armed")
        write(frame(2, said("t", {"a": "x" * 100_000}, 1.0)) * 10)
    """),
            grace=3.0,
        )
        main.wait_for_message(uid, "armed")
        main.stop_reading()
        main.stop(uid)
        highest = 0
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            highest = max(highest, memory_of(main.pid))
            time.sleep(0.05)
        main.go_on_reading()
        main.wait_for_end(uid)
        assert highest < 100_000_000
