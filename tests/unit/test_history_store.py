"""The durable history of a device, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError
from support.durable import PostgreSQL, SmallDisk
from support.owners import elsewhere, main_process
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
    _open,
    _store,
)
from ska_oet_device.procedure.ownership import Owner, StateHeldError, state_key

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

    def test_the_unfinished_and_the_newest_ended_are_found(self, histories):
        history = histories.open()
        for _ in range(6):
            create(history)
        for uid in (1, 2, 4, 5):
            enter(history, uid, S.CREATING, S.STOPPED)
        enter(history, 3, S.CREATING, S.UNKNOWN)
        assert history.wait(10)

        again = histories.open()
        assert [procedure.id for procedure in again.unfinished()] == [6]
        assert [procedure.id for procedure in again.newest_ended(3)] == [3, 4, 5]

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


class TestRetention:
    def test_what_ended_long_ago_goes_with_all_that_belongs_to_it(self, histories):
        history = histories.open()
        other = histories.open("mid-oet/subarray/02")
        old, living, young = (create(history, time) for time in (1.0, 1.0, 1.0))
        for each in (history, other):
            each.add_request("Prepare", "c", None, 1, 1.0, "accepted")
        create(other)
        enter(other, 1, S.CREATING, S.FAILED, 2.0)
        enter(history, old, S.CREATING, S.FAILED, 2.0)
        enter(history, young, S.CREATING, S.FAILED, 200.0)
        history.add_request("Stop", "c", None, living, 200.0, "accepted")
        history.forget_before(100.0)
        assert history.wait(10)
        assert other.wait(10)

        again = histories.open()
        assert set(again.procedures([old, living, young])) == {living, young}
        assert {event.process_uid for event in again.events_after(0, 100)} == {living, young}
        assert [item.command for item in again.requests_before(0, 10)] == ["Stop"]
        assert again.procedures([young])[young].calls
        assert other.procedures([1])[1].requests, "another device's history is left alone"

    def test_numbers_go_on_though_everything_was_forgotten(self, histories):
        history = histories.open()
        uid = create(history)
        enter(history, uid, S.CREATING, S.FAILED)
        history.add_request("Stop", "c", None, uid, 1.0, "accepted")
        history.forget_before(100.0)
        assert history.wait(10)
        again = histories.open()
        assert (again.next_id(), again.last_sequence) == (uid + 1, 2)
        assert again.add_request("Stop", "c", None, uid, 1.0, "accepted").number == 2


@pytest.mark.long
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

    def test_hanging_is_noticed_and_holds_nobody_up(self, history, postgresql):
        postgresql.signal(signal.SIGSTOP)
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

    def test_a_table_that_somebody_has_locked_holds_no_reader_up(self, history, postgresql):
        import psycopg

        with psycopg.connect(postgresql.url) as somebody:
            somebody.execute("LOCK TABLE procedure IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(HistoryError, match="the database has not answered for 1 s"):
                history.procedures([1])
            began = time.monotonic()
            with pytest.raises(HistoryError, match="the database does not answer"):
                history.procedures([1])
            assert time.monotonic() - began < 0.5
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

    def test_of_another_host_that_gives_a_sign_of_life_is_not_robbed(self, histories):
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
        with engine.begin() as connection:  # it had no owners
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


class TestSqliteFile:
    def files(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    def filled(self, folder: Path, count: int = 300) -> SqlHistory:
        history = Histories("", folder).open()
        for _ in range(count):
            enter(history, create(history), S.CREATING, S.FAILED, stacktrace="x" * 500)
        assert history.wait(20)
        return history

    def dispose(self, history: SqlHistory) -> None:
        """Have the last connection closed, so that the write-ahead log is merged into the file."""
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
    if uid % 20 == 0:
        history.wait(10)
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
            writer.send_signal(signal.SIGSTOP)
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
