"""What the end of a process waits for is told while it waits, and in the reason if it has to be killed."""

from __future__ import annotations

import pytest
from support.waiting import wait_until

pytestmark = pytest.mark.long

GRACE = 6.0  # seconds, in which a process on a busy machine is asked, and answers, before it is killed

STOPPED = {
    "executor": (
        """
        import concurrent.futures as cf, time
        from pubsub import pub
        def main():
            with cf.ThreadPoolExecutor(2) as executor:
                waiting = executor.map(time.sleep, [600] * 2)
                pub.sendMessage("armed")
                list(waiting)
        """,
        ["waiting for thread 'ThreadPoolExecutor-0_0' in sleep", "in __exit__ called by main (script1.py line 5)"],
    ),
    "join": (
        """
        import threading, time
        from pubsub import pub
        def work():
            while True:
                time.sleep(600)
        def main():
            thread = threading.Thread(target=work, name="worker")
            thread.start()
            try:
                pub.sendMessage("armed")
                time.sleep(600)
            finally:
                thread.join()
        """,
        ["waiting for thread 'worker' in work (script1.py line 6)", "in join called by main (script1.py line 14)"],
    ),
    "deaf": (
        """
        import time
        from pubsub import pub
        def waits():
            while True:
                try:
                    pub.sendMessage("armed")
                    time.sleep(600)
                except BaseException:
                    pass
        def main():
            waits()
        """,
        ["in waits (script1.py line 8)"],
    ),
    "child": (
        """
        import subprocess
        from pubsub import pub
        def main():
            child = subprocess.Popen(["sleep", "600"])
            try:
                pub.sendMessage("armed")
                child.wait()
            finally:
                child.wait()
        """,
        ["in wait called by main (script1.py line 10)"],
    ),
    "queue": (
        """
        import queue, time
        from pubsub import pub
        def main():
            try:
                pub.sendMessage("armed")
                time.sleep(600)
            finally:
                queue.Queue().get()
        """,
        ["in get called by main (script1.py line 9)"],
    ),
    "exit_function": (
        """
        import atexit, time
        from pubsub import pub
        @atexit.register
        def close():
            time.sleep(600)
        def main():
            pub.sendMessage("armed")
            time.sleep(600)
        """,
        ["in exit function close (script1.py line 6)"],
    ),
    "masked": (
        """
        import signal, time
        from pubsub import pub
        def main():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            pub.sendMessage("armed")
            time.sleep(600)
        """,
        ["in main (script1.py line 7)"],
    ),
    "lock_of_python": (
        """
        import ctypes, signal
        from pubsub import pub
        def main():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            pub.sendMessage("armed")
            ctypes.PyDLL(None).sleep(600)
        """,
        ["without an answer", "code in C holds the lock of Python"],
    ),
}


@pytest.mark.parametrize("name", STOPPED)
def test_the_reason_of_a_kill_says_what_the_process_waited_for(main, script, name):
    source, words = STOPPED[name]
    uid = main.armed(script(source), grace=GRACE)
    main.stop(uid)
    end = main.wait_for_end(uid, GRACE + 20)
    assert end.new_state.name == "STOPPED"
    assert end.reason.startswith("stopped on request; the process was killed 6 s after SIGTERM, ")
    for each in words:
        assert each in end.reason


def test_what_follows_main_is_told_while_it_goes_on_and_at_its_deadline(main, script):
    uid = main.running(
        script("""
            import threading, time
            def follow():
                while True:
                    time.sleep(0.1)
            def main():
                threading.Thread(target=follow, name="follow").start()
        """),
        timeouts={"RunTimeout": 5.0},  # it is asked a second after main's return
        grace=0.5,
    )
    told = wait_until(lambda: main.told.delays, 20, "what it waits for")[0]
    where = "waiting for thread 'follow' in follow (script1.py line 5)"
    assert (told.msg_src, told.where) == (uid, where)
    end = main.wait_for_end(uid)
    assert end.new_state.name == "FAILED"
    assert end.reason.startswith("main has returned, but its process had not ended when RunTimeout (5 s) was over: ")
    assert where in end.reason


def test_a_failure_whose_threads_do_not_end_has_both_in_its_reason(main, script):
    uid = main.running(
        script("""
            import threading, time
            def main():
                threading.Thread(target=time.sleep, args=(600,), name="follow").start()
                raise ValueError("no such receiver")
        """),
        grace=GRACE,
    )
    end = main.wait_for_end(uid, GRACE + 20)
    assert end.new_state.name == "FAILED"
    told = "the process was killed 6 s after it had failed, waiting for thread 'follow' in sleep"
    assert end.reason == f"ValueError: no such receiver; {told}"


def test_an_answer_that_nobody_has_asked_for_ends_the_procedure(main, script):
    uid = main.running(
        script("""
            import gc, time
            from ska_oet_device.mptools import Connection
            from ska_oet_device.procedure.messages import Delay, to_frame
            def main():
                gc.unfreeze()  # where the worker has put what is its own
                (pipe,) = [found for found in gc.get_objects() if isinstance(found, Connection)]
                pipe.send_frame(to_frame(Delay("in another place")))
                time.sleep(600)
        """)
    )
    end = main.wait_for_end(uid)
    assert end.reason.startswith("its pipe is broken: it answers what nobody has asked")
    assert main.told.delays == []
