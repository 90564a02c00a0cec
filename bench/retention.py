"""What a long history costs: 100,000 procedures against ten, and a million in SQLite and in PostgreSQL."""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tango
from sqlalchemy import Engine, text

from ska_oet_device.procedure.history import HistoryStore, SqlHistory
from ska_oet_device.procedure.history import _migrations as migrations
from ska_oet_device.procedure.history import _schema as schema

from .client import Client
from .figures import Figure, Report, of_samples
from .many_procedures import APART, fill
from .stack import Running, Stack, wait_until

HISTORY, MILLION = "A long history", "A million procedures"
CHANGE = "Run → COMPLETE of an empty script, {} procedures in the history"
LONG = 100_000
RETAINED = 1_000_000

_SETTLED = 120.0  # seconds


def measure_history(report: Report, stack: Stack, *, quick: bool) -> None:
    """Compare a server that has 100,000 procedures in its history with one that has ten."""
    rounds = 30 if quick else 200
    folder = stack.folder / "history"
    with stack.server(folder=folder) as running:
        name = tango.DeviceProxy(running.url).name()
        _run_some(running, 10)
        _changes(report, running, rounds, 10)
    engine = schema.open_engine(f"sqlite:///{folder / 'state' / 'history.sqlite3'}")
    fill(engine, _key_of(engine, name), LONG)
    engine.dispose()
    began = time.perf_counter()
    with stack.server_again(name, folder) as running:
        report.add(Figure(HISTORY, f"start of the server, {LONG:,} procedures", "s", time.perf_counter() - began))
        _changes(report, running, rounds, LONG)
        proxy = tango.DeviceProxy(running.url)
        old = LONG // 2
        reads: dict[str, Callable[[], object]] = {
            "Summarise of 10 old procedures": lambda: proxy.command_inout("Summarise", list(range(old, old + 10))),
            "LifecycleEvents, 1,000 old ones": lambda: proxy.command_inout("LifecycleEvents", old),
            "LifecycleEvents, the newest 10": lambda: proxy.command_inout(
                "LifecycleEvents", proxy.lifecycleSequence - 10
            ),
        }
        for what, call in reads.items():
            report.add(of_samples(HISTORY, f"{what}, {LONG:,} procedures", _times(call, max(20, rounds // 4))))


def measure(report: Report, stack: Stack) -> None:
    """Measure a million procedures, in SQLite and, where it is installed, in PostgreSQL."""
    rounds = 50
    with contextlib.ExitStack() as started:
        folder = stack.folder / "million"
        _measure_kind(report, stack, "SQLite", f"sqlite:///{folder}/history.sqlite3", folder, rounds)
        for file in folder.glob("history.sqlite3*"):
            file.unlink()
        try:
            url = started.enter_context(_postgresql())
        except pytest.skip.Exception as why:
            report.add(Figure(MILLION, "PostgreSQL", "", None, note=str(why)))
            return
        _measure_kind(report, stack, "PostgreSQL", url, stack.folder / "million-postgresql", rounds)


@contextlib.contextmanager
def _postgresql() -> Iterator[str]:
    from support.durable import PostgreSQL  # needs psycopg

    server = PostgreSQL()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@dataclass(frozen=True)
class _Long:
    """A history of a million procedures, of one device."""

    report: Report
    kind: str
    engine: Engine
    key: str

    def add(self, name: str, unit: str, value: float, note: str = "") -> None:
        self.report.add(Figure(MILLION, f"{self.kind}: {name}", unit, value, note=note))

    def scalar(self, query: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(text(query), {"key": self.key} if ":key" in query else {}).scalar()


def _measure_kind(report: Report, stack: Stack, kind: str, url: str, folder: Path, rounds: int) -> None:
    folder.mkdir(parents=True)
    with stack.server(folder=folder, HistoryUrl=url) as running:
        name = tango.DeviceProxy(running.url).name()
        _run_some(running, 3)
        engine = schema.open_engine(url)
        wait_until(lambda: _key_of(engine, name), 30, "the device is in the history")
    long = _Long(report, kind, engine, _key_of(engine, name))
    try:
        _make(long)
        _migrate(long)
        _serve(long, stack, name, folder, rounds)
        _forget(long, url)
    finally:
        engine.dispose()


def _make(long: _Long) -> None:
    began = time.perf_counter()
    fill(long.engine, long.key, RETAINED)
    note = f"made in {time.perf_counter() - began:.0f} s"
    sqlite = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    size = long.scalar(sqlite if long.kind == "SQLite" else "SELECT pg_database_size(current_database())")
    long.add("on disk", "GB", size / 1e9, note)
    if long.kind == "PostgreSQL":
        with long.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("ANALYZE"))  # as autovacuum does within a minute


def _migrate(long: _Long) -> None:
    """Have the history of 0.1.0 become one of this version."""
    with long.engine.begin() as connection:
        for statement in ("DROP TABLE schema_version", "DROP INDEX procedure_age", "DROP INDEX request_age"):
            connection.execute(text(statement))
        connection.execute(text("CREATE INDEX procedure_changed ON procedure (changed)"))
    began = time.perf_counter()
    migrations.migrate(long.engine)
    long.add("migration from 0.1.0", "s", time.perf_counter() - began)


def _serve(long: _Long, stack: Stack, name: str, folder: Path, rounds: int) -> None:
    with contextlib.ExitStack() as started:
        began = time.perf_counter()
        running = started.enter_context(stack.server_again(name, folder))
        long.add("start of the server", "s", time.perf_counter() - began, "until its device answers")
        began = time.perf_counter()
        empty = started.enter_context(stack.server())
        long.add("start of a server with an empty history", "s", time.perf_counter() - began)
        _reads(long, tango.DeviceProxy(running.url), rounds)
        used = running.server.device_server().memory_full_info().uss / 1e6
        beside = empty.server.device_server().memory_full_info().uss / 1e6
        long.add("USS of the device server, more than one with an empty history", "MB", used - beside)
        clients = Client(running.url), Client(empty.url)
        pairs: list[tuple[float, float]] = []
        for _ in range(rounds):
            pairs.append((_run_one(running, clients[0]), _run_one(empty, clients[1])))
        for client in clients:
            client.close()
        samples, others = [first for first, _ in pairs], [second for _, second in pairs]
        long.report.add(of_samples(MILLION, f"{long.kind}: Run → COMPLETE of an empty script", samples))
        long.report.add(of_samples(MILLION, f"{long.kind}: the same in turn, empty history in SQLite", others))


def _reads(long: _Long, proxy: tango.DeviceProxy, rounds: int) -> None:
    now, half = time.time(), RETAINED // 2
    run_id = long.scalar(f"SELECT run_id FROM lookup WHERE device = :key AND id = {half}")
    questions: dict[str, dict[str, Any]] = {
        "History, the first page": {},
        "History, before, half-way": {"before": half},
        "History, since and until, of an hour half-way": {
            "since": now - half * APART,
            "until": now - half * APART + 3600,
        },
        "History, state FAILED": {"state": "FAILED"},
        "History, state RUNNING": {"state": "RUNNING"},
        "History, run_id half-way": {"run_id": run_id},
        "History, script": {"script": "block_7.py", "before": half},
        "History, text that nobody has used": {"text": "no such text"},
    }
    for what, asked in questions.items():
        refusals: list[str] = []
        samples = _times(functools.partial(_ask, proxy, asked, refusals), rounds)
        note = refusals[0].partition(" [")[0][-60:] if refusals else ""
        long.report.add(of_samples(MILLION, f"{long.kind}: {what}", samples, note=note))
    reads: dict[str, Callable[[], object]] = {
        "Summarise of a procedure half-way": lambda: proxy.command_inout("Summarise", [half]),
        "LifecycleEvents, 1,000 half-way": lambda: proxy.command_inout("LifecycleEvents", half * 10),
        "Requests, 100 half-way": lambda: proxy.command_inout("Requests", json.dumps({"before": RETAINED})),
    }
    for what, call in reads.items():
        long.report.add(of_samples(MILLION, f"{long.kind}: {what}", _times(call, rounds)))


def _ask(proxy: tango.DeviceProxy, asked: dict[str, Any], refusals: list[str]) -> None:
    try:
        proxy.command_inout("History", json.dumps(asked))
    except tango.DevFailed as failure:  # OET_TooLarge: not found in the part that was looked through
        refusals.append(failure.args[0].desc)


def _forget(long: _Long, url: str) -> None:
    """Forget what six hours bring, then half of all, while something is written all the time."""
    from support.owners import main_process

    store = HistoryStore(main_process())
    try:
        history, _ = store.open(long.key, url, Path("/nonexistent"))
        assert isinstance(history, SqlHistory)
        oldest = long.scalar("SELECT min(changed) FROM procedure WHERE device = :key AND changed > 1767225600")
        for what, share in (("of six hours", 6 * 3600 / APART / RETAINED), ("half of all", 0.5)):
            before = oldest + share * RETAINED * APART
            query = f"SELECT count(*) FROM procedure WHERE device = :key AND state >= 8 AND changed < {before}"
            count = long.scalar(query)
            began = time.perf_counter()
            with _writing(history) as waits:
                history.forget_before(before)
                while long.scalar(query):
                    time.sleep(0.2)
            note = f"{count:,} procedures; a write meanwhile took {statistics.median(waits) * 1000:.0f} ms, "
            note += f"{max(waits) * 1000:.0f} ms at the most"
            long.add(f"forgetting {what}", "s", time.perf_counter() - began, note)
        history.close()
        history.wait(_SETTLED)  # its file is removed next
    finally:
        store.close()


@contextlib.contextmanager
def _writing(history: SqlHistory) -> Iterator[list[float]]:
    """Write a hundred times a second, and note how long each takes until it is committed."""
    waits, done = [0.0], threading.Event()

    def write() -> None:
        while not done.wait(0.01):
            began = time.perf_counter()
            history.add_request("Prepare", "bench", None, 0, time.time(), "accepted")
            history.wait(_SETTLED)
            waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()


def _key_of(engine: Engine, name: str) -> str:
    """Return what the history calls a device: its name behind the Tango database's."""
    with engine.connect() as connection:
        query = text("SELECT name FROM device WHERE name LIKE '%/' || :name")
        return str(connection.execute(query, {"name": name.lower()}).scalar() or "")


def _run_some(running: Running, count: int) -> None:
    client = Client(running.url)
    for _ in range(count):
        client.wait(client.run("empty.py"), "COMPLETE")
    client.close()


def _changes(report: Report, running: Running, rounds: int, count: int) -> None:
    client = Client(running.url)
    samples = [_run_one(running, client) for _ in range(rounds)]
    client.close()
    report.add(of_samples(HISTORY, CHANGE.format(f"{count:,}"), samples))


def _run_one(running: Running, client: Client) -> float:
    """Return the seconds from Run to COMPLETE of an empty script."""
    running.wait_for_spares(2)
    time.sleep(0.02)
    began = time.perf_counter()
    return client.wait(client.run("empty.py"), "COMPLETE") - began


def _times(call: Callable[[], object], rounds: int) -> list[float]:
    samples = []
    for _ in range(rounds):
        before = time.perf_counter()
        call()
        samples.append(time.perf_counter() - before)
    return samples
