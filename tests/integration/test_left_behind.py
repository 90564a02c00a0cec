"""Processes that do all they can to outlive their script: none is left when its end is announced."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from support.main_process import DEVICE, MainProcess
from support.processes import is_gone
from support.waiting import wait_until

from ska_oet_device.mptools import SPARE_TITLE, TEMPLATE_TITLE

SCRIPT = Path(__file__).parents[1] / "scripts" / "escapes.py"
NEIGHBOUR = "mid-oet/subarray/02"


@pytest.fixture(scope="module")
def shared_main():
    """A main process in which another procedure lives all the time."""
    main = MainProcess()
    main.ready(SCRIPT, device=NEIGHBOUR)
    yield main
    main.end()


@pytest.fixture
def beat(tmp_path):
    """The file that a hopper changes while it lives, and that it dies without."""
    path = tmp_path / "beat"
    path.write_text("0")
    yield path
    path.unlink()


def left_by(main: MainProcess, function: str, *args, device: str = DEVICE) -> tuple[int, list[int]]:
    """Have processes be left behind; returns the procedure's id and theirs."""
    uid = main.ready(SCRIPT, device=device)
    main.run(uid, function, *args, device=device)
    pids = main.wait_for_message(uid, "left")["pids"]
    main.seen.update(pids)
    return uid, pids


def end_of(main: MainProcess, uid: int) -> dict:
    """Stop a procedure; returns how it ended."""
    main.stop(uid)
    assert main.wait_for_end(uid).new_state.name == "STOPPED"
    return main.wait_for_end(uid).exit


class TestNothingIsLeftWhenTheEndIsAnnounced:
    @pytest.mark.parametrize("function", ["bare", "deaf", "frozen", "chain", "no_subreaper"])
    def test_of_what(self, shared_main, function):
        uid, pids = left_by(shared_main, function)
        assert not any(map(is_gone, pids))
        reaped = end_of(shared_main, uid)["reaped"]
        assert [pid for pid in pids if not is_gone(pid)] == []
        assert set(pids) <= set(reaped)

    @pytest.mark.parametrize("title", [SPARE_TITLE, TEMPLATE_TITLE, "oet-script run=another "])
    def test_of_what_has_taken_the_title(self, shared_main, title):
        uid, pids = left_by(shared_main, "titled", title)
        end_of(shared_main, uid)
        assert [pid for pid in pids if not is_gone(pid)] == []

    @pytest.mark.parametrize("sessions", [True, False])
    def test_of_what_forks_and_exits_at_once(self, shared_main, beat, sessions):
        uid, _ = left_by(shared_main, "hopper", str(beat), sessions)
        before = beat.read_text()
        wait_until(lambda: beat.read_text() != before)
        end_of(shared_main, uid)
        last = beat.read_text()
        with pytest.raises(AssertionError):
            wait_until(lambda: beat.read_text() != last, 0.1)

    @pytest.mark.long
    def test_and_main_itself_leaves_nothing(self, beat):
        main = MainProcess()
        left_by(main, "hopper", str(beat))
        _, pids = left_by(main, "chain", device=NEIGHBOUR)
        main.end()
        assert main.process.returncode == 0
        assert [pid for pid in pids if not is_gone(pid)] == []
        last = beat.read_text()
        with pytest.raises(AssertionError):
            wait_until(lambda: beat.read_text() != last, 0.1)


def ask_to_end(main: MainProcess) -> None:
    """Send SIGTERM until it has ended."""
    while main.process.poll() is None:
        main.process.terminate()
        time.sleep(0.0002)


def test_main_that_is_asked_again_and_again_ends_as_well():
    """To the last instruction: a main that the signal kills would have failed, for systemd and for Kubernetes."""
    for _ in range(3):
        main = MainProcess()
        main.ready(SCRIPT)
        asking = threading.Thread(target=ask_to_end, args=(main,))
        asking.start()
        main.end()
        asking.join()
        assert main.process.returncode == 0


def test_what_a_living_neighbour_has_left_behind_is_left_alone(shared_main):
    other = "mid-oet/subarray/03"
    neighbour, kept = left_by(shared_main, "bare", device=other)
    uid, pids = left_by(shared_main, "bare")
    assert end_of(shared_main, uid)["reaped"] == pids
    assert not any(map(is_gone, kept))
    shared_main.stop(neighbour, other)
    assert shared_main.wait_for_end(neighbour).exit["reaped"] == kept


def test_several_ends_at_once_leave_nothing(shared_main):
    devices = [f"mid-oet/subarray/1{number}" for number in range(4)]
    begun = [left_by(shared_main, "bare", device=device) for device in devices]
    for (uid, _), device in zip(begun, devices, strict=True):
        shared_main.stop(uid, device)
    told = [pid for uid, _ in begun for pid in shared_main.wait_for_end(uid).exit["reaped"]]
    assert sorted(told) == sorted(pid for _, pids in begun for pid in pids)
