"""The schema of a history: who may write to it, and how an earlier one becomes one of this version."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import itertools
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from support.durable import PostgreSQL, SmallDisk
from support.earlier import DUMP, answers, unpack_state
from support.owners import main_process
from support.waiting import wait_until

from ska_oet_device import __version__
from ska_oet_device.procedure.history import (
    HistoryStore,
    LifecycleEvent,
    MemoryHistory,
    NewerHistoryError,
    StoredProcedure,
)
from ska_oet_device.procedure.history import _migrations as migrations
from ska_oet_device.procedure.history import _open as opening
from ska_oet_device.procedure.history import _schema as schema
from ska_oet_device.procedure.history._versions import place_of
from ska_oet_device.procedure.state import ProcedureState as S

DEVICE = "nodb/mid-oet/subarray/09"
OF_0_1_0 = {"device", "procedure", "lookup", "lifecycle", "call", "request", "mark"}
TABLES = sorted(OF_0_1_0 - {"mark", "device"})

# Does what the migration to schema 2 does, and is then killed in the middle of it.
DIES = """
import dataclasses, os, signal, sys, time
from ska_oet_device.procedure.history import _migrations as migrations, _schema as schema
first, second = migrations.MIGRATIONS
def apply(connection):
    connection.exec_driver_sql("CREATE TABLE half_done (number INTEGER)")
    connection.exec_driver_sql("DELETE FROM lifecycle")
    print("half", flush=True)
    time.sleep(600)
migrations.MIGRATIONS = (first, dataclasses.replace(second, apply=apply))
migrations.migrate(schema.open_engine(sys.argv[1]))
"""


class Earlier:
    """A history of 0.1.0, as its servers have left it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engines: list[Engine] = []

    def engine(self) -> Engine:
        self.engines.append(schema.open_engine(self.url))
        return self.engines[-1]

    def tables(self) -> set[str]:
        with self.engine().connect() as connection:
            return set(inspect(connection).get_table_names())

    def count(self, table: str) -> int:
        with self.engine().connect() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())

    def counts(self) -> dict[str, int]:
        return {table: self.count(table) for table in TABLES}

    def execute(self, *statements: str) -> None:
        with self.engine().begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def versions(self) -> list[tuple[Any, ...]]:
        with self.engine().connect() as connection:
            query = "SELECT number, oldest_writer, written_by FROM schema_version ORDER BY number"
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def close(self) -> None:
        while self.engines:
            self.engines.pop().dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Earlier]:
    """A history of 0.1.0 of each kind of database."""
    if request.param == "sqlite":
        made = Earlier(f"sqlite:///{unpack_state(tmp_path) / 'history.sqlite3'}")
    else:
        postgresql: PostgreSQL = request.getfixturevalue("postgresql")
        postgresql.load(gzip.decompress(DUMP.read_bytes()).decode())
        made = Earlier(postgresql.url)
    yield made
    made.close()


@pytest.fixture
def store() -> Iterator[HistoryStore]:
    made = HistoryStore(main_process())
    yield made
    made.close()


def create(history: MemoryHistory) -> int:
    """Have a procedure recorded; returns its id."""
    uid = history.next_id()
    script = {"script_type": "filesystem", "script_uri": "file:///a.py"}
    procedure = StoredProcedure(uid, f"run-{uid}", f"x#{uid}", script, None, S.CREATING)
    event: LifecycleEvent = history.next_event(uid, f"run-{uid}", None, S.CREATING, 1.0, None)
    history.add_procedure(procedure, event, lambda: None)
    return uid


def ids(history: MemoryHistory) -> list[int]:
    return [procedure.id for procedure in history.unfinished()]


def raise_oldest_writer(url: str, lowest: int) -> None:
    """Do to the history what a later version does."""
    earlier = Earlier(url)
    earlier.execute(f"INSERT INTO schema_version VALUES (9, {lowest}, '7.8.9', 0)")
    earlier.close()


