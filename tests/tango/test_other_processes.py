"""Processes that a script starts find its functions, print to its output, and are heard."""

from __future__ import annotations

import json
import textwrap

import pytest

SCRIPT = """
    import multiprocessing, os, signal, sys, time
    from pubsub import pub
    from ska_oet_device.scripting import report_progress

    def square(number):
        print("square of", number, flush=True)
        return number * number

    def pool(method):
        with multiprocessing.get_context(method).Pool(2) as pool:
            pub.sendMessage("squares", found=pool.map(square, range(4)))

    def progress():
        report_progress(40, "from the script")
        process = multiprocessing.get_context("fork").Process(target=report_progress, args=(90, "child"))
        process.start()
        process.join()
        report_progress(95, "done")

    def handler(*_):
        print("child handler ran", flush=True)
        sys.exit(7)

    def own_handler():
        signal.signal(signal.SIGTERM, handler)
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,))
        process.start()
        time.sleep(0.3)
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
    assert sorted(line for line in _output(oet, uid).splitlines() if "square" in line) == [
        f"square of {number}" for number in range(4)
    ]


def test_progress_that_a_child_reports_is_shown(oet, uid):
    oet.call(uid, fn="progress")
    oet.recorder.wait_for("activeActivity", lambda text: text == "done")
    shown = [text for text in oet.recorder.values("activeActivity") if text]
    assert shown == ["from the script", "child", "done"]
    assert [each for each in oet.recorder.values("activeProgress") if each][-3:] == [40.0, 90.0, 95.0]


def test_a_childs_own_handler_of_sigterm_runs(oet, uid):
    oet.call(uid, fn="own_handler")
    assert _output(oet, uid).splitlines()[-2:] == ["child handler ran", "exit code 7"]


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
