"""The durable history of a device, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from support.durable import PostgreSQL, SmallDisk
from support.owners import elsewhere, main_process
from support.processes import suspend
from support.waiting import wait_until

from ska_oet_device.errors import HistoryError
from ska_oet_device.procedure.domain import ProcedureState as S
from ska_oet_device.procedure.history import (
    HistoryStore,
    Numbers,
    SqlHistory,
    StoredCall,
    StoredProcedure,
    _device_row,
    _forget,
    _open,
    _reader,
    _schema,
    _store,
    _writer,
)
from ska_oet_device.procedure.history._database_file import DatabaseFile
from ska_oet_device.procedure.ownership import Owner, StateHeldError, state_key
from ska_oet_device.retention import FIRST_DATE

DEVICE = "mid-oet/subarray/01"
NASTY = "é€😀 \0 \ud800 'quoted' -- \x1b"


_stores: list[HistoryStore] = []


def new_store(owner: Owner) -> HistoryStore:
    """Return a store that is closed after the test."""
    _stores.append(HistoryStore(owner))
    return _stores[-1]


_numbers: list[Numbers] = []


def new_numbers(folder: Path) -> Numbers:
    """Return the file of numbers of a device, which is closed after the test; a server's is open to its very end."""
    _numbers.append(Numbers(folder / "numbers"))
    return _numbers[-1]


@pytest.fixture(autouse=True)
def _all_are_closed() -> Iterator[None]:
    yield
    while _stores:
        _stores.pop().close()
    while _numbers:
        os.close(_numbers.pop()._descriptor)


