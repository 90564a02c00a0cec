"""Stop: in any state, at any time, however deaf the script; and a second one is harmless."""

import time

import pytest
from support.processes import let_go_on, suspend

GRACE = 0.5  # the StopGracePeriod of `impatient`
SLACK = 10.0  # 0.1 s on a quiet machine; a main that is held up gives the period once more


def test_a_sleeping_script_is_stopped_at_once(oet):
    uid = oet.running("sleepy.py")
    oet.stop(uid)
    end = oet.recorder.wait_for_end(uid)
    assert (end["state"], end["reason"]) == ("STOPPED", "stopped on request")
    how_it_ended = oet.summary(uid)["history"]["exit"]
    assert how_it_ended["signals_sent"] == ["SIGTERM"]


def test_a_script_that_is_stopped_may_tidy_up(oet, tmp_path):
    path = tmp_path / "tidied"
    uid = oet.armed("sleepy.py", str(path), fn="tidy")
    oet.stop(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert path.read_text() == "tidied"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("script", ["deaf.py", "stubborn.py"])
def test_a_script_that_will_not_end_is_killed_after_the_grace_period(oet, script):
    uid = oet.armed(script)
    began = time.time()
    oet.stop(uid)
    end = oet.recorder.wait_for_end(uid)
    taken = end["time"] - began
    assert GRACE * 0.9 < taken < GRACE + SLACK
    assert end["state"] == "STOPPED"
    assert f"the process was killed {GRACE:g} s after SIGTERM" in end["reason"]
    how_it_ended = oet.summary(uid)["history"]["exit"]
    assert how_it_ended["signals_sent"] == ["SIGTERM", "SIGKILL"]
    assert how_it_ended["signal"] == 9


@pytest.mark.usefixtures("impatient")
def test_many_deaf_scripts_are_stopped_side_by_side(oet):
    with oet.properties(InitTimeout=60):
        uids = [oet.prepare("hangs_at_import.py") for _ in range(3)]
        stubborn = oet.armed("stubborn.py")
        for uid in uids:
            oet.recorder.wait_for_state(uid, "LOADING")
        asked = {}
        for uid in [*uids, stubborn]:
            asked[uid] = time.time()
            oet.stop(uid)
        for uid, began in asked.items():
            end = oet.recorder.wait_for_end(uid)
            assert end["state"] == "STOPPED"
            assert end["time"] - began < GRACE + SLACK


@pytest.mark.parametrize(
    ("state", "script"),
    [
        ("LOADING", "hangs_at_import.py"),
        ("INITIALISING", "slow_init.py"),
        ("READY", "good.py"),
        ("RUNNING", "sleepy.py"),
    ],
)
def test_a_procedure_is_stopped_in_every_state(oet, state, script):
    uid = oet.run(script) if state == "RUNNING" else oet.prepare(script)
    oet.recorder.wait_for_state(uid, state)
    assert oet.stop(uid) == []
    end = oet.recorder.wait_for_end(uid)
    assert (end["state"], end["previous"]) == ("STOPPED", state)


def test_a_procedure_is_stopped_right_after_it_was_asked_for(oet):
    for _ in range(10):
        uid = oet.prepare("good.py")
        oet.stop(uid)
        assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    for _ in range(10):
        uid = oet.run("sleepy.py")
        oet.stop(uid)
        assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert oet.state(oet.ready("good.py")) == "READY"


def test_a_procedure_that_has_no_worker_yet_is_stopped(oet):
    """With a template that does not get to fork, those for whom no spare is left wait in CREATING."""
    template = oet.server.template()
    suspend(template.pid)
    try:
        uids = [oet.prepare("good.py") for _ in range(10)]
        for uid in reversed(uids):
            oet.stop(uid)
        ends = [oet.recorder.wait_for_end(uid, 20) for uid in uids]
    finally:
        let_go_on(template.pid)
    assert {end["state"] for end in ends} == {"STOPPED"}
    assert [end["previous"] for end in ends].count("CREATING") >= 6, "there are two spares, and one may be on its way"
    assert oet.ready("good.py") > uids[-1]


@pytest.mark.usefixtures("impatient")
def test_a_second_stop_is_harmless(oet):
    uid = oet.armed("stubborn.py")
    for _ in range(3):
        assert oet.stop(uid) == []
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert oet.stop(uid) == []
    assert oet.recorder.states(uid).count("STOPPED") == 1
    assert oet.summary(uid)["history"]["exit"]["signals_sent"] == ["SIGTERM", "SIGKILL"]


@pytest.mark.parametrize("how", ["return", "raise"])
def test_stopping_what_has_ended_is_harmless(oet, how):
    uid = oet.run("ends.py", how)
    end = oet.recorder.wait_for_end(uid)
    assert oet.stop(uid) == []
    assert oet.state(uid) == end["state"] == {"return": "COMPLETE", "raise": "FAILED"}[how]


@pytest.mark.usefixtures("impatient")
def test_a_start_after_a_stop_is_refused_or_comes_to_nothing(oet):
    uid = oet.running(
        "stubborn.py",
    )
    oet.stop(uid)
    prepared = oet.ready("good.py")
    oet.recorder.wait_for_end(uid)
    oet.start(prepared)
    assert oet.recorder.wait_for_end(prepared)["state"] == "COMPLETE"
    assert oet.recorder.states(uid)[-1] == "STOPPED"


@pytest.mark.usefixtures("impatient")
def test_a_flooding_script_is_stopped(oet):
    for script in ("flood_pubsub.py", "flood_stdout.py"):
        uid = oet.running(script)
        began = time.time()
        oet.stop(uid)
        end = oet.recorder.wait_for_end(uid)
        assert end["state"] == "STOPPED"
        assert end["time"] - began < GRACE + SLACK
