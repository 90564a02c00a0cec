"""What a script has not closed is written at its end, and a process that goes on says what it waits for."""

import json
import os
import textwrap

import pytest
from support.waiting import wait_until


def _write(scratch, name, source):
    (scratch / name).write_text(textwrap.dedent(source))
    return name


@pytest.mark.parametrize("how", ["COMPLETE", "FAILED", "STOPPED"])
def test_what_stands_in_the_buffer_of_an_open_file_is_written(oet, scratch, tmp_path, how):
    ends = {"COMPLETE": "pass", "FAILED": "raise ValueError", "STOPPED": "time.sleep(600)"}[how]
    out = tmp_path / "results.csv"
    name = _write(
        scratch,
        "open_file.py",
        f"""
        import time
        from pubsub import pub
        out = None
        def init():
            global out
            out = open({str(out)!r}, "w")
            out.write("time,az,el\\n")
        def main():
            for i in range(10):
                out.write(f"{{i}},1.0,2.0\\n")
            pub.sendMessage("armed")
            {ends}
        """,
    )
    uid = oet.armed(name) if how == "STOPPED" else oet.run(name)
    if how == "STOPPED":
        oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == how
    assert len(out.read_text().splitlines()) == 11


def test_status_says_what_the_process_waits_for_while_it_goes_on(oet, scratch, tmp_path):
    name = _write(
        scratch,
        "threads_go_on.py",
        f"""
        import os, threading, time
        def follow():
            while not os.path.exists({str(tmp_path / "enough")!r}):
                time.sleep(0.05)
        def main():
            threading.Thread(target=follow, name="follow").start()
        """,
    )
    uid = oet.run(name)
    where = "but its process has not ended yet, waiting for thread 'follow' in follow (threads_go_on.py line 5)."
    status = oet.recorder.wait_for("Status", lambda text: where in text).value
    assert f"main of procedure {uid} returned at " in status
    assert oet.state(uid) == "READY"
    (tmp_path / "enough").touch()
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    wait_until(lambda: "has not ended yet" not in oet.proxy.Status(), 10, "Status says so no more")


def test_the_reason_of_a_kill_names_the_threads_of_an_executor(oet, scratch):
    name = _write(
        scratch,
        "executor_in_with.py",
        """
        import concurrent.futures as cf, time
        from pubsub import pub
        def main():
            try:
                with cf.ThreadPoolExecutor(4) as executor:
                    waiting = executor.map(time.sleep, [600] * 4)
                    pub.sendMessage("armed")
                    list(waiting)
            finally:
                print("parked")
        """,
    )
    with oet.properties(StopGracePeriod=6):  # within which also a busy machine has come to the end of the block
        uid = oet.armed(name)
        oet.stop(uid)
        end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "STOPPED"
    words = (
        "stopped on request; the process was killed 6 s after SIGTERM, waiting for thread 'ThreadPoolExecutor-0_0' in"
    )
    assert end["reason"].startswith(words)


@pytest.mark.parametrize("how", ["COMPLETE", "STOPPED"])
def test_shared_memory_goes_with_the_script(oet, scratch, how):
    name = _write(
        scratch,
        "shared_memory.py",
        f"""
        import time
        from multiprocessing import shared_memory
        from pubsub import pub
        def main():
            memory = shared_memory.SharedMemory(create=True, size=1_000_000)
            pub.sendMessage("armed", name=memory.name)
            {"time.sleep(600)" if how == "STOPPED" else "pass"}
        """,
    )
    with oet.properties(StopGracePeriod=10):  # the tracker is a Python that has to start
        for _ in range(3):
            uid = oet.armed(name)
            if how == "STOPPED":
                oet.stop(uid)
            assert oet.recorder.wait_for_end(uid)["state"] == how
            assert oet.summary(uid)["history"]["exit"]["reaped"] == []
    names = [
        event["kwargs"]["name"] for event in map(json.loads, oet.recorder.values("scriptEvent")) if "kwargs" in event
    ]
    assert len(set(names)) == 3
    assert not set(names) & set(os.listdir("/dev/shm"))
