"""What a main does to its process instead of returning, and what it asks of nobody: the record says so."""

from __future__ import annotations

import signal

import pytest


def _end_of(main, script, deed):
    path = script(f"import os, signal, sys, threading, time\ndef main():\n    {deed}\n")
    uid = main.running(path)
    return main.wait_for_end(uid)


@pytest.mark.parametrize("status", [0, 3])
@pytest.mark.parametrize("deed", ["os._exit({})", "os.execv('/bin/sh', ['sh', '-c', 'exit {}'])"])
def test_a_main_that_never_returns_has_failed_whatever_its_status(main, script, deed, status):
    end = _end_of(main, script, deed.format(status))
    assert end.new_state.name == "FAILED"
    assert f"exit code {status}" in end.reason


@pytest.mark.parametrize(
    ("deed", "signum"), [("os.abort()", signal.SIGABRT), ("os.kill(0, signal.SIGKILL)", signal.SIGKILL)]
)
def test_a_main_that_kills_itself_has_failed(main, script, deed, signum):
    end = _end_of(main, script, deed)
    assert (end.new_state.name, end.exit["signal"]) == ("FAILED", signum)
    assert signum.name in end.reason


def test_a_signal_to_its_own_group_hits_a_script_alone(main, script):
    other = main.running(script("import time\ndef main():\n    time.sleep(60)\n"), device="another/device/01")
    end = _end_of(main, script, "os.kill(0, signal.SIGTERM); time.sleep(20)")
    assert end.new_state.name == "FAILED"
    assert main.states(other)[-1] == "RUNNING"


@pytest.mark.parametrize("deed", ["input('go on? ')", "breakpoint(); print()", "import pdb; pdb.set_trace(); print()"])
def test_who_asks_a_person_is_told_that_nobody_answers(main, script, deed):
    end = _end_of(main, script, deed)
    assert end.new_state.name == "FAILED"
    assert end.reason.endswith("nobody can answer: the standard input of a script is empty")


@pytest.mark.parametrize("target", ["lambda: sys.exit(3)", "lambda: 1 / 0"])
def test_how_a_thread_ends_is_its_own_affair(main, script, target):
    end = _end_of(main, script, f"thread = threading.Thread(target={target}); thread.start(); thread.join()")
    assert end.reason == "completed"


def test_a_program_that_a_main_has_become_keeps_the_turn_and_can_be_stopped(main, script):
    path = script(
        """
        import os

        def main():
            os.execv("/bin/sh", ["sh", "-c", "echo armed; exec sleep 60"])
        """
    )
    uid = main.running(path)
    other = main.ready(script("def main():\n    pass\n"))
    main.run(other)
    main.sync()
    assert main.states(other)[-1] == "READY"
    assert [drop.msg_src for drop in main.told.dropped] == [other]
    main.stop(uid)
    end = main.wait_for_end(uid)
    assert (end.new_state.name, end.exit["signals_sent"]) == ("STOPPED", ["SIGTERM"])
    assert end.exit["reaped"] == []


def test_a_main_that_raises_has_a_reason_whatever_its_streams_raise(main, script):
    path = script(
        """
        import sys

        class Stream:
            def write(self, text):
                raise KeyboardInterrupt

            flush = write

        def main():
            sys.stdout = sys.stderr = Stream()
            raise ValueError("why")
        """
    )
    end = main.wait_for_end(main.running(path))
    assert (end.new_state.name, end.reason) == ("FAILED", "ValueError: why")
