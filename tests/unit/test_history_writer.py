"""The thread that writes the history: order, batches, failures, doubt, and databases that hang."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, bindparam, event, insert, select, update
from sqlalchemy.exc import OperationalError
from support.waiting import wait_until

from ska_oet_device.procedure.history import _schema as schema
from ska_oet_device.procedure.history import _writer as module
from ska_oet_device.procedure.history._statements import Statements
from ska_oet_device.procedure.history._writer import Batch, HistoryWriter, Operation

thing = Table("thing", MetaData(), Column("number", Integer, primary_key=True))
_INSERT_THING = insert(thing)


class Breakable:
    """An engine whose transactions can be made to fail, or to succeed without anybody learning of it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.url = engine.url
        self.broken = False
        self.silent = 0
        self.transactions = 0

    def connect(self) -> Connection:
        self._check()
        return self._engine.connect()

    def dispose(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        self._check()
        with self._engine.begin() as connection:
            yield connection
        self.transactions += 1
        if self.silent:
            self.silent -= 1
            raise OperationalError("COMMIT", {}, Exception("the connection was lost"))

    def _check(self) -> None:
        if self.broken:
            raise OperationalError("BEGIN", {}, Exception("the disk is full"))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Breakable]:
    engine = schema.open_engine(f"sqlite:///{tmp_path}/things.sqlite3")
    schema.metadata.create_all(engine)
    thing.metadata.create_all(engine)
    yield Breakable(engine)
    engine.dispose()


