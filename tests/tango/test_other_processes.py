"""Processes that a script starts find its functions, print to its output, and are heard."""

from __future__ import annotations

import json
import textwrap

import pytest
from support.waiting import wait_until

SCRIPT = """
    import multiprocessing, os, signal, sys, time
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    from pubsub import pub
    from ska_oet_device.scripting import report_progress

    def square(number):
        print("square of", number, flush=True)
        return number * number

    def pool(method):
        with multiprocessing.get_context(method).Pool(2) as pool:
            pub.sendMessage("squares", found=pool.map(square, range(4)))

    def keeps(kind, work):
        global pool
        pool = kind(2)
        pool.submit(square, 3).result()
        pool.submit(*work)
        report_progress(10, "kept")
        time.sleep(600)

    def keeps_processes():
        keeps(ProcessPoolExecutor, (square, 4))

    def keeps_threads():
        keeps(ThreadPoolExecutor, (time.sleep, 600))

    def progress():
        report_progress(40, "from the script")
        process = multiprocessing.get_context("fork").Process(target=report_progress, args=(90, "child"))
        process.start()
        process.join()
        report_progress(95, "done")

    def handler(*_):
        print("child handler ran", flush=True)
        sys.exit(7)

    def sleeps(telling):
        telling.send("begun")
        for _ in range(1000):  # a signal just before one sleep does not cut it short, and is answered behind it
            time.sleep(0.02)

    def own_handler():
        signal.signal(signal.SIGTERM, handler)
        context = multiprocessing.get_context("fork")
        told, telling = context.Pipe(duplex=False)
        process = context.Process(target=sleeps, args=(telling,))
        process.start()
        told.recv()  # what a handler raises in the middle of a fork is lost
        process.terminate()
        process.join()
        print("exit code", process.exitcode)

    def becomes_another_program():
        os.execv("/bin/sh", ["sh", "-c", "echo another program"])

    def breaks():
        breakpoint()
        print("gone on")

    def main():
        pass

    def unsubscribes_all():
        pub.unsubAll()
        report_progress(50, "still heard")
"""


@pytest.fixture
def uid(oet, scratch):
    path = scratch / "other_processes.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return oet.ready(str(path.as_uri()))


def _output(oet, uid):
    return json.loads(oet.proxy.Output(json.dumps({"process_uid": uid})))["text"]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_pool_of_another_start_method_calls_the_scripts_functions(oet, uid, method):
    oet.call(uid, method, fn="pool")
    event = oet.recorder.wait_for("scriptEvent", lambda text: "squares" in text)
    assert json.loads(event.value)["kwargs"] == {"found": [0, 1, 4, 9]}
    lines = [f"square of {number}" for number in range(4)]  # the recorder takes its moment
    wait_until(lambda: sorted(line for line in _output(oet, uid).splitlines() if "square" in line) == lines, 10)


def test_progress_that_a_child_reports_is_shown(oet, uid):
    oet.call(uid, fn="progress")
    oet.recorder.wait_for("activeActivity", lambda text: text == "done")
    shown = [text for text in oet.recorder.values("activeActivity") if text]
    assert shown == ["from the script", "child", "done"]
    assert [each for each in oet.recorder.values("activeProgress") if each][-3:] == [40.0, 90.0, 95.0]


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_a_stop_is_not_held_up_by_a_pool_that_nobody_has_shut_down(oet, uid, kind):
    """Python lets go of it before it runs exit functions, and multiprocessing's waits for what was not let go of."""
    oet.start(uid, fn=f"keeps_{kind}")
    oet.recorder.wait_for("activeActivity", lambda text: text == "kept")
    oet.stop(uid, run_abort=False)
    end = oet.recorder.wait_for_end(uid)
    assert (end["state"], end["reason"]) == ("STOPPED", "stopped on request"), _output(oet, uid)


def test_a_childs_own_handler_of_sigterm_runs(oet, uid):
    oet.call(uid, fn="own_handler")
    wait_until(lambda: _output(oet, uid).splitlines()[-2:] == ["child handler ran", "exit code 7"], 10)


def test_a_script_that_unsubscribes_all_listeners_is_heard(oet, uid):
    oet.call(uid, fn="unsubscribes_all")
    oet.recorder.wait_for("activeActivity", lambda text: text == "still heard")


def test_a_script_that_becomes_another_program_has_failed(oet, uid):
    oet.start(uid, fn="becomes_another_program")
    end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert "exit code 0 in RUNNING" in end["reason"]
    assert _output(oet, uid).splitlines()[-1] == "another program"


def test_a_breakpoint_fails_with_a_reason(oet, uid):
    oet.start(uid, fn="breaks")
    end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert end["reason"].endswith("nobody can answer: the standard input of a script is empty")