class Histories:
    """Opens histories of one database, each time as a new server would."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def open(self, device: str = DEVICE, boot: str = "boot", **more: Any) -> SqlHistory:
        history, problem = new_store(main_process(boot)).open(device, self.url, self.folder, **more)
        assert problem == "", problem
        assert isinstance(history, SqlHistory), history.problem
        return history


@pytest.fixture(params=["sqlite", "postgresql"])
def histories(request: pytest.FixtureRequest, tmp_path: Path) -> Histories:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgresql").url
    return Histories(url, tmp_path)


def create(history: Any, time: float = 1.0, **values: Any) -> int:
    """Have a procedure recorded; returns its id."""
    uid = history.next_id()
    run_id = f"run-{uid}"
    procedure = StoredProcedure(
        **{
            "id": uid,
            "run_id": run_id,
            "uri": f"tango://x/{DEVICE}#{uid}",
            "script": {"script_type": "filesystem", "script_uri": "file:///a.py"},
            "provenance": None,
            "state": S.CREATING,
            "calls": (StoredCall("init", {"args": [], "kwargs": {"a": 1}}, time),),
            **values,
        }
    )
    history.add_procedure(procedure, history.next_event(uid, run_id, None, S.CREATING, time, None), nothing)
    return uid


def enter(history: Any, uid: int, previous: S, state: S, time: float = 2.0, number: int = 0, **values: Any) -> None:
    event = history.next_event(uid, f"run-{uid}", previous, state, time, values.pop("reason", None))
    history.keep(
        event,
        {"state": state, "stacktrace": None, "exit": None, "os_pid": 7, "function": "", **values},
        nothing,
        number,
    )


def nothing() -> None: ...


class TestRoundTrip:
    def test_ready_once_more_is_a_start_that_was_dropped_and_unknown_once_more_is_none(self, histories):
        history = histories.open()
        uid = create(history)
        enter(history, uid, S.READY, S.READY, 3.0, reason="dropped")
        enter(history, uid, S.RUNNING, S.UNKNOWN, 4.0, reason="process 7 is alive")
        enter(history, uid, S.UNKNOWN, S.UNKNOWN, 5.0, reason="process 8 is alive")
        assert history.wait(10)
        assert history.procedures([uid])[uid].dropped == ((3.0, "dropped"),)
        history.close()

    def test_a_procedure_comes_back_as_it_was(self, histories):
        history = histories.open()
        uid = create(history, script={"script_type": "filesystem", "script_uri": "file:///ü.py"}, uri=NASTY)
        enter(history, uid, S.CREATING, S.IDLE, 2.0)
        exit_ = {"exit_code": 1, "signal": None, "reason": NASTY, "signals_sent": ["SIGTERM"], "reaped": [5]}
        enter(history, uid, S.IDLE, S.FAILED, 3.5, stacktrace=NASTY, exit=exit_, function="main", reason=NASTY)
        history.update(uid, {"provenance": {"path": "/ü", "sha256": "00"}})
        history.add_call(uid, StoredCall("main", {"args": [1, None, "€\0"], "kwargs": {}}, 2.5))
        history.add_request("Prepare", "python pid 1 on host ü", NASTY, uid, 1.0, "accepted")
        assert history.wait(10)

        (found,) = histories.open().procedures([uid]).values()
        assert (found.id, found.run_id, found.state) == (uid, f"run-{uid}", S.FAILED)
        assert found.states == ((S.CREATING, 1.0), (S.IDLE, 2.0), (S.FAILED, 3.5))
        assert found.exit == exit_
        assert found.provenance == {"path": "/ü", "sha256": "00"}
        assert found.function == "main"
        assert [(call.fn, call.fn_args) for call in found.calls] == [
            ("init", {"args": [], "kwargs": {"a": 1}}),
            ("main", {"args": [1, None, "€\0"], "kwargs": {}}),
        ]
        readable = "é€😀 \\x00 \\ud800 'quoted' -- \x1b"
        assert found.stacktrace == found.uri == readable
        assert [(item.command, item.client, item.user) for item in found.requests] == [
            ("Prepare", "python pid 1 on host ü", readable)
        ]
        (event,) = histories.open().events_after(2, 10)
        assert (event.previous, event.state, event.reason) == (S.IDLE, S.FAILED, readable)

    def test_what_an_earlier_version_has_kept_of_a_request_is_read_shortly(self, histories):
        history = histories.open()
        uid = create(history)
        for answer in ("accepted", "OET_UnknownProcedure: no"):
            history.add_request("Stop", "c" * 900_000, "u" * 900_000, uid, 1.0, answer + "." * 900_000)
        assert history.wait(20)
        for request in histories.open().requests_before(0, 10):
            assert max(len(request.client), len(request.user), len(request.answer)) == 2000
        (found,) = histories.open().procedures([uid]).values()
        assert [len(request.answer) for request in found.requests] == [2000]

    def test_an_unknown_procedure_is_not_found(self, histories):
        assert histories.open().procedures([1, -5, 2**63 - 1]) == {}

    def test_devices_do_not_see_each_other(self, histories):
        first, second = histories.open(), histories.open("mid-oet/subarray/02")
        assert create(first) == create(second) == 1
        enter(first, 1, S.CREATING, S.FAILED)
        second.add_request("Stop", "someone", None, 1, 1.0, "accepted")
        assert first.wait(10)
        assert second.wait(10)
        assert [procedure.id for procedure in second.unfinished()] == [1]
        assert first.unfinished() == []
        assert first.requests_before(0, 10) == []
        assert len(second.requests_before(0, 10)) == 1


class TestAfterRestart:
    def test_numbers_go_on(self, histories):
        history = histories.open()
        for _ in range(3):
            create(history)
        history.add_request("Stop", "someone", None, 1, 1.0, "accepted")
        assert history.wait(10)

        again = histories.open()
        assert again.last_sequence == 3
        assert again.next_id() == 4
        assert again.next_event(4, "r", None, S.CREATING, 1.0, None).sequence == 4
        assert again.add_request("Stop", "someone", None, 1, 1.0, "accepted").number == 2

    def test_an_id_is_not_given_again_though_its_procedure_is_not_in_the_database(self, histories):
        assert histories.open(lowest_id=41).next_id() == 42

    def test_but_not_behind_a_file_that_no_procedure_can_have_had(self, histories):
        assert histories.open(lowest_id=999_999_999_999).next_id() == 1
        history = histories.open()
        create(history)
        assert history.wait(10)
        assert histories.open(lowest_id=5_000_000).next_id() == 2

    def test_the_unfinished_and_the_newest_ended_are_found(self, histories):
        history = histories.open()
        for _ in range(6):
            create(history)
        for uid in (1, 2, 4, 5):
            enter(history, uid, S.CREATING, S.STOPPED)
        enter(history, 3, S.CREATING, S.UNKNOWN, exit={"reason": NASTY, "survivors": [7]})
        assert history.wait(10)

        again = histories.open()
        assert [procedure.id for procedure in again.unfinished()] == [3, 6]  # of one that is UNKNOWN something is left
        assert [procedure.id for procedure in again.newest_ended(3)] == [2, 4, 5]

    @pytest.mark.parametrize("exit_", [None, {"reason": 'of "survivors": none'}])
    def test_one_that_an_earlier_version_has_left_unknown_stays_as_it_is_until_it_is_forgotten(self, histories, exit_):
        history = histories.open()
        for _ in range(3):
            create(history, T)
        enter(history, 1, S.CREATING, S.UNKNOWN, T + 1.0, exit=exit_)
        enter(history, 2, S.CREATING, S.UNKNOWN, T + 1.0, exit={"survivors": []})
        enter(history, 3, S.CREATING, S.FAILED, T + 200.0)
        assert history.wait(10)
        again = histories.open()
        assert [procedure.id for procedure in again.unfinished()] == [2]
        assert [procedure.id for procedure in again.newest_ended(10)] == [3]
        assert again.procedures([1])[1].state is S.UNKNOWN
        again.forget_before(T + 100.0)
        assert again.wait(10)
        assert set(again.procedures([1, 2, 3])) == {2, 3}

    def test_the_number_of_mains_newest_announcement_is_known_to_the_same_main_only(self, histories):
        history = histories.open(boot="first")
        uid = create(history)
        enter(history, uid, S.CREATING, S.IDLE, number=17)
        history.update(uid, {"provenance": {}}, 18)
        assert history.wait(10)
        assert histories.open(boot="first").last_number("first") == 18
        assert histories.open(boot="second").last_number("second") == 0

    def test_older_events_come_from_the_database_and_newer_ones_from_memory(self, histories):
        history = histories.open()
        for _ in range(5):
            create(history)
        assert history.wait(10)
        again = histories.open()
        create(again)
        assert again.wait(10)
        assert [event.sequence for event in again.events_after(0, 100)] == [1, 2, 3, 4, 5, 6]
        assert [event.sequence for event in again.events_after(2, 2)] == [3, 4]
        assert [event.sequence for event in again.events_after(5, 100)] == [6]
        assert again.events_after(6, 100) == again.events_after(2**62, 100) == []


class TestEvents:
    def test_that_are_not_committed_yet_are_not_told(self, histories, monkeypatch):
        monkeypatch.setattr(_store, "_LAST_CHANGES", 0.05)
        history = histories.open()
        create(history)
        assert history.wait(10)
        assert [event.sequence for event in history.events_after(0, 10)] == [1]
        may_commit = threading.Event()
        history._writer.submit(lambda connection: may_commit.wait(20))
        create(history)
        try:
            assert [event.sequence for event in history.events_after(0, 10)] == [1]
            assert history.events_after(1, 10) == []
        finally:
            may_commit.set()
        assert history.wait(10)
        assert [event.sequence for event in history.events_after(1, 10)] == [2]


class TestRequests:
    def test_are_paged_newest_first(self, histories):
        history = histories.open()
        for number in range(1, 8):
            history.add_request(f"C{number}", "c", None, number, float(number), "accepted")
        assert history.wait(10)
        first = history.requests_before(0, 3)
        assert [item.number for item in first] == [7, 6, 5]
        assert [item.number for item in history.requests_before(5, 3)] == [4, 3, 2]
        assert [item.number for item in history.requests_before(2, 3)] == [1]
        assert history.requests_before(1, 3) == []
        assert [item.command for item in histories.open().requests_before(0, 2)] == ["C7", "C6"]


T = FIRST_DATE


class TestRetention:
    def test_what_ended_long_ago_goes_with_all_that_belongs_to_it(self, histories):
        history = histories.open()
        other = histories.open("mid-oet/subarray/02")
        old, living, young = (create(history, time) for time in (T + 1.0, T + 1.0, T + 1.0))
        for each in (history, other):
            each.add_request("Prepare", "c", None, 1, T + 1.0, "accepted")
        create(other, T)
        enter(other, 1, S.CREATING, S.FAILED, T + 2.0)
        enter(history, old, S.CREATING, S.FAILED, T + 2.0)
        enter(history, young, S.CREATING, S.FAILED, T + 200.0)
        history.add_request("Stop", "c", None, living, T + 200.0, "accepted")
        history.forget_before(T + 100.0)
        assert history.wait(10)
        assert other.wait(10)

        again = histories.open()
        assert set(again.procedures([old, living, young])) == {living, young}
        assert {event.process_uid for event in again.events_after(0, 100)} == {living, young}
        assert [item.command for item in again.requests_before(0, 10)] == ["Stop"]
        assert again.procedures([young])[young].calls
        assert other.procedures([1])[1].requests, "another device's history is left alone"

    def test_that_has_more_to_do_is_left_to_the_next_server_when_this_one_ends(self, histories, monkeypatch):
        monkeypatch.setattr(_forget, "_PROCEDURES_AT_ONCE", 1)
        history = histories.open()
        uids = [create(history, T) for _ in range(50)]
        for uid in uids:
            enter(history, uid, S.CREATING, S.FAILED, T + 1.0)
        enter(history, create(history, T), S.CREATING, S.FAILED, T + 200.0)
        assert history.wait(20)
        may_go_on = threading.Event()
        history._writer.submit(lambda connection: may_go_on.wait(20))
        history.forget_before(T + 100.0)
        history.close()
        may_go_on.set()
        history._writer.close(20.0)
        assert not history._writer._thread.is_alive()

        again = histories.open()
        assert len(again.procedures(uids)) > 40
        again.forget_before(T + 100.0)
        wait_until(lambda: again.wait(10) and not again.procedures(uids), 30, "the next server forgets the rest")

    def test_many_go_in_parts_between_which_others_are_written(self, histories, monkeypatch):
        monkeypatch.setattr(_forget, "_PROCEDURES_AT_ONCE", 3)
        monkeypatch.setattr(_forget, "_REQUESTS_AT_ONCE", 7)
        history = histories.open()
        for _ in range(10):
            enter(history, create(history, T), S.CREATING, S.FAILED, T + 1.0)
        enter(history, create(history, T), S.CREATING, S.FAILED, T + 200.0)
        for number in range(20):
            history.add_request("Prepare", "c", None, number, T + 1.0, "accepted")
        assert history.wait(10)
        left: list[int] = []

        def count(batch: Any) -> None:
            batch.flush()
            left.append(len(batch.connection.execute(select(_schema.procedure.c.id)).all()))
            if left[-1] > 1:
                history._writer.submit(count)

        history._writer.submit(count)  # first, so that one of its links stands between two parts
        history.forget_before(T + 100.0)
        wait_until(lambda: left and left[-1] == 1, 20, "all are forgotten")
        assert history.wait(20)
        wait_until(lambda: not history.requests_before(0, 100), 20, "all are forgotten")
        assert set(left) >= {8, 5, 2}
        assert [event.process_uid for event in histories.open().events_after(0, 100)] == [11, 11]

    def test_numbers_go_on_though_all_procedures_were_forgotten(self, histories):
        history = histories.open()
        uid = create(history, T)
        enter(history, uid, S.CREATING, S.FAILED, T)
        history.add_request("Stop", "c", None, uid, T + 200.0, "accepted")
        history.forget_before(T + 100.0)
        assert history.wait(10)
        again = histories.open()
        assert again.procedures([uid]) == {}
        assert (again.next_id(), again.last_sequence) == (uid + 1, 2)
        assert again.add_request("Stop", "c", None, uid, 1.0, "accepted").number == 2

    @pytest.mark.parametrize("newest", [T + 2.0, T + 1e10])
    def test_nothing_goes_while_all_is_old_or_of_days_to_come(self, histories, newest):
        """A clock that is ahead makes everything old, and what was written under it young for ever."""
        history = histories.open()
        old, last = create(history, T), create(history, T)
        enter(history, old, S.CREATING, S.FAILED, T + 1.0)
        enter(history, last, S.CREATING, S.FAILED, newest)
        history.add_request("Stop", "c", None, old, newest, "accepted")
        history.forget_before(T + 100.0)
        assert history.wait(10)
        assert set(history.procedures([old, last])) == {old, last}
        assert len(histories.open().requests_before(0, 10)) == 1

    def test_what_was_written_in_1970_is_as_old_as_what_came_next(self, histories):
        history = histories.open()
        times = (T + 1.0, 5.0, T + 2.0, 6.0, T + 200.0, 7.0)
        for when in times:
            uid = create(history, when)
            enter(history, uid, S.CREATING, S.FAILED, when)
            history.add_request("Stop", "c", None, uid, when, "accepted")
        history.forget_before(T + 100.0)
        assert history.wait(10)
        again = histories.open()
        assert set(again.procedures(range(1, 7))) == {4, 5, 6}
        assert [item.number for item in again.requests_before(0, 10)] == [6, 5, 4]


@pytest.mark.long
class TestPostgreSQLInAnotherEncoding:
    def test_that_knows_none_keeps_every_character(self, postgresql, tmp_path):
        postgresql.execute("DROP DATABASE IF EXISTS ascii")
        postgresql.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        histories = Histories(f"{postgresql.url.rpartition('/')[0]}/ascii", tmp_path)
        history = histories.open()
        create(history, uri="é€😀")
        assert history.wait(10)
        assert history.problem == ""
        assert histories.open().unfinished()[0].uri == "é€😀"


class TestPostgreSQLThatFails:
    """`postgresql` is the real one; it is killed, or stopped so that it hangs."""

    @pytest.fixture
    def history(self, postgresql: PostgreSQL, tmp_path: Path) -> Iterator[SqlHistory]:
        history = Histories(postgresql.url, tmp_path).open()
        create(history)
        assert history.wait(10)
        yield history
        postgresql.signal(signal.SIGCONT)

    def test_killed_and_started_again_has_everything(self, history, postgresql, tmp_path):
        postgresql.kill()
        called: list[int] = []
        for number in range(20):
            uid = create(history)
            event = history.next_event(uid, f"run-{uid}", S.CREATING, S.IDLE, 2.0, None)
            history.keep(event, {"state": S.IDLE}, lambda number=number: called.append(number))
        wait_until(lambda: called == list(range(20)), 20, "clients are told")
        wait_until(lambda: history.problem, 20)
        postgresql.start()
        wait_until(lambda: not history.problem, 20, "the history is written again")
        assert history.wait(10)
        again = Histories(postgresql.url, tmp_path).open()
        assert [event.sequence for event in again.events_after(0, 100)] == list(range(1, 42))
        assert len(again.unfinished()) == 21

    @pytest.mark.long
    def test_killed_at_any_moment_loses_nothing_and_writes_nothing_twice(self, history, postgresql, tmp_path):
        """The commit that was under way may have been done or not."""
        stop = itertools.count()
        for _ in range(3):
            for _ in range(150):
                uid = create(history)
                history.add_call(uid, StoredCall("main", {"args": [next(stop)], "kwargs": {}}, 1.0))
            postgresql.kill()
            history.probe()  # all may have been written by then, and only what is written notices
            wait_until(lambda: history.problem, 20)
            postgresql.start()
            wait_until(lambda: not history.problem, 20)
        assert history.wait(20)
        again = Histories(postgresql.url, tmp_path).open()
        assert [event.sequence for event in again.events_after(0, 1000)] == list(range(1, 452))
        procedures = again.procedures(range(2, 452))
        assert len(procedures) == 450
        assert {len(procedure.calls) for procedure in procedures.values()} == {2}
        assert "lost" not in history.problem

    def test_hanging_is_noticed_and_holds_nobody_up(self, history, postgresql, monkeypatch):
        for module in (_reader, _writer):
            monkeypatch.setattr(module, "_PATIENCE", 1.0)
        postgresql.suspend()
        called: list[int] = []
        uid = create(history)
        history.keep(
            history.next_event(uid, f"run-{uid}", S.CREATING, S.IDLE, 2.0, None),
            {"state": S.IDLE},
            lambda: called.append(1),
        )
        problem = wait_until(lambda: history.problem, 10)
        assert "does not answer" in problem
        history._writer.look_after()
        assert called == [1]
        started = time.monotonic()
        with pytest.raises(HistoryError, match=r"does not answer|has not answered"):
            history.procedures([1])
        with pytest.raises(HistoryError):
            history.requests_before(0, 10)
        assert time.monotonic() - started < 5
        postgresql.signal(signal.SIGCONT)
        wait_until(lambda: not history.problem, 20)
        wait_until(lambda: self._finds(history, uid), 20, "it can be read again")

    def test_a_table_that_somebody_has_locked_holds_no_reader_up(self, history, postgresql, monkeypatch):
        import psycopg

        def refusal() -> str:
            with pytest.raises(HistoryError) as refused:
                history.procedures([1])
            return str(refused.value)

        monkeypatch.setattr(_reader, "_PATIENCE", 1.0)
        with psycopg.connect(postgresql.url) as somebody:
            somebody.execute("LOCK TABLE procedure IN ACCESS EXCLUSIVE MODE")
            assert "the database has not answered for 1 s" in refusal()
            # As soon as a query has begun: on a busy machine the first one may have been given up before that.
            wait_until(lambda: "the database does not answer" in refusal(), what="nobody waits any more")
            monkeypatch.setattr(_reader, "_PATIENCE", 60.0)
            began = time.monotonic()
            assert "the database does not answer" in refusal()
            assert time.monotonic() - began < 20
        wait_until(lambda: self._finds(history, 1), 20, "it can be read again")

    def test_what_the_database_refuses_to_read_is_told(self, history, postgresql):
        postgresql.execute("ALTER TABLE procedure RENAME TO elsewhere")
        with pytest.raises(HistoryError, match=r"the history cannot be read: .*procedure.* does not exist"):
            history.procedures([1])
        postgresql.execute("ALTER TABLE elsewhere RENAME TO procedure")
        assert self._finds(history, 1)

    @staticmethod
    def _finds(history: SqlHistory, uid: int) -> bool:
        try:
            return uid in history.procedures([uid])
        except HistoryError:
            return False

    def absent(self, postgresql: PostgreSQL, folder: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> SqlHistory:
        """Return the history of a server that starts while the database is not there."""
        for name in ("_DATABASE_START", "_UNKNOWN_NUMBERS"):
            monkeypatch.setattr(_open, name, 0.1)
        postgresql.kill()
        history, problem = new_store(main_process()).open(DEVICE, postgresql.url, folder, **more)
        assert problem == ""
        assert isinstance(history, SqlHistory)
        assert "cannot be written" in history.problem
        return history

    def test_absent_at_the_start_is_said_and_what_waited_is_written_when_it_comes(
        self, postgresql, tmp_path, monkeypatch
    ):
        earlier = Histories(postgresql.url, tmp_path).open(numbers=new_numbers(tmp_path))
        left = create(earlier)
        earlier.close()
        assert earlier.wait(10)
        history = self.absent(postgresql, tmp_path, monkeypatch, numbers=new_numbers(tmp_path))
        uid = create(history)
        enter(history, uid, S.CREATING, S.IDLE)
        assert uid == left + 1
        assert history.last_sequence == 3
        wait_until(lambda: [event.sequence for event in history.events_after(1, 10)] == [2, 3], what="clients are told")
        assert history.unfinished() == []
        with pytest.raises(HistoryError, match="has not answered"):
            history.procedures([left])
        assert not history.has_arrived()
        postgresql.start()
        wait_until(lambda: not history.problem, 20)
        assert history.has_arrived()
        assert not history.has_arrived(), "once"
        assert history.wait(10)
        assert [found.id for found in history.unfinished()] == [left, uid]
        assert [event.sequence for event in Histories(postgresql.url, tmp_path).open().events_after(0, 10)] == [1, 2, 3]

    @pytest.mark.long
    def test_absent_where_nothing_tells_how_far_the_numbers_had_come_they_do_not_go_back(
        self, postgresql, tmp_path, monkeypatch
    ):
        earlier = Histories(postgresql.url, tmp_path).open()
        known = [create(earlier) for _ in range(5)]
        assert earlier.wait(10)
        history = self.absent(postgresql, tmp_path, monkeypatch)
        uid = create(history)
        assert uid > known[-1]
        assert history.last_sequence > 5
        postgresql.start()
        wait_until(lambda: not history.problem, 20)
        assert history.wait(10)
        assert history.next_id() == uid + 1
        assert [found.id for found in history.unfinished()] == [*known, uid]

    @pytest.mark.long
    def test_a_number_that_another_server_has_given_meanwhile_is_an_alarm(self, postgresql, tmp_path, monkeypatch):
        """The device was on another host for a while, and came back on the day on which the database is away."""
        Histories(postgresql.url, tmp_path).open(numbers=new_numbers(tmp_path)).next_id()
        elsewhere = Histories(postgresql.url, tmp_path).open()
        known = [create(elsewhere) for _ in range(5)]
        assert elsewhere.wait(10)
        history = self.absent(postgresql, tmp_path, monkeypatch, numbers=new_numbers(tmp_path))
        assert create(history) in known
        postgresql.start()
        wait_until(lambda: "1 change could not be written" in history.problem, 20)
        assert history.next_id() == known[-1] + 1
        with history._writer.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT last_id FROM device").scalar() == known[-1]

    @pytest.mark.long
    def test_a_living_procedure_is_adopted_whether_the_database_knows_it_or_not(
        self, postgresql, tmp_path, monkeypatch
    ):
        earlier = Histories(postgresql.url, tmp_path).open(numbers=new_numbers(tmp_path))
        known = create(earlier)
        enter(earlier, known, S.CREATING, S.IDLE)
        assert earlier.wait(10)
        history = self.absent(postgresql, tmp_path, monkeypatch, numbers=new_numbers(tmp_path))
        unknown = history.next_id()
        for uid in (known, unknown):
            script = {"script_type": "filesystem", "script_uri": "file:///a.py"}
            states = ((S.CREATING, 1.0), (S.LOADING, 3.0))
            history.adopt(StoredProcedure(uid, f"run-{uid}", "uri", script, None, S.LOADING, states=states))
            enter(history, uid, S.LOADING, S.FAILED, 4.0)
        postgresql.start()
        wait_until(lambda: not history.problem, 20)
        assert history.wait(10)
        found = Histories(postgresql.url, tmp_path).open().procedures([known, unknown])
        assert [found[uid].state for uid in (known, unknown)] == [S.FAILED, S.FAILED]
        assert found[known].states == ((S.CREATING, 1.0), (S.IDLE, 2.0), (S.FAILED, 4.0))

    def test_late_at_the_start_is_waited_for(self, postgresql, tmp_path, monkeypatch):
        monkeypatch.setattr(_open, "_UNKNOWN_NUMBERS", 30.0)
        postgresql.kill()
        opening = postgresql.start
        real = SqlHistory.introduce

        def introduce(self: SqlHistory) -> None:
            try:
                real(self)
            except SQLAlchemyError:
                opening()  # it is there at the second try
                raise

        monkeypatch.setattr(SqlHistory, "introduce", introduce)
        history, problem = new_store(main_process()).open(DEVICE, postgresql.url, tmp_path)
        assert (history.problem, problem) == ("", "")


class TestOwner:
    """One main process at a time writes the history of a device."""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr(_device_row, "_SILENCE", 0.5)

    def of(self, histories: Histories, owner: Owner, **more: Any) -> SqlHistory:
        history, _ = new_store(owner).open(DEVICE, histories.url, histories.folder, **more)
        assert isinstance(history, SqlHistory)
        return history

    def test_that_lives_is_not_robbed(self, histories):
        mine = self.of(histories, main_process("first", lives=True))
        with pytest.raises(StateHeldError, match=r"main process \d+ on host .*, which is running"):
            self.of(histories, main_process("second", lives=True))
        create(mine)
        assert mine.wait(10)
        assert mine.problem == ""

    def test_that_has_ended_is_followed_at_once_and_known(self, histories):
        self.of(histories, main_process("first"))
        history = self.of(histories, main_process("second", lives=True))
        assert history.previous == main_process("first")

    def test_may_come_back_as_another_device_server_of_the_same_main(self, histories):
        owner = main_process(lives=True)
        self.of(histories, owner)
        assert self.of(histories, owner).previous is None

    def test_that_has_let_go_is_followed_at_once_wherever_it_was(self, histories):
        first = self.of(histories, elsewhere())
        first.close()
        assert first.wait(10)
        assert self.of(histories, main_process("second", lives=True)).previous == elsewhere()

    def test_of_another_host_that_gives_a_sign_of_life_is_not_robbed(self, histories, monkeypatch):
        monkeypatch.setattr(
            _device_row, "_SILENCE", 60.0
        )  # the first sign is enough, and may be late on a busy machine
        first = self.of(histories, elsewhere())
        done = threading.Event()

        def live() -> None:
            while not done.wait(0.05):
                first.probe()

        thread = threading.Thread(target=live)
        thread.start()
        try:
            with pytest.raises(StateHeldError, match="host another-host, which is writing to it"):
                self.of(histories, main_process("second", lives=True))
        finally:
            done.set()
            thread.join()

    def test_of_another_host_that_is_silent_is_followed_and_can_write_no_more(self, histories):
        first = self.of(histories, elsewhere())
        create(first)
        assert first.wait(10)
        second = self.of(histories, main_process("second", lives=True))
        uid = create(second)
        assert second.wait(10)
        create(first)
        enter(first, uid, S.CREATING, S.FAILED)
        first.probe()
        wait_until(lambda: "taken over by main process" in first.problem, 10)
        assert "3 changes could not be written" in wait_until(lambda: "3 changes" in first.problem and first.problem)
        assert second.problem == ""
        enter(second, uid, S.CREATING, S.IDLE)
        assert second.wait(10)
        with second._writer.engine.connect() as connection:
            states = connection.exec_driver_sql("SELECT state FROM lifecycle ORDER BY sequence").scalars().all()
        assert states == [S.CREATING, S.CREATING, S.IDLE]

    def test_where_scripts_live_already_a_history_of_somebody_else_is_a_problem_and_no_end(self, histories):
        owner = self.of(histories, main_process("first", lives=True))
        history = self.of(histories, main_process("second", lives=True), may_refuse=False)
        create(history)
        wait_until(lambda: "belongs to main process" in history.problem, 10)
        owner.close()
        wait_until(lambda: not history.problem, 10, "it is written when the owner has let go")

    def test_two_facilities_may_share_a_database(self, histories):
        for database in ("first:10000", "second:10000"):
            history, _ = new_store(main_process(database, lives=True)).open(
                state_key(database, DEVICE), histories.url, histories.folder
            )
            assert create(history) == 1
            assert history.wait(10)
            assert history.problem == ""


class TestEarlierVersion:
    def test_what_it_wrote_under_the_mere_name_of_the_device_is_taken_up(self, histories):
        former = histories.open(DEVICE)
        uid = create(former)
        former.add_request("Prepare", "c", None, uid, 1.0, "accepted")
        assert former.wait(10)
        engine = former._writer.engine
        with engine.begin() as connection:  # it had no owners, and no schema that is told
            connection.exec_driver_sql("DROP TABLE schema_version")
            for column in ("owner", "owner_is", "seen"):
                connection.exec_driver_sql(f"ALTER TABLE device DROP COLUMN {column}")
        engine.dispose()
        name = state_key("db:10000", DEVICE)
        history = histories.open(name, former_name=DEVICE)
        assert [(found.id, len(found.requests)) for found in history.unfinished()] == [(uid, 1)]
        assert create(history) == uid + 1
        assert history.wait(10)
        assert history.problem == ""
        other = histories.open(state_key("other:10000", DEVICE), former_name=DEVICE)
        assert other.unfinished() == [], "it was taken already"


class TestUrls:
    @pytest.mark.parametrize(
        "url", ["nonsense", "mysql://nobody@127.0.0.1/x", "sqlite:////no/such/folder/x", "postgresql://h:port/x"]
    )
    def test_one_that_is_of_no_use_is_said(self, url, tmp_path, monkeypatch):
        monkeypatch.setattr(_open, "_DATABASE_START", 0.1)
        history, _ = new_store(main_process()).open(DEVICE, url, tmp_path)
        assert "cannot be opened" in history.problem or "unable to open" in history.problem

    @pytest.mark.parametrize(
        "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&cache=shared&uri=true"]
    )
    def test_one_of_a_database_in_memory_is_said_and_ids_are_given_all_the_same(self, url, tmp_path):
        history, _ = new_store(main_process()).open(DEVICE, url, tmp_path)
        assert "names no file" in history.problem
        assert "is kept in memory only" in history.problem
        assert create(history) + 1 == create(history)


class TestSqliteFile:
    def files(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    def filled(self, folder: Path, count: int = 300) -> SqlHistory:
        history = Histories("", folder).open()
        for _ in range(count):
            enter(history, create(history), S.CREATING, S.FAILED, stacktrace="x" * 500)
        assert history.wait(120), "the disk is shared, and each of them is a transaction"
        return history

    def dispose(self, history: SqlHistory) -> None:
        """Have the last connection closed, so that the write-ahead log is merged into the file."""
        history._writer.close(20)
        history._writer.engine.dispose()

    def test_that_is_no_database_is_set_aside(self, tmp_path):
        path = tmp_path / "history.sqlite3"
        path.write_bytes(b"this is no database, but somebody may want it\n" * 100)
        history, problem = new_store(main_process()).open(DEVICE, "", tmp_path, lowest_id=9)
        assert "could not be read" in problem
        assert "set aside" in problem
        assert history.problem == ""
        assert history.next_id() == 10
        (aside,) = tmp_path.glob("history.sqlite3.broken-*")
        assert aside.read_bytes().startswith(b"this is no database")
        assert aside.name in problem

    def test_that_is_damaged_somewhere_is_set_aside(self, tmp_path):
        self.dispose(self.filled(tmp_path))
        path = tmp_path / "history.sqlite3"
        data = bytearray(path.read_bytes())
        data[8192 : len(data) - 4096] = os.urandom(len(data) - 12288)
        path.write_bytes(data)
        history, problem = new_store(main_process()).open(DEVICE, "", tmp_path)
        assert "set aside" in problem
        assert create(history) == 1
        assert history.wait(10)

    def test_that_a_link_leads_to_is_set_aside_where_it_is(self, tmp_path):
        large = tmp_path / "large disk"
        large.mkdir()
        (large / "oet.sqlite3").write_bytes(b"no database" * 100)
        (tmp_path / "history.sqlite3").symlink_to(large / "oet.sqlite3")
        _, problem = new_store(main_process()).open(DEVICE, "", tmp_path)
        (aside,) = large.glob("oet.sqlite3.broken-*")
        assert aside.name in problem
        assert (large / "oet.sqlite3").read_bytes().startswith(b"SQLite format 3")

    def test_that_is_empty_is_made_anew(self, tmp_path):
        (tmp_path / "history.sqlite3").touch()
        history, problem = new_store(main_process()).open(DEVICE, "", tmp_path)
        assert (history.problem, problem) == ("", "")

    def test_that_another_program_has_locked_is_left_alone(self, tmp_path):
        self.dispose(self.filled(tmp_path, 3))
        other = sqlite3.connect(tmp_path / "history.sqlite3", isolation_level=None)
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        history, problem = new_store(main_process()).open(DEVICE, "", tmp_path)
        assert problem == ""
        assert "locked" in history.problem
        assert not list(tmp_path.glob("*.broken-*"))
        other.rollback()
        other.close()
        assert Histories("", tmp_path).open().last_sequence == 6

    def test_that_is_read_only_is_left_alone_and_said(self, small_disk: SmallDisk):
        self.dispose(self.filled(small_disk.folder, 3))
        small_disk.make_read_only()
        try:
            history, problem = new_store(main_process()).open(DEVICE, "", small_disk.folder)
        finally:
            small_disk.make_read_only(False)
        assert problem == ""
        assert "cannot be written" in history.problem
        assert not list(small_disk.folder.glob("*.broken-*"))

    @pytest.mark.parametrize("umask", [0, 0o022, 0o077])
    def test_is_for_our_user_alone_with_all_that_belongs_to_it(self, tmp_path, umask):
        before = os.umask(umask)
        try:
            history = Histories("", tmp_path / "state").open()
        finally:
            os.umask(before)
        create(history)
        assert history.wait(10)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
        assert modes == {f"history.sqlite3{suffix}": 0o600 for suffix in ("", "-wal", "-shm")}
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
    def test_that_is_no_file_is_not_waited_for(self, tmp_path, make):
        make(tmp_path / "history.sqlite3")
        history, _ = new_store(main_process()).open(DEVICE, "", tmp_path)
        assert "is no regular file" in history.problem
        os.rename(tmp_path / "history.sqlite3", tmp_path / "aside")
        wait_until(lambda: not history.problem, what="it is made as soon as nothing is in its way")

    def test_is_made_where_a_link_leads_to_though_nothing_is_there_yet(self, tmp_path):
        (tmp_path / "large disk").mkdir()
        (tmp_path / "history.sqlite3").symlink_to("large disk/oet.sqlite3")
        history = Histories("", tmp_path).open()
        create(history)
        assert history.wait(10)
        assert stat.S_IMODE((tmp_path / "large disk" / "oet.sqlite3").lstat().st_mode) == 0o600
        assert [event.sequence for event in Histories("", tmp_path).open().events_after(0, 10)] == [1]

    @pytest.mark.parametrize("name", ["-wal", "-shm"])
    def test_is_not_waited_for_if_something_else_stands_beside_it(self, tmp_path, name):
        self.dispose(self.filled(tmp_path, 3))
        os.mkfifo(tmp_path / f"history.sqlite3{name}")
        history, _ = new_store(main_process()).open(DEVICE, "", tmp_path)
        assert history.problem

    def test_on_a_full_disk_waits_in_memory(self, small_disk: SmallDisk):
        history = self.filled(small_disk.folder, 3)
        small_disk.fill()
        called: list[int] = []
        for number in range(50):
            uid = create(history)
            event = history.next_event(uid, "r", S.CREATING, S.FAILED, 1.0, "x" * 5000)
            history.keep(event, {"state": S.FAILED}, lambda number=number: called.append(number))
        wait_until(lambda: called == list(range(50)), what="clients are told")
        problem = wait_until(lambda: history.problem)
        assert "full" in problem or "disk I/O" in problem
        small_disk.make_room()
        wait_until(lambda: not history.problem)
        assert history.wait(10)
        assert [event.sequence for event in Histories("", small_disk.folder).open().events_after(0, 1000)] == list(
            range(1, 107)
        )

    def test_two_servers_may_share_it(self, tmp_path):
        first, second = Histories("", tmp_path).open(), Histories("", tmp_path).open("mid-oet/subarray/02")
        for history in (first, second) * 50:
            create(history)
        assert first.wait(20)
        assert second.wait(20)
        assert (first.problem, second.problem) == ("", "")
        assert len(Histories("", tmp_path).open().unfinished()) == 50


_WRITER = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_history_store import Histories, create, enter, S
history = Histories("", Path({folder!r})).open()
print("ready", flush=True)
while True:
    uid = create(history)
    enter(history, uid, S.CREATING, S.FAILED, stacktrace="x" * 700)
    if uid % 20 == 0 and history.wait(10):
        print(history._sequence, flush=True)
"""


