"""However a script ends, the device says how, leaves nothing behind, and goes on."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import tango
from support.tango_server import is_alive
from support.waiting import wait_until

QUICKLY = 10.0  # seconds till the end itself: 10 ms on a quiet machine, and 20 s at least if a deadline has to end it


def _end_of(oet, uid):
    end = oet.recorder.wait_for_end(uid)
    return end["state"], end["reason"], oet.summary(uid)["history"]


def _goes_on(oet):
    uid = oet.run("good.py")
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert oet.proxy.State() == tango.DevState.ON


def test_an_exception_out_of_main_is_told_with_the_users_frames_only(oet):
    uid = oet.run("raises.py", "SKA999")
    state, reason, history = _end_of(oet, uid)
    assert (state, reason) == ("FAILED", "ValueError: no such receiver: SKA999")
    trace = history["stacktrace"]
    assert trace.startswith("Traceback (most recent call last):")
    assert trace.count('File "') == 2
    assert "in main" in trace
    assert 'raise ValueError(f"no such receiver: {receiver}")' in trace
    assert "ska_oet_device" not in trace.replace(str(Path(__file__).parents[1]), "")
    assert history["exit"]["exit_code"] == 1
    _goes_on(oet)


def test_text_of_every_alphabet_is_told_of_a_failure(oet):
    uid = oet.run("raises.py", fn="text_of_many_alphabets")
    state, reason, history = _end_of(oet, uid)
    assert (state, reason) == ("FAILED", "ValueError: Größe Ω 望遠鏡")
    assert "望遠鏡" in history["stacktrace"]
    shown = oet.recorder.wait_for("stacktrace", lambda text: "Größe" in text).value
    assert "\\u03a9" in shown


def test_the_failure_of_a_coroutine_is_told_with_the_users_frames_only(oet):
    uid = oet.run("async_main.py", fn="fails")
    state, reason, history = _end_of(oet, uid)
    assert (state, reason) == ("FAILED", "ValueError: in a coroutine")
    assert history["stacktrace"].count('File "') == 1


def test_a_keyboard_interrupt_out_of_main_is_a_failure(oet):
    uid = oet.run("interrupts_itself.py")
    state, reason, history = _end_of(oet, uid)
    assert (state, reason) == ("FAILED", "KeyboardInterrupt: raise KeyboardInterrupt (interrupts_itself.py, line 5)")
    assert history["stacktrace"].count('File "') == 1
    _goes_on(oet)


@pytest.mark.parametrize("status", [None, 0])
def test_sys_exit_with_status_zero_completes(oet, status):
    uid = oet.run("exits.py", status)
    assert _end_of(oet, uid)[0] == "COMPLETE"
    assert oet.recorder.states(uid)[-3:] == ["RUNNING", "READY", "COMPLETE"]


@pytest.mark.parametrize(("status", "code"), [(3, 3), ("no dishes", 1)])
def test_sys_exit_with_another_status_fails(oet, status, code):
    uid = oet.run("exits.py", status)
    state, reason, history = _end_of(oet, uid)
    assert (state, reason) == ("FAILED", f"SystemExit: {status}")
    assert history["exit"]["exit_code"] == code
    assert 'File "' in history["stacktrace"]
    _goes_on(oet)


@pytest.mark.parametrize("function", ["main", "part"])
@pytest.mark.parametrize(
    ("how", "words", "code", "signum"),
    [
        ("os._exit", "exit code 3", 3, None),
        ("segfault", "SIGSEGV", None, signal.SIGSEGV),
        ("kill", "SIGKILL", None, signal.SIGKILL),
    ],
)
def test_a_process_that_ends_without_a_word_fails_quickly(oet, function, how, words, code, signum):
    uid = oet.ready("ends.py")
    began = time.time()
    oet.start(uid, how, fn=function)
    end = oet.recorder.wait_for_end(uid)
    assert end["time"] - began < QUICKLY
    assert end["state"] == "FAILED"
    assert words in end["reason"]
    assert "RUNNING" in end["reason"]
    how_it_ended = oet.summary(uid)["history"]["exit"]
    assert (how_it_ended["exit_code"], how_it_ended["signal"]) == (code, signum)
    _goes_on(oet)


@pytest.mark.parametrize("how", ["os._exit", "segfault", "raise"])
def test_the_end_of_a_process_in_init_is_a_failure(oet, how):
    uid = oet.prepare("init_ends.py", how)
    state, reason, _ = _end_of(oet, uid)
    assert state == "FAILED"
    assert reason
    assert oet.recorder.lifecycle(uid)[-1]["previous"] == "INITIALISING"
    _goes_on(oet)


@pytest.mark.parametrize("state", ["LOADING", "INITIALISING", "READY", "RUNNING"])
def test_a_kill_from_outside_is_a_failure_in_every_state(oet, state):
    script = {"LOADING": "hangs_at_import.py", "INITIALISING": "slow_init.py"}.get(state, "sleepy.py")
    uid = oet.run(script) if state == "RUNNING" else oet.prepare(script)
    oet.recorder.wait_for_state(uid, state)
    began = time.time()
    os.kill(oet.pid(uid), signal.SIGKILL)
    end = oet.recorder.wait_for_end(uid)
    assert end["time"] - began < QUICKLY
    assert end["state"] == "FAILED"
    assert end["previous"] == state
    assert "SIGKILL" in end["reason"]
    assert state in end["reason"]
    _goes_on(oet)


def test_a_sigterm_from_outside_is_a_failure(oet):
    uid = oet.running("sleepy.py")
    os.kill(oet.pid(uid), signal.SIGTERM)
    state, reason, _ = _end_of(oet, uid)
    assert state == "FAILED"
    assert "SIGTERM from outside" in reason


def _ids_in(path):
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


@pytest.mark.parametrize("how", ["return", "raise", "os._exit", "segfault", "kill", "stop"])
@pytest.mark.parametrize("kind", ["grandchildren", "daemon", "daemon_without_environment"])
def test_nothing_that_a_script_started_outlives_it(oet, tmp_path, kind, how):
    path = tmp_path / "pids"
    ending = "sleep" if how == "stop" else how
    if kind == "grandchildren":
        uid = oet.run("grandchildren.py", str(path), ending)
    else:
        uid = oet.run("leaves_daemon.py", str(path), ending, kind == "daemon_without_environment")
    if how == "stop":
        count = 2 if kind == "grandchildren" else 1
        wait_until(lambda: len(_ids_in(path)) == count, 10, "the script has started its processes, and named them")
        oet.stop(uid)
    state, _, history = _end_of(oet, uid)
    pids = _ids_in(path)
    wait_until(lambda: not any(map(is_alive, pids)), 10, "what the script started is gone")
    assert state == {"return": "COMPLETE", "stop": "STOPPED"}.get(how, "FAILED")
    if kind != "grandchildren":  # those die with their group, unseen
        assert set(history["exit"]["reaped"]) >= set(pids)


def test_what_another_script_started_is_left_alone(oet, tmp_path):
    mine, others = tmp_path / "mine", tmp_path / "others"
    with_daemon = oet.running("leaves_daemon.py", str(others), "sleep", True)
    wait_until(others.exists, 10, "the daemon")
    prepared = oet.ready("sleepy.py")
    oet.stop(prepared)
    oet.recorder.wait_for_end(prepared)
    killed = oet.ready("good.py")
    os.kill(oet.pid(killed), signal.SIGKILL)
    oet.recorder.wait_for_end(killed)
    assert is_alive(int(others.read_text()))
    oet.stop(with_daemon)
    oet.recorder.wait_for_end(with_daemon)
    wait_until(lambda: not is_alive(int(others.read_text())), 10, "the daemon is gone")
    assert not mine.exists()


def test_a_script_that_dies_in_a_flood_harms_nobody(oet):
    bystander = oet.ready("good.py")
    for how in ("os._exit", "segfault", "kill"):
        uid = oet.run("flood_pubsub.py", count=3000, size=100, how=how)
        state, reason, _ = _end_of(oet, uid)
        assert state == "FAILED", how
        assert reason.startswith("the process ended with")
        assert oet.ready("good.py") == uid + 1
    oet.start(bystander)
    oet.recorder.wait_for_end(bystander)
    oet.settle()
    sequences = [event["sequence"] for event in oet.recorder.lifecycle()]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert oet.recorder.states(bystander)[-1] == "COMPLETE"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raises_at_import.py", "LookupError: nothing can be found at import"),
        ("exits_at_import.py", "SystemExit: 0"),
    ],
)
def test_a_script_that_cannot_be_imported_fails(oet, script, reason):
    uid = oet.prepare(script)
    end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert end["previous"] == "LOADING"
    assert end["reason"] == reason
    assert oet.summary(uid)["history"]["stacktrace"].count('File "') == 1


def test_an_import_that_never_returns_fails_at_its_deadline(oet):
    with oet.properties(LoadTimeout=3):  # which is enough for the states before
        began = time.time()
        uid = oet.prepare("hangs_at_import.py")
        end = oet.recorder.wait_for_end(uid)
        assert 2.9 < end["time"] - began < 3 + QUICKLY
        assert end["state"] == "FAILED"
        assert end["reason"] == "LOADING took longer than LoadTimeout (3 s)"
        assert oet.summary(uid)["history"]["exit"]["signals_sent"] == ["SIGTERM"]


def test_an_import_that_never_returns_can_be_stopped_before(oet):
    uid = oet.prepare("hangs_at_import.py")
    oet.recorder.wait_for_state(uid, "LOADING")
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid, 10)["state"] == "STOPPED"  # LoadTimeout is twice that


def test_an_init_and_a_run_that_take_too_long_fail_and_name_the_phase(oet):
    with oet.properties(InitTimeout=0.3):
        uid = oet.prepare("slow_init.py")
        end = oet.recorder.wait_for_end(uid)
        assert (end["state"], end["reason"]) == ("FAILED", "INITIALISING took longer than InitTimeout (0.3 s)")
    with oet.properties(RunTimeout=0.3):
        for function in ("main", "nap"):
            uid = oet.run("sleepy.py", fn=function)
            end = oet.recorder.wait_for_end(uid)
            assert (end["state"], end["reason"]) == ("FAILED", "RUNNING took longer than RunTimeout (0.3 s)")


def test_a_deadline_does_not_outlive_its_phase(oet):
    with oet.properties(RunTimeout=5, InitTimeout=5):  # of which the first one needs little, and the other one all
        uid = oet.ready("good.py")
        oet.call(uid, fn="calibrate")
        slow = oet.running("sleepy.py", fn="nap")
        assert oet.recorder.wait_for_end(slow)["state"] == "FAILED"  # that took longer than each deadline
        assert oet.state(uid) == "READY"


def test_threads_that_a_script_started_may_end_their_work(oet, tmp_path):
    path = tmp_path / "said"
    uid = oet.run("own_threads.py", str(path), 0.2)
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert path.read_text() == "the thread has ended"


def test_a_script_whose_threads_never_end_can_be_stopped(oet, tmp_path):
    uid = oet.run("own_threads.py", str(tmp_path / "said"), 300)
    wait_until(lambda: oet.recorder.states(uid)[-2:] == ["RUNNING", "READY"], 10, "main has returned")
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    _goes_on(oet)


def test_a_stop_that_hits_a_callback_of_tango_is_not_lost(oet, other):
    """Tango's library catches whatever a callback raises, and goes on."""
    with oet.properties(StopGracePeriod=10):
        uid = oet.run("subscribes.py", other.url)
        oet.recorder.wait_for("activeActivity", lambda text: text == "in the callback")
        oet.stop(uid)
        state, reason, history = _end_of(oet, uid)
        assert (state, reason) == ("STOPPED", "stopped on request")
        assert "SIGKILL" not in history["exit"]["signals_sent"]
        wait_until(lambda: "parked" in json.loads(oet.proxy.Output(str(uid)))["text"], 10, "it has cleaned up")
