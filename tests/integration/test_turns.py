"""Two scripts never drive at once: with a real main, and scripts whose processes take their time to end."""

from __future__ import annotations

import pytest
from support.processes import suspend
from support.sources import NOTHING
from support.waiting import wait_until

pytestmark = pytest.mark.long

# Tidies up until the test has seen enough, and goes on driving meanwhile.
TIDIES_UP = """
    import atexit, threading, time
    from pathlib import Path
    def tidy(folder):
        Path(folder, "tidies").touch()
        while not Path(folder, "enough").exists():
            time.sleep(0.01)
    def step(folder):
        atexit.register(tidy, folder)
    def main(folder, how):
        if how == "leaves a thread":
            threading.Thread(target=tidy, args=(folder,)).start()
        else:
            atexit.register(tidy, folder)
        if how == "raises":
            raise RuntimeError("main has failed")
        if how == "exits":
            raise SystemExit(3)
        if how == "is stopped":
            Path(folder, "runs").touch()
            time.sleep(600)
"""
ENDS = {
    "is stopped": "STOPPED",
    "raises": "FAILED",
    "exits": "FAILED",
    "returns": "COMPLETE",
    "leaves a thread": "COMPLETE",
}


@pytest.fixture
def seen(tmp_path):
    """Return how to wait until a script has made a file."""

    def wait(name: str) -> None:
        wait_until((tmp_path / name).exists, 20, f"the file {name}")

    return wait


def _reason_of_drop(main, uid: int) -> str:
    """Ask for a start; return why it is dropped."""
    so_far = len(main.told.dropped)
    main.run(uid, force=True)
    return wait_until(lambda: main.told.dropped[so_far:], 20, "the dropped start")[0].reason


@pytest.mark.parametrize("how", ENDS)
def test_nobody_is_started_before_the_process_has_gone(main, script, tmp_path, seen, how):
    first, other = main.ready(script(TIDIES_UP), grace=60.0), main.ready(script(NOTHING))
    main.run(first, "main", str(tmp_path), how)
    if how == "is stopped":
        seen("runs")
        main.stop(first)
    seen("tidies")
    why = f"since procedure {first} was still ending (its process had not gone yet)"
    # What tidies up is seen in a file: main may not have heard yet that its function has returned.
    wait_until(lambda: why in _reason_of_drop(main, other), 20, "main has heard that")
    late = main.create(script(NOTHING))
    assert _reason_of_drop(main, late) == f"the start of main was dropped, {why}"
    (tmp_path / "enough").touch()
    main.wait_for(first, ENDS[how])
    main.run(other)
    assert main.wait_for_end(other).reason == "completed"
    assert "RUNNING" not in main.states(late)


def test_one_that_was_called_before_and_is_stopped_lets_nobody_start_before_it_has_gone(main, script, tmp_path, seen):
    first, other = main.ready(script(TIDIES_UP), grace=60.0), main.ready(script(NOTHING))
    main.run(first, "step", str(tmp_path))
    wait_until(lambda: main.states(first)[-2:] == ["RUNNING", "READY"], 20, "the end of the step")
    main.stop(first)
    seen("tidies")
    main.run(other)
    dropped = wait_until(lambda: main.told.dropped, 20, "the dropped start")
    assert "still ending" in dropped[0].reason
    (tmp_path / "enough").touch()
    main.wait_for(first, "STOPPED")


def test_an_abort_script_begins_when_the_process_has_gone_and_not_before(main, script, tmp_path, seen):
    first, abort = main.ready(script(TIDIES_UP), grace=60.0), main.ready(script(NOTHING))
    main.run(first, "main", str(tmp_path), "is stopped")
    seen("runs")
    main.run(abort, force=True, after=first)
    main.stop(first)
    seen("tidies")
    main.sync()
    assert main.states(abort)[-1] == "READY"
    (tmp_path / "enough").touch()
    assert main.wait_for_end(abort).reason == "completed"
    told = [(uid, state.name) for kind, uid, state in main.told.order if kind == "LifecycleMessage"]
    assert told.index((first, "STOPPED")) < told.index((abort, "RUNNING"))
    assert main.told.dropped == []


def test_one_that_is_never_called_hinders_nobody_by_its_end(main, script, tmp_path, seen):
    source = TIDIES_UP + f"    atexit.register(tidy, {str(tmp_path)!r})\n"
    first, other = main.ready(script(source), grace=60.0), main.ready(script(NOTHING))
    main.stop(first)
    seen("tidies")
    main.run(other)
    assert main.wait_for_end(other).reason == "completed"
    (tmp_path / "enough").touch()
    main.wait_for(first, "STOPPED")


def test_run_timeout_counts_until_the_process_has_gone(main, script, tmp_path, seen):
    uid = main.ready(script(TIDIES_UP), grace=0.5, timeouts={"RunTimeout": 3.0})
    main.run(uid, "main", str(tmp_path), "returns")
    seen("tidies")
    end = main.wait_for(uid, "FAILED")
    assert end.reason.startswith("main has returned, but its process had not ended when RunTimeout (3 s) was over")


def test_one_that_does_not_begin_is_being_started_for_the_others_and_can_be_stopped(main, script):
    uid, other = main.ready(script(NOTHING), grace=0.5), main.ready(script(NOTHING))
    suspend(main.wait_for(uid, "READY").os_pid)
    main.run(uid)
    main.run(other)
    dropped = wait_until(lambda: main.told.dropped, 20, "the dropped start")[0]
    assert dropped.reason == f"the start of main was dropped, since procedure {uid} was being started"
    main.stop(uid)
    main.wait_for(uid, "STOPPED")
    main.run(other)
    assert main.wait_for_end(other).reason == "completed"
