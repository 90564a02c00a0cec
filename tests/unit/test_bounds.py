"""What the device server remembers of procedures does not grow with what they have been through, or are given."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.owners import main_process

from ska_oet_device.config import Settings
from ska_oet_device.errors import TooLargeError, TooManyError
from ska_oet_device.event import topics
from ska_oet_device.procedure.application import (
    PrepareProcessCommand,
    ScriptExecutionService,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oet_device.procedure.domain import FileSystemScript, LifecycleMessage, ProcedureInput
from ska_oet_device.procedure.domain import ProcedureState as S
from ska_oet_device.procedure.history import HistoryStore
from ska_oet_device.procedure.ui._answers import capture_data
from ska_oet_device.procedure.ui._summaries import summary_json

KIB, MIB = 1024, 1024 * 1024


class Device:
    """A service with a history in a database, and the rest played: main says at once what it is asked to do."""

    def __init__(self, folder: Path) -> None:
        (folder / "a.py").write_text("def main(*args): pass\n")
        self.folder = folder
        self.settings = Settings(script_roots=(str(folder),), history_length=2)
        self.begin()

    def begin(self) -> None:
        """Be a new device server."""
        self.store = HistoryStore(main_process())
        self.history, problem = self.store.open("d", "", self.folder)
        assert not problem
        self.service = ScriptExecutionService(device="d", settings=self.settings, history=self.history)
        self.service.bus.subscribe(self._created, topics.procedure.management.create)

    def _created(self, msg_src: int, load: Any) -> None:
        """Hear that a process is wanted, as the link does."""

    def enter(self, uid: int, *states: S, **more: Any) -> None:
        for state in states:
            self.service.bus.publish(
                topics.procedure.lifecycle.statechange, message=LifecycleMessage(uid, state, **more)
            )

    def prepare(self, *args: Any, states: tuple[S, ...] = (S.IDLE, S.LOADING, S.IDLE, S.READY)) -> int:
        command = PrepareProcessCommand(FileSystemScript("file://a.py"), ProcedureInput(*args))
        uid = self.service.prepare(command).id
        self.enter(uid, *states)
        return uid

    def call(self, uid: int, *args: Any) -> None:
        self.service.start(StartProcessCommand(uid, "step", ProcedureInput(*args)))
        self.enter(uid, S.RUNNING, fn_name="step")
        self.enter(uid, S.READY)

    def calls(self, uid: int) -> list[dict[str, Any]]:
        (summary,) = self.service.summarise([uid])
        return [capture_data(call)["fn_args"] for call in summary.script_args]

    def end(self) -> None:
        assert self.history.wait(60)
        self.store.close()


@pytest.fixture
def device(tmp_path):
    device = Device(tmp_path)
    yield device
    device.end()


def marked(*args: Any) -> dict[str, Any]:
    text = json.dumps({"args": list(args), "kwargs": {}})
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"args": [], "kwargs": {}, "shortened": len(text), "sha256": digest}


def whole(*args: Any) -> dict[str, Any]:
    return {"args": list(args), "kwargs": {}}


@pytest.mark.long
def test_of_thousands_of_calls_the_first_and_the_newest_are_told(device):
    uid = device.prepare("init")
    for number in range(3000):
        device.call(uid, number)
    (summary,) = device.service.summarise([uid])
    assert 1000 <= len(summary.script_args) <= 1250
    assert 1000 <= len(summary.history.process_states) <= 1250
    assert len(summary.requested_by) <= 1250
    assert summary.script_args[0].fn == "init"
    assert [call.fn_args.args for call in summary.script_args[-900:]] == [(n,) for n in range(2100, 3000)]
    assert summary.history.process_states[0][0] is S.CREATING
    assert summary.requested_by[0].command == "Prepare"
    assert len(summary_json(summary)) < 500 * KIB

    device.end()
    device.begin()
    (again,) = device.history.procedures([uid]).values()
    assert len(again.states) == len(again.calls) == len(again.requests) == 1000
    assert (again.states[0][0], again.calls[0].fn, again.requests[0].command) == (S.CREATING, "init", "Prepare")
    assert [call.fn_args["args"] for call in again.calls[1:]] == [[n] for n in range(2001, 3000)]
    assert [state for state, _ in again.states[-2:]] == [S.RUNNING, S.READY]


def test_the_newest_megabyte_of_arguments_is_whole_while_a_procedure_lives(device):
    uid = device.prepare("i" * 600 * KIB)
    assert device.calls(uid) == [whole("i" * 600 * KIB)]
    for letter in "abc":
        device.call(uid, letter * 300 * KIB)
    device.call(uid, "d" * 900 * KIB)
    assert device.calls(uid) == [
        marked("i" * 600 * KIB),
        *(marked(letter * 300 * KIB) for letter in "abc"),
        whole("d" * 900 * KIB),
    ]
    for number in range(100):
        device.call(uid, str(number) * 100 * KIB)
    kept = [call for call in device.calls(uid) if "shortened" not in call]
    assert kept[-1] == whole("99" * 100 * KIB)
    assert len(json.dumps(kept)) < 1.1 * MIB


def test_less_is_kept_of_what_has_ended(device):
    uid = device.prepare("i" * 200 * KIB)
    device.call(uid, "a" * 600 * KIB)
    device.call(uid, "b" * 100 * KIB)
    device.enter(uid, S.STOPPED)
    assert device.calls(uid) == [marked("i" * 200 * KIB), marked("a" * 600 * KIB), whole("b" * 100 * KIB)]


def test_the_history_keeps_what_is_no_flood(device):
    sizes = [KIB // 2, 100 * KIB, 300 * KIB, 200 * KIB]
    uids = [device.prepare("x" * size) for size in sizes]
    for uid in uids:
        device.enter(uid, S.STOPPED)
    device.end()
    device.settings = Settings(script_roots=device.settings.script_roots, history_length=0)
    device.begin()
    told = [device.calls(uid)[0] for uid in uids]
    assert told == [(marked if size > 256 * KIB else whole)("x" * size) for size in sizes]


def write_old_calls(device, uid, sizes, letter="o"):
    """Have the history hold what an earlier version has written, which kept everything."""
    device.end()
    with contextlib.closing(sqlite3.connect(device.folder / "history.sqlite3")) as database, database:
        text = [json.dumps(whole(letter * size)) for size in sizes]
        (time,) = database.execute("SELECT max(time) FROM call").fetchone()
        rows = [(uid, each, time + number / 1000) for number, each in enumerate(text)]
        database.executemany(
            "INSERT INTO call (device, process_uid, fn, fn_args, time) "
            "SELECT device, id, 'step', ?2, ?3 FROM procedure WHERE id = ?1",
            rows,
        )
    device.begin()


@pytest.mark.parametrize(("end", "most"), [((S.STOPPED,), 256 * KIB), ((), MIB)], ids=["ended", "alive"])
def test_no_more_is_taken_up_after_a_restart_than_was_held_before(device, end, most):
    uid = device.prepare("i" * 200 * KIB)
    for letter in "abcde":
        device.call(uid, letter * 200 * KIB)
    device.call(uid, "f" * 300 * KIB)  # not in the history: a size and a hash
    device.enter(uid, *end)
    write_old_calls(device, uid, [900 * KIB] * 3 + [100 * KIB] * 3)
    device.service.restore(())
    (summary,) = [each for each in device.service.snapshot().summaries if each.id == uid]
    kept = [call for call in summary.script_args if not call.shortened]
    assert 0 < sum(call.size for call in kept) <= most
    assert kept[-1] is summary.script_args[-1], "the newest are whole"
    assert len(summary.script_args) == 13
    assert summary.script_args[6].shortened == len(json.dumps(whole("f" * 300 * KIB))), "not that of its mark"
    assert summary.script_args[6].sha256


def test_a_procedure_of_which_an_earlier_version_has_kept_all_is_told_with_its_newest_arguments(device):
    uid = device.prepare("i")
    device.enter(uid, S.STOPPED)
    write_old_calls(device, uid, [900 * KIB] * 30)
    (summary,) = device.service.summarise([uid])
    assert [bool(call.shortened) for call in summary.script_args] == [False] + [True] * 26 + [False] * 4
    assert len(summary_json(summary)) < 4.1 * MIB


@pytest.mark.long
def test_a_thousand_procedures_of_a_megabyte_do_not_fill_the_history(device):
    for _ in range(1000):
        device.enter(device.prepare("x" * 250 * KIB), S.STOPPED)
    assert device.history.wait(60)
    size = sum(file.stat().st_size for file in device.folder.glob("history.sqlite3*"))
    assert size < 90 * MIB  # 250 MB were asked for
    small = device.prepare("y" * 1000)
    device.enter(small, S.STOPPED)
    device.end()
    device.begin()
    assert device.history.procedures([small])[small].calls[0].fn_args == whole("y" * 1000)


def test_several_procedures_share_the_room_of_an_answer(device):
    uids = [device.prepare("x" * 500 * KIB) for _ in range(20)]
    for asked in (uids, None):
        summaries = device.service.summarise(asked)
        assert sum(len(summary_json(summary)) for summary in summaries) < 4.1 * MIB
        assert [call.shortened for summary in summaries for call in summary.script_args] == [512_028] * 20
    assert device.calls(uids[0]) == [whole("x" * 500 * KIB)], "alone it is told whole"
    for uid in uids:
        device.enter(uid, S.STOPPED)
    assert device.history.wait(60)
    uids = []
    for _ in range(100):
        uids.append(device.prepare("x" * 100 * KIB))
        device.enter(uids[-1], S.STOPPED)
    assert device.history.wait(60)  # what has left the attributes is found there
    old = device.service.summarise(uids[:90])
    assert sum(len(summary_json(summary)) for summary in old) < 4.1 * MIB
    assert device.calls(uids[0]) == [whole("x" * 100 * KIB)], "from the history, too"


def test_more_procedures_than_can_be_told_at_once_are_refused(device):
    uid = device.prepare()
    with pytest.raises(TooLargeError, match="more than 250 procedures"):
        device.service.summarise(iter([uid] * 100_000))
    assert len(device.service.summarise([uid] * 250)) == 250


@pytest.mark.long
def test_old_procedures_of_too_many_entries_are_refused_together_and_told_alone(device):
    uids = []
    for _ in range(12):
        uids.append(device.prepare())
        for number in range(400):
            device.call(uids[-1], number)
        device.enter(uids[-1], S.STOPPED)
    assert device.history.wait(60)
    with pytest.raises(TooLargeError, match="ask for fewer"):
        device.service.summarise(uids[:10])
    assert len(device.service.summarise(uids[:4])) == 4
    (summary,) = device.service.summarise(uids[:1])
    assert len(summary.script_args) == 401


def test_starts_that_wait_hold_no_more_than_main_can_bear(device):
    uids = [device.prepare(states=(S.IDLE,)) for _ in range(10)]

    def wait(uid: int) -> None:
        device.service.start(StartProcessCommand(uid, "step", ProcedureInput("x" * 1000 * KIB), True))

    for number in range(65):
        wait(uids[number // 16])
    with pytest.raises(TooManyError, match="bytes of arguments are waiting"):
        wait(uids[9])
    device.service.stop(StopProcessCommand(uids[0]))
    device.enter(uids[0], S.STOPPED)
    wait(uids[9])


def test_status_names_the_newest_drops(device):
    uid = device.prepare()
    for number in range(1, 101):
        device.enter(uid, S.READY, reason="the start of step was dropped, since procedure 1 is RUNNING", time=number)
    assert len(device.service.notices().sentences) == 10