@pytest.fixture
def writer(engine: Breakable, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[HistoryWriter]:
    monkeypatch.setattr(module, "_RETRY", 0.01)
    writer = HistoryWriter(engine)  # type: ignore[arg-type]
    yield writer
    gate.open()
    writer.close(20)


def put(number: int) -> Operation:
    return lambda batch: batch.insert(_INSERT_THING, {"number": number})


def numbers(engine: Breakable) -> list[int]:
    with engine._engine.connect() as connection:
        return list(connection.scalars(select(thing.c.number).order_by(thing.c.number)))


class Gate:
    """An operation that takes as long as the test likes: a database that hangs."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, batch: Batch) -> None:
        self.reached.set()
        assert self._opened.wait(20)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


class TestBatch:
    def test_of_what_changes_several_times_the_last_value_is_written(self, engine):
        update_thing = update(thing).where(thing.c.number == bindparam("of_number"))
        statements: list[str] = []
        with engine.begin() as connection:
            connection.execute(_INSERT_THING, {"number": 1})
            event.listen(connection, "before_cursor_execute", lambda *call: statements.append(call[2]))
            batch = Batch(connection, Statements())
            for number in (7, 8, 9):
                batch.update(update_thing, {"of_number": 1}, {"number": number})
                batch.insert(_INSERT_THING, {"number": 10 * number})
            batch.flush()
        assert numbers(engine) == [9, 70, 80, 90]
        assert len(statements) == 2

    def test_a_row_that_is_missing_is_told(self, engine):
        told: list[dict[str, Any]] = []
        with engine.begin() as connection:
            batch = Batch(connection, Statements())
            statement = update(thing).where(thing.c.number == bindparam("of_number"))
            batch.update(statement, {"of_number": 1}, {"number": 2}, lambda _, values: told.append(values))
            batch.flush()
        assert told == [{"of_number": 1, "number": 2}]


class TestOrder:
    def test_what_follows_is_called_in_the_order_of_submission(self, writer):
        called: list[int] = []
        for number in range(2000):
            writer.submit(put(number), lambda number=number: called.append(number))
        assert writer.wait(20)
        wait_until(lambda: len(called) == 2000, 20)
        assert called == list(range(2000))

    def test_what_follows_finds_the_change_committed(self, writer, engine):
        seen: list[list[int]] = []
        writer.submit(put(7), lambda: seen.append(numbers(engine)))
        wait_until(lambda: seen)
        assert seen == [[7]]

    def test_kept_is_called_after_then(self, writer):
        called: list[str] = []
        writer.submit(put(1), lambda: called.append("then"), lambda: called.append("kept"))
        wait_until(lambda: len(called) == 2)
        assert called == ["then", "kept"]

    def test_many_changes_share_a_transaction(self, writer, engine, gate):
        writer.submit(gate)
        gate.reached.wait(10)
        for number in range(400):
            writer.submit(put(number))
        gate.open()
        assert writer.wait(20)
        assert numbers(engine) == list(range(400))
        assert engine.transactions <= 3

    def test_what_follows_may_fail_without_harm_to_the_others(self, writer, caplog):
        called: list[int] = []
        writer.submit(put(1), lambda: called.append(1 // 0))
        writer.submit(put(2), lambda: called.append(2))
        wait_until(lambda: called)
        assert called == [2]
        assert "what follows a change failed" in caplog.text

    def test_several_threads_may_submit(self, writer, engine):
        def submit(first: int) -> None:
            for number in range(first, first + 200):
                writer.submit(put(number))

        threads = [threading.Thread(target=submit, args=(first,)) for first in range(0, 800, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.wait(20)
        assert numbers(engine) == list(range(800))


class TestDatabaseThatCannotBeWritten:
    def test_clients_are_told_all_the_same(self, writer, engine):
        engine.broken = True
        called: list[int] = []
        for number in range(3):
            writer.submit(put(number), lambda number=number: called.append(number))
        wait_until(lambda: called == [0, 1, 2])
        assert numbers(engine) == []

    def test_main_is_not_told_before_it_is_really_kept(self, writer, engine):
        engine.broken = True
        called: list[str] = []
        writer.submit(put(1), lambda: called.append("then"), lambda: called.append("kept"))
        wait_until(lambda: called)
        wait_until(lambda: writer.problem)
        assert called == ["then"]
        engine.broken = False
        wait_until(lambda: called == ["then", "kept"])

    def test_the_problem_says_why_and_how_much_waits(self, writer, engine):
        engine.broken = True
        writer.submit(put(1))
        problem = wait_until(lambda: writer.problem)
        assert "the disk is full" in problem
        assert "1 change waits" in problem
        writer.submit(put(2))
        wait_until(lambda: "2 changes wait" in writer.problem)
        engine.broken = False
        wait_until(lambda: not writer.problem)
        engine.broken = True
        writer.submit(put(3))
        assert "1 change waits" in wait_until(lambda: writer.problem)

    def test_what_waits_is_counted_as_soon_as_there_is_a_problem(self, writer, engine, monkeypatch):
        """In the instant in which it is told first, the change that failed is in nobody's queue."""
        told: list[str] = []
        failed = writer._failed

        def fail(error: Exception) -> None:
            failed(error)
            told.append(writer.problem)

        monkeypatch.setattr(writer, "_failed", fail)
        engine.broken = True
        writer.submit(put(1))
        assert "1 change waits" in wait_until(lambda: told)[0]

    def test_everything_is_written_in_order_when_it_is_back(self, writer, engine):
        engine.broken = True
        called: list[int] = []
        for number in range(1500):
            writer.submit(put(number), lambda number=number: called.append(number))
        wait_until(lambda: len(called) == 1500)
        engine.broken = False
        wait_until(lambda: not writer.problem)
        assert writer.wait(10)
        assert numbers(engine) == list(range(1500))
        assert writer.lost == 0
        assert called == list(range(1500))

    def test_waiting_is_bounded_and_counts_what_is_lost(self, writer, engine, monkeypatch):
        monkeypatch.setattr(module, "_MOST_WAITING", 10)
        engine.broken = True
        kept: list[int] = []
        for number in range(25):
            writer.submit(put(number), kept=lambda number=number: kept.append(number))
            wait_until(lambda: writer._queue.empty())
        wait_until(lambda: writer.lost == 15)
        assert "15 changes could not be written to the history and are lost: too many wait" in writer.problem
        assert kept == list(range(15))  # nobody waits for them any more
        engine.broken = False
        wait_until(lambda: not writer.is_stuck)
        assert numbers(engine) == list(range(15, 25))
        assert "15 changes" in writer.problem, "a person has to know, though it can be written again"
        writer.acknowledge()
        assert writer.problem == ""

    def test_there_is_no_problem_any_more_when_the_last_that_waited_is_told_to_be_kept(self, writer, engine):
        engine.broken = True
        told: list[str] = []
        writer.submit(put(1), kept=lambda: told.append(writer.problem))
        wait_until(lambda: writer.problem)
        engine.broken = False
        assert wait_until(lambda: told) == [""]

    def test_waiting_for_it_is_refused_at_once(self, writer, engine):
        engine.broken = True
        writer.submit(put(1))
        wait_until(lambda: writer.problem)
        assert not writer.wait(60)


class TestDoubt:
    def test_a_commit_that_succeeded_unheard_is_not_repeated(self, writer, engine):
        engine.silent = 1
        kept: list[int] = []
        for number in range(5):
            writer.submit(put(number), kept=lambda number=number: kept.append(number))
        wait_until(lambda: len(kept) == 5)
        wait_until(lambda: not writer.problem)
        assert numbers(engine) == list(range(5))
        assert writer.lost == 0

    def test_a_doubtful_commit_of_a_single_change_after_a_poisonous_one(self, writer, engine, gate):
        writer.submit(gate)
        gate.reached.wait(10)
        writer.submit(put(1))
        writer.submit(put(1))  # cannot be: they are written one by one
        writer.submit(put(2))
        writer.submit(put(3))
        engine_begin = engine.begin
        count = 0

        def begin() -> Any:
            nonlocal count
            count += 1
            engine.silent = 1 if count == 5 else 0
            return engine_begin()

        engine.begin = begin  # type: ignore[method-assign]
        gate.open()
        wait_until(lambda: numbers(engine) == [1, 2, 3])
        # They are there before the commit has failed, and wait() answers at once from then on until that is resolved.
        wait_until(lambda: writer.wait(10), what="the doubt is resolved")
        assert numbers(engine) == [1, 2, 3]
        assert writer.lost == 1


class TestPoison:
    """An operation that can never be written must neither stop the others nor take them along."""

    @pytest.mark.parametrize(
        "poison",
        [
            pytest.param(put(1), id="a row that is there already"),
            pytest.param(put(2**70), id="a number too large for the database"),
            pytest.param(lambda batch: 1 // 0, id="an error of our own"),
        ],
    )
    def test_is_lost_alone_and_said(self, writer, engine, gate, caplog, poison):
        writer.submit(put(1))
        assert writer.wait(10)
        writer.submit(gate)
        gate.reached.wait(10)
        called: list[int] = []
        for number in (2, 3):
            writer.submit(put(number), lambda number=number: called.append(number))
        writer.submit(poison, lambda: called.append(0), lambda: called.append(-1))
        for number in (4, 5):
            writer.submit(put(number), lambda number=number: called.append(number))
        gate.open()
        wait_until(lambda: numbers(engine) == [1, 2, 3, 4, 5])
        wait_until(lambda: len(called) == 6)
        assert called == [2, 3, 0, 4, 5, -1]
        assert writer.lost == 1
        assert writer.problem.startswith("1 change could not be written to the history and is lost: ")
        assert "is lost" in caplog.text
        assert writer.wait(10), "what follows is written as ever"
        writer.acknowledge()
        assert writer.problem == ""

    def test_is_not_seen_in_a_broken_database(self, writer, engine, caplog):
        """A database that has become unreadable says DatabaseError, and is no fault of the change."""
        path = engine._engine.url.database
        writer.submit(put(1))
        assert writer.wait(10)

        @event.listens_for(engine._engine, "before_cursor_execute")
        def complain(connection, cursor, statement, parameters, context, many):  # type: ignore[no-untyped-def]
            if broken and statement.startswith("INSERT INTO thing"):
                import sqlite3

                raise sqlite3.DatabaseError("database disk image is malformed")

        broken = True
        writer.submit(put(2))
        wait_until(lambda: writer.problem)
        assert "malformed" in writer.problem
        assert writer.lost == 0
        broken = False
        wait_until(lambda: not writer.problem)
        assert numbers(engine) == [1, 2]
        assert Path(path).exists()


class TestHangingDatabase:
    @pytest.fixture
    def hurry(self, monkeypatch):
        """Return what takes the patience away; called when the database hangs, since to submit may take as long."""
        return lambda: monkeypatch.setattr(module, "_PATIENCE", 0.2)

    def test_clients_are_told_by_whoever_looks_after_it(self, writer, gate, hurry):
        called: list[int] = []
        writer.submit(gate, lambda: called.append(1))
        writer.submit(put(2), lambda: called.append(2))
        gate.reached.wait(10)
        assert called == []
        hurry()
        wait_until(lambda: writer.problem, what="it is noticed")
        assert writer.problem == "The history cannot be written (the database does not answer); 2 changes wait."
        writer.look_after()
        assert called == [1, 2]

    def test_later_changes_are_told_at_once(self, writer, gate, hurry):
        called: list[int] = []
        writer.submit(gate)
        gate.reached.wait(10)
        hurry()
        wait_until(lambda: writer.problem)
        writer.submit(put(2), lambda: called.append(2))
        assert called == [2]

    def test_nothing_is_told_twice_when_it_goes_on(self, writer, engine, gate, hurry):
        called: list[int] = []
        kept: list[int] = []
        for number, operation in ((1, gate), (2, put(2)), (3, put(3))):
            writer.submit(
                operation, lambda number=number: called.append(number), lambda number=number: kept.append(number)
            )
        gate.reached.wait(10)
        hurry()
        wait_until(lambda: writer.problem)
        writer.look_after()
        assert called == [1, 2, 3]
        assert kept == []
        gate.open()
        wait_until(lambda: kept == [1, 2, 3])
        assert called == [1, 2, 3]
        assert writer.problem == ""
        assert numbers(engine) == [2, 3]

    def test_it_is_late_no_more_when_a_change_is_told_to_be_kept(self, writer, gate, hurry):
        told: list[str] = []
        writer.submit(gate, kept=lambda: told.append(writer.problem))
        gate.reached.wait(10)
        hurry()
        wait_until(lambda: writer.problem)
        gate.open()
        assert wait_until(lambda: told) == [""]

    def test_clients_are_told_though_a_look_at_the_file_takes_for_ever(self, writer, gate, hurry, monkeypatch):
        """No file system here hangs at will, as one of the network does: the gate stands for it."""
        writer.introduced(lambda: None)
        monkeypatch.setattr(writer._file, "is_lost", lambda: gate(None))
        called: list[int] = []
        writer.submit(put(1), lambda: called.append(1))
        gate.reached.wait(10)
        hurry()
        wait_until(lambda: writer.is_stuck, what="it is noticed")
        writer.look_after()
        assert called == [1]
        writer.submit(put(2), lambda: called.append(2))
        assert called == [1, 2]
        gate.open()
        # A commit may be late in its turn, on a busy machine, and wait() answers at once while one is.
        wait_until(lambda: writer.wait(10), what="all is written")
        assert not writer.problem

    def test_a_healthy_database_is_left_alone(self, writer, gate, hurry):
        called: list[int] = []
        writer.submit(gate, lambda: called.append(1))
        gate.reached.wait(10)
        hurry()
        writer._busy_since = None  # as between two transactions
        writer.look_after()
        assert called == []

    def test_memory_is_bounded(self, writer, gate, monkeypatch):
        monkeypatch.setattr(module, "_MOST_WAITING", 5)
        writer.submit(gate)
        gate.reached.wait(10)
        called: list[int] = []
        for number in range(8):
            writer.submit(put(number), lambda number=number: called.append(number))
        assert writer._queue.qsize() == 5
        assert writer.lost == 3
        gate.open()
        wait_until(lambda: len(called) == 8)