@pytest.mark.long
class TestPowerLoss:
    """A copy of the files as they are at some moment is what a computer finds when power is back."""

    def test_leaves_a_history_that_opens(self, tmp_path, request):
        import random

        chance = random.Random(20261122)
        source = tmp_path / "source"
        source.mkdir()
        paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        writer = subprocess.Popen(
            [os.sys.executable, "-c", _WRITER.format(paths=paths, folder=str(source))],
            stdout=subprocess.PIPE,
            text=True,
        )
        request.addfinalizer(lambda: (writer.kill(), writer.communicate()))
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        committed = 0
        for moment in range(25):
            for _ in range(chance.randrange(1, 6)):
                committed = int(writer.stdout.readline())
            suspend(writer.pid)
            wait_until(lambda: Path(f"/proc/{writer.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            copy = tmp_path / f"copy-{moment}"
            copy.mkdir()
            for part in source.iterdir():
                (copy / part.name).write_bytes(part.read_bytes())
            wal = copy / "history.sqlite3-wal"
            truncated = moment % 2 and wal.exists()
            if truncated:
                os.truncate(wal, chance.randrange(wal.stat().st_size + 1))
                (copy / "history.sqlite3-shm").unlink(missing_ok=True)
            self._check(copy, 0 if truncated else committed)
            writer.send_signal(signal.SIGCONT)

    def _check(self, copy: Path, committed: int) -> None:
        history, problem = new_store(main_process()).open(DEVICE, "", copy)
        assert (history.problem, problem) == ("", "")
        assert isinstance(history, SqlHistory)
        newest = history.last_sequence
        assert newest >= committed
        with history._writer.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            sequences = connection.exec_driver_sql("SELECT sequence FROM lifecycle ORDER BY sequence").scalars().all()
        assert sequences == list(range(1, newest + 1))
        enter(history, create(history), S.CREATING, S.FAILED)
        assert history.wait(10)
        assert history.problem == ""
        history._writer.engine.dispose()


class TestAFileThatIsRemovedWhileItIsInUse:
    @pytest.fixture
    def history(self, tmp_path: Path) -> SqlHistory:
        history = Histories("", tmp_path / "state").open()
        for _ in range(20):
            enter(history, create(history), S.CREATING, S.FAILED)
        assert history.wait(10)
        return history

    def look(self, history: SqlHistory) -> None:
        """Have it be used until something is said."""

        def is_said() -> bool:
            history.probe()
            return bool(history.problem)

        wait_until(is_said, 10, "it is said")

    def kept(self, folder: Path) -> list[int]:
        again = Histories("", folder).open()
        return [event.sequence for event in again.events_after(0, 1000)]

    @pytest.mark.parametrize("what", ["history.sqlite3", "history.sqlite3*", "*"])
    def test_is_written_again_and_nothing_is_lost(self, history, tmp_path, what):
        state = tmp_path / "state"
        for path in list(state.glob(what)):
            path.unlink()
        if what == "*":
            state.rmdir()
        last = create(history)
        self.look(history)
        assert "was removed while it was in use; it was written again, and nothing is lost" in history.problem
        create(history)
        assert history.wait(10)
        history.acknowledge()
        assert history.problem == ""
        assert sorted(history.procedures(range(1, last + 2))) == list(range(1, last + 2))
        assert self.kept(state) == list(range(1, 43))
        assert not list(state.glob("*rescued*"))
        assert stat.S_IMODE((state / "history.sqlite3").stat().st_mode) == 0o600

    def test_again_and_again(self, history, tmp_path):
        for _ in range(3):
            (tmp_path / "state" / "history.sqlite3").unlink()
            self.look(history)
            history.acknowledge()
            create(history)
            assert history.wait(10)
        assert self.kept(tmp_path / "state") == list(range(1, 44))

    @pytest.mark.parametrize("what", ["large disk/oet.sqlite3", "state/history.sqlite3"])
    def test_which_a_link_leads_to_is_written_again_where_it_was(self, tmp_path, what):
        state, large = tmp_path / "state", tmp_path / "large disk"
        state.mkdir()
        large.mkdir()
        (state / "history.sqlite3").symlink_to(large / "oet.sqlite3")
        history = Histories("", state).open()
        create(history)
        assert history.wait(10)
        (tmp_path / what).unlink()
        self.look(history)
        assert "nothing is lost" in history.problem
        create(history)
        assert history.wait(10)
        assert (tmp_path / what).is_file()
        assert not (tmp_path / what).is_symlink()
        assert self.kept(state) == [1, 2]

    def test_another_file_in_its_place_is_not_written_over(self, history, tmp_path):
        other = Histories("", tmp_path / "other").open("mid-oet/subarray/02")
        create(other)
        assert other.wait(10)
        other._writer.close(10)
        other._writer.engine.dispose()
        state = tmp_path / "state"
        os.replace(tmp_path / "other" / "history.sqlite3", state / "history.sqlite3")
        self.look(history)
        assert "was replaced by another file" in history.problem
        (aside,) = state.glob("history.sqlite3.rescued-*")
        assert aside.name in history.problem
        with contextlib.closing(sqlite3.connect(aside)) as rescued:
            assert rescued.execute("SELECT max(sequence) FROM lifecycle").fetchall() == [(40,)]
        create(history)
        assert history.wait(10)
        with contextlib.closing(sqlite3.connect(state / "history.sqlite3")) as used:
            assert used.execute("SELECT device FROM procedure ORDER BY device").fetchall() == [
                (DEVICE,),
                ("mid-oet/subarray/02",),
            ]
            assert used.execute("SELECT max(sequence) FROM lifecycle").fetchall() == [(41,)]

    def test_by_two_servers_is_written_again_with_what_both_have_written(self, tmp_path, monkeypatch):
        folder, second = tmp_path / "state", "mid-oet/subarray/02"
        ours, theirs = Histories("", folder).open(), Histories("", folder).open(second, "another")
        for history in (ours, theirs):
            enter(history, create(history), S.CREATING, S.IDLE)
            history.add_request("Prepare", "c", None, 1, 1.0, "accepted")
            assert history.wait(10)
        (folder / "history.sqlite3").unlink()
        theirs._writer._next_look = float("inf")  # the second one notices nothing yet
        self.look(ours)
        enter(theirs, 1, S.IDLE, S.FAILED, stacktrace="newer")
        create(theirs)
        theirs.add_request("Prepare", "c", None, 2, 2.0, "accepted")
        create(ours)
        assert theirs.wait(10)
        assert ours.wait(10)
        theirs._writer._next_look = 0.0
        self.look(theirs)
        for history in (ours, theirs):
            assert "nothing is lost" in history.problem
            create(history)
            assert history.wait(10)
        assert not list(folder.glob("*rescued*"))
        again, other = Histories("", folder).open(boot="3"), Histories("", folder).open(second, "3")
        assert [event.sequence for event in again.events_after(0, 100)] == [1, 2, 3, 4]
        assert [event.sequence for event in other.events_after(0, 100)] == [1, 2, 3, 4, 5]
        assert [len(each.requests_before(0, 10)) for each in (again, other)] == [1, 2]
        assert other.procedures([1])[1].stacktrace == "newer"
        assert {uid: len(each.calls) for uid, each in other.procedures([1, 2, 3]).items()} == {1: 1, 2: 1, 3: 1}

    def test_on_a_full_disk_is_held_until_there_is_room(self, small_disk: SmallDisk, monkeypatch):
        monkeypatch.setattr(_writer, "_RESCUES_APART", 0.0)
        history = Histories("", small_disk.folder).open()
        create(history)
        assert history.wait(10)
        small_disk.fill()
        (small_disk.folder / "history.sqlite3").unlink()
        wait_until(lambda: history.probe() or "cannot be written again" in history.problem, 10, "it is said")
        create(history)
        small_disk.make_room()
        wait_until(lambda: history.probe() or "nothing is lost" in history.problem, 10, "it is written again")
        # The file is there before what waited is in it, and wait() answers at once while it says that it cannot write.
        wait_until(lambda: history.wait(1), 10, "what waited is written")
        assert self.kept(small_disk.folder) == [1, 2]

    def test_no_copy_is_begun_where_it_has_no_room(self, small_disk: SmallDisk):
        path = small_disk.folder / "history.sqlite3"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE large (content)")
            connection.execute("INSERT INTO large VALUES (zeroblob(?))", (5 * 1024 * 1024,))
            connection.commit()
        file = DatabaseFile(path)
        path.unlink()
        with contextlib.closing(file), pytest.raises(HistoryError, match="No space left"):
            file.rescue(lambda path, lost: pytest.fail("nothing has been copied"))

    def test_is_tried_again_at_growing_distances(self, history, tmp_path, monkeypatch):
        tried: list[float] = []

        def rescue(_: Any) -> str:
            tried.append(writer._rescue_pause)
            raise HistoryError("there is no room")

        writer = history._writer
        monkeypatch.setattr(_writer, "_LOOKS_APART", 0.0)
        monkeypatch.setattr(_writer, "_RESCUES_FAR_APART", 0.05)
        monkeypatch.setattr(writer._file, "rescue", rescue)
        writer._rescue_pause = 0.01
        (tmp_path / "state" / "history.sqlite3").unlink()
        wait_until(lambda: history.probe() or len(tried) >= 5, 10, "it is tried again")
        assert tried[:5] == [0.01, 0.02, 0.04, 0.05, 0.05]


@pytest.mark.long
class TestAFileThatIsDamagedWhileItIsInUse:
    @pytest.fixture
    def state(self, tmp_path: Path) -> Path:
        return tmp_path / "state"

    def history(self, state: Path, count: int) -> SqlHistory:
        history = Histories("", state).open()
        for number in range(count):
            create(history)
            if number % 100 == 0:
                assert history.wait(10)
        assert history.wait(10)
        history._writer._next_look = 0.0
        return history

    def said(self, history: SqlHistory) -> str:
        wait_until(lambda: history.probe() or "while it was in use" in history.problem, 10, "it is said")
        return history.problem

    def goes_on(self, history: SqlHistory, state: Path) -> list[int]:
        """Return the numbers that a restart finds, and what was written last must be among them."""
        create(history)
        wait_until(lambda: history.wait(1), 10, "all is written")
        history.acknowledge()
        assert history.problem == ""
        history._writer.close(10)
        history._writer.engine.dispose()
        again = Histories("", state).open()
        return [event.sequence for event in again.events_after(0, 100_000)]

    def test_its_log_is_removed(self, state):
        history = self.history(state, 20)
        (state / "history.sqlite3-wal").unlink()
        assert "its write-ahead log was removed); it was written again, and nothing is lost" in self.said(history)
        assert self.goes_on(history, state) == list(range(1, 22))

    def test_its_log_is_another_file(self, state):
        history = self.history(state, 20)
        (state / "history.sqlite3-wal").unlink()
        (state / "history.sqlite3-wal").write_bytes(b"theirs")
        assert "nothing is lost" in self.said(history)
        (theirs,) = state.glob("*not-ours-wal")
        assert theirs.read_bytes() == b"theirs"
        assert self.goes_on(history, state) == list(range(1, 22))

    def test_it_is_cut_while_its_log_has_all(self, state):
        history = self.history(state, 20)
        os.truncate(state / "history.sqlite3", 0)
        assert "it was cut short); it was written again, and nothing is lost" in self.said(history)
        assert self.goes_on(history, state) == list(range(1, 22))

    def test_it_is_cut_and_cannot_be_read_any_more(self, state):
        history = self.history(state, 20)
        with contextlib.closing(sqlite3.connect(state / "history.sqlite3")) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.truncate(state / "history.sqlite3", 0)
        assert "it was cut short); it cannot be read any more, was set aside as" in self.said(history)
        assert len(list(state.glob("history.sqlite3.broken-*"))) >= 1
        assert self.goes_on(history, state) == [21]

    @pytest.mark.parametrize("is_written_to", [False, True])
    def test_its_log_is_cut(self, state, is_written_to):
        history = self.history(state, 20)
        with contextlib.closing(sqlite3.connect(state / "history.sqlite3")) as other:
            other.execute("PRAGMA wal_checkpoint")
        create(history)
        assert history.wait(10)
        history._writer._next_look = float("inf")
        os.truncate(state / "history.sqlite3-wal", 0)
        if is_written_to:
            create(history)
            history.wait(1)
        history._writer._next_look = 0.0
        assert "it was cut short)" in self.said(history)
        assert "is lost" in history.problem
        found = self.goes_on(history, state)
        assert found[:20] == list(range(1, 21))
        assert found[-1] == (23 if is_written_to else 22)

    @pytest.mark.parametrize("statement", ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"])
    def test_what_makes_it_smaller_in_order_is_no_damage(self, state, statement):
        history = self.history(state, 20)
        with contextlib.closing(sqlite3.connect(state / "history.sqlite3")) as other:
            other.execute(statement)
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for _ in range(3):
            history._writer._next_look = 0.0
            create(history)
            assert history.wait(10)
            assert history.problem == ""
        assert self.goes_on(history, state) == list(range(1, 25))

    def test_by_two_servers_is_begun_anew_by_both(self, state):
        second = "mid-oet/subarray/02"
        ours, theirs = Histories("", state).open(), Histories("", state).open(second, "another")
        for history in (ours, theirs):
            create(history)
            assert history.wait(10)
        theirs._writer._next_look = float("inf")  # the second one notices nothing yet
        for name in ("history.sqlite3", "history.sqlite3-wal"):
            os.truncate(state / name, 0)
        assert "cannot be read any more" in self.said(ours)
        theirs._writer._next_look = 0.0
        assert "cannot be read any more" in self.said(theirs)
        for history in (ours, theirs):
            create(history)
            wait_until(lambda history=history: history.wait(1), 10, "all is written")
        again, other = Histories("", state).open(boot="3"), Histories("", state).open(second, "3")
        assert [[event.sequence for event in each.events_after(0, 10)] for each in (again, other)] == [[2], [2]]