def test_the_migrations_are_numbered_in_order_up_to_the_schema_of_this_program():
    assert [each.number for each in migrations.MIGRATIONS] == list(range(1, schema.SCHEMA + 1))
    assert all(each.oldest_writer <= each.number for each in migrations.MIGRATIONS)


class TestMigration:
    def test_of_what_0_1_0_has_left_keeps_every_row_and_tells_its_number(self, earlier):
        before = earlier.counts()
        assert earlier.tables() == OF_0_1_0
        migrations.migrate(earlier.engine())
        assert earlier.versions() == [(1, 1, __version__), (2, 1, __version__)]
        assert earlier.counts() == before
        with earlier.engine().connect() as connection:
            known = inspect(connection)
            indexes = {index["name"] for table in ("procedure", "request") for index in known.get_indexes(table)}
        assert indexes >= {"procedure_age", "request_age", "procedure_state"}
        assert "procedure_changed" not in indexes

    def test_that_never_ends_has_said_what_it_does(self, earlier, monkeypatch, caplog):
        def give_up(connection: Connection) -> None:
            raise KeyboardInterrupt

        first, second = migrations.MIGRATIONS
        monkeypatch.setattr(migrations, "MIGRATIONS", (first, dataclasses.replace(second, apply=give_up)))
        caplog.set_level("INFO")
        with pytest.raises(KeyboardInterrupt):
            migrations.migrate(earlier.engine())
        said = caplog.messages[-1]
        assert said == f"the history {place_of(make_url(earlier.url))} is migrated to schema 2, and waited for"

    def test_that_takes_its_time_says_so_again_and_again_until_it_is_done(self, earlier, monkeypatch):
        said, enough = itertools.count(1), threading.Event()

        def under_way() -> None:
            if next(said) == 3:
                enough.set()

        def take_time(connection: Connection) -> None:
            assert enough.wait(20)

        first, second = migrations.MIGRATIONS
        monkeypatch.setattr(migrations, "MIGRATIONS", (first, dataclasses.replace(second, apply=take_time)))
        monkeypatch.setattr(migrations, "_TOLD_EVERY", 0.01)
        migrations.migrate(earlier.engine(), under_way)
        assert next(said) > 3
        assert [thread.name for thread in threading.enumerate() if thread.name == "migration"] == []

    def test_is_done_once(self, earlier):
        migrations.migrate(earlier.engine())
        earlier.execute("DELETE FROM lookup WHERE id = 1")
        number = earlier.count("lookup")
        migrations.migrate(earlier.engine())
        assert earlier.count("lookup") == number  # the first one would have made it again

    def test_by_several_servers_at_once_is_done_by_one(self, earlier):
        engines = [earlier.engine() for _ in range(6)]
        together, errors = threading.Barrier(len(engines)), []

        def start(engine: Engine) -> None:
            together.wait()
            try:
                migrations.migrate(engine)
            except SQLAlchemyError as error:
                errors.append(error)

        threads = [threading.Thread(target=start, args=(engine,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (errors, [row[0] for row in earlier.versions()]) == ([], [1, 2])

    def test_that_is_killed_in_the_middle_leaves_what_was(self, earlier):
        before = earlier.counts()
        assert before["lifecycle"]
        process = subprocess.Popen([sys.executable, "-c", DIES, earlier.url], stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "half\n"
            process.send_signal(signal.SIGKILL)
        wait_until(lambda: earlier.counts() == before, 20)
        assert [row[0] for row in earlier.versions()] == [1]
        assert "half_done" not in earlier.tables()
        migrations.migrate(earlier.engine())
        assert [row[0] for row in earlier.versions()] == [1, 2]

    def test_on_a_full_disk_changes_nothing_and_is_done_when_there_is_room(
        self, store, small_disk: SmallDisk, tmp_path
    ):
        state = unpack_state(tmp_path)
        with contextlib.closing(sqlite3.connect(state / "history.sqlite3")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(state / "history.sqlite3", small_disk.folder)
        earlier = Earlier(f"sqlite:///{small_disk.folder}/history.sqlite3")
        before = earlier.counts()
        earlier.close()
        small_disk.fill()
        history, _ = store.open(DEVICE, "", small_disk.folder)
        uid = create(history)
        wait_until(lambda: "disk" in history.problem, 20, "it is told")
        assert (small_disk.folder / "history.sqlite3").read_bytes() == (state / "history.sqlite3").read_bytes()
        small_disk.make_room()
        wait_until(lambda: not history.problem, 20, "it is written")
        assert history.wait(20)
        assert ids(history) == [uid]
        assert [row[0] for row in earlier.versions()] == [1, 2]
        assert {table: number - before[table] for table, number in earlier.counts().items() if number} == {
            **dict.fromkeys(TABLES, 0),
            **dict.fromkeys(("procedure", "lookup", "lifecycle"), 1),
        }
        earlier.close()

    def test_is_waited_for_by_a_server_that_starts_meanwhile(self, earlier, store, monkeypatch):
        monkeypatch.setattr(migrations, "_LOCK_PATIENCE", "100ms")
        monkeypatch.setattr(opening, "_UNKNOWN_NUMBERS", 0.2)
        others = earlier.engine().connect()
        others.begin()
        migrations._exclude_others(others)
        history, _ = store.open(DEVICE, earlier.url, Path("/nowhere"))
        uid = create(history)
        assert history.problem
        others.rollback()
        others.close()
        wait_until(lambda: not history.problem, 30, "it is written")
        assert history.wait(20)
        assert ids(history) == [uid]


class TestLaterVersion:
    @pytest.fixture
    def later(self, earlier):
        migrations.migrate(earlier.engine())
        return earlier

    def test_that_lets_this_one_write_is_written_to_and_keeps_its_schema(self, later, store):
        raise_oldest_writer(later.url, schema.SCHEMA)
        history, problem = store.open(DEVICE, later.url, Path("/nowhere"))
        uid = create(history)
        assert history.wait(20)
        assert (problem, history.problem, ids(history)) == ("", "", [uid])
        assert later.versions()[2:] == [(9, schema.SCHEMA, "7.8.9")]

    def test_that_does_not_is_refused_and_nothing_is_written(self, later, store):
        raise_oldest_writer(later.url, schema.SCHEMA + 1)
        path = make_url(later.url).database or ""
        is_file = later.url.startswith("sqlite")
        later.close()
        before = Path(path).read_bytes() if is_file else later.counts()
        url = later.url.replace("postgres@", "postgres:sesame@")
        with pytest.raises(NewerHistoryError) as refused:
            store.open(DEVICE, url, Path("/nowhere"))
        store.close()
        said = str(refused.value)
        assert f"schema 9 of ska-oet-device 7.8.9, to which ska-oet-device {__version__} (schema 2) must not" in said
        assert "start 7.8.9 or later, or give this one the copy that was made before the upgrade" in said
        assert (path in said, "sesame" in said) == (True, False)
        assert (Path(path).read_bytes() if is_file else later.counts()) == before
        if is_file:
            assert [each.name for each in Path(path).parent.glob("history*")] == ["history.sqlite3"]

    def test_that_does_not_is_a_problem_where_scripts_live(self, later, store):
        raise_oldest_writer(later.url, schema.SCHEMA + 1)
        before = later.counts()
        history, _ = store.open(DEVICE, later.url, Path("/nowhere"), may_refuse=False)
        create(history)
        assert "must not write" in history.problem
        assert later.counts() == before

    @pytest.mark.parametrize("change", ["", "ALTER TABLE lifecycle RENAME TO elsewhere"])
    def test_that_comes_under_a_running_server_is_an_alarm_and_loses_nothing(self, later, store, change):
        history, _ = store.open(DEVICE, later.url, Path("/nowhere"))
        first = create(history)
        assert history.wait(20)
        raise_oldest_writer(later.url, schema.SCHEMA + 1)
        if change:
            later.execute(change)
        second = create(history)
        wait_until(lambda: "must not write" in history.problem, 20, "it is told")
        assert history.problem.endswith("; 1 change waits.")
        third = create(history)
        if change:
            later.execute("ALTER TABLE elsewhere RENAME TO lifecycle")
        assert later.count(f"procedure WHERE device = '{DEVICE}'") == 1
        later.execute("DELETE FROM schema_version WHERE number = 9")
        wait_until(lambda: not history.problem, 20, "it is written again")
        assert history.wait(20)
        assert ids(history) == [first, second, third]

    def test_whose_tables_refuse_what_this_one_writes_makes_it_lose_nothing(self, later, store):
        history, _ = store.open(DEVICE, later.url, Path("/nowhere"))
        first = create(history)
        assert history.wait(20)
        later.execute(f"CREATE UNIQUE INDEX one_for_a_device ON procedure (state) WHERE device = '{DEVICE}'")
        raise_oldest_writer(later.url, schema.SCHEMA + 1)
        second = create(history)
        wait_until(lambda: "must not write" in history.problem, 20, "it is told")
        assert "lost" not in history.problem
        later.execute("DROP INDEX one_for_a_device", "DELETE FROM schema_version WHERE number = 9")
        wait_until(lambda: not history.problem, 20, "it is written again")
        assert ids(history) == [first, second]

    @pytest.mark.parametrize("row", ["9, 'abc', '7.8.9', 0", "9, x'00', '7.8.9', 0"])
    def test_that_says_what_is_no_number_is_refused_and_under_a_running_server_loses_nothing(
        self, store, tmp_path, row
    ):
        url = f"sqlite:///{tmp_path}/history.sqlite3"
        history, _ = store.open(DEVICE, url, tmp_path)
        first = create(history)
        assert history.wait(20)
        later = Earlier(url)
        later.execute(f"INSERT INTO schema_version VALUES ({row})")
        second = create(history)
        wait_until(lambda: "holds (number 9, oldest_writer" in history.problem, 20, "it is told")
        assert "lost" not in history.problem
        with pytest.raises(NewerHistoryError, match="must not write to the history"):
            migrations.migrate(later.engine())
        later.execute("DELETE FROM schema_version WHERE number = 9")
        wait_until(lambda: not history.problem, 20, "it is written again")
        assert ids(history) == [first, second]
        later.close()

    def test_is_named_in_one_line_whatever_it_calls_itself(self, later):
        later.execute("INSERT INTO schema_version VALUES (9, 9, '7.8.9\n1|forged', 0)")
        with pytest.raises(NewerHistoryError) as refused:
            migrations.migrate(later.engine())
        assert "\n" not in str(refused.value)


def test_a_copy_of_0_1_0_that_takes_the_place_of_a_database_in_use_is_migrated(earlier, store):
    migrations.migrate(earlier.engine())
    history, _ = store.open(DEVICE, earlier.url, Path("/nowhere"))
    first = create(history)
    assert history.wait(20)
    earlier.execute("DROP TABLE schema_version")
    second = create(history)
    wait_until(lambda: not history.problem and ids(history) == [first, second], 20)
    assert [row[0] for row in earlier.versions()] == [1, 2]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://oet:sesame@host:5433/name?password=sesame", "postgresql://host:5433/name"),
        ("postgresql+psycopg://oet@host/name", "postgresql://host/name"),
        ("sqlite:////a/b.sqlite3", "/a/b.sqlite3"),
    ],
)
def test_the_place_of_a_history_is_told_without_a_password(url, place):
    assert place_of(make_url(url)) == place


def test_what_0_1_0_has_answered_is_of_the_devices_that_are_in_its_history(tmp_path):
    with contextlib.closing(sqlite3.connect(unpack_state(tmp_path) / "history.sqlite3")) as connection:
        found = dict(connection.execute("SELECT device, count(*) FROM procedure GROUP BY device"))
    told = {told.get("key", f"nodb/{device}"): len(told["summaries"]) for device, told in answers("sqlite").items()}
    assert {device: found[device] for device in told} == told
