"""What bounds one database: what a server asks of the Tango database, a thousand devices there, and one PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango

from .client import Client
from .figures import Figure, Report, of_samples
from .many import CountedDatabase, add_throughput, many_servers, processor_seconds
from .stack import SCRIPTS, Database, Stack

from support.durable import PostgreSQL  # isort: skip  # found by bench.stack
from support.mariadb import MariaDatabase, MariaDbServer, why_not  # isort: skip
from support.tango_server import program  # isort: skip

DATABASE = "Scale: the Tango database"
THOUSAND = "Scale: a Tango database with 1,000 devices"
FILE = "Scale: one SQLite file for the history of many servers"
HISTORY = "Scale: one PostgreSQL for the history of many servers"

EMBEDDED, MARIADB = "PyDatabaseds", "DatabaseDS with MariaDB"
_REGISTERED = 1000
_AT_MOST = 10  # servers at a database
_CALLS = 200


@contextlib.contextmanager
def _databases(folder: Path) -> Iterator[list[tuple[str, Database, list[int]]]]:
    """Yield an empty Tango database of each kind that can be had, with its name and its processes."""
    with contextlib.ExitStack() as exit_:
        embedded = Database(folder)
        exit_.callback(embedded.stop)
        found = [(EMBEDDED, embedded, [embedded.pid])]
        if why_not():
            print(f"{MARIADB} is not measured: {why_not()}")
        else:
            server = MariaDbServer()
            exit_.callback(server.remove)
            (folder / "mariadb").mkdir()
            database = MariaDatabase(folder / "mariadb", server)
            exit_.callback(database.stop)
            found.append((MARIADB, database, [database.pid, server.pid]))
        yield found


def measure_both(report: Report, stack: Stack, servers: int) -> None:
    """Start servers at a database of each kind, and count what they ask of it."""
    folder = stack.folder / "databases"
    folder.mkdir()
    with _databases(folder) as databases:
        for number, (kind, database, pids) in enumerate(databases):
            _counted(report, stack, kind, database, pids, f"counted{number}x")
            count = min(servers, _AT_MOST)
            before = processor_seconds(*pids)
            with many_servers(stack, database, f"at{number}x", count) as started:
                report.add(of_samples(DATABASE, f"start of a server, four at a time, {kind}", started.seconds))
                used = 1000 * (processor_seconds(*pids) - before) / len(started.running)
                report.add(Figure(DATABASE, f"processor of the database for a start, {kind}", "ms", used, count=count))


def _counted(report: Report, stack: Stack, kind: str, database: Database, pids: list[int], name: str) -> None:
    """Have one server ask the database by a port that counts: while it starts, at rest, and while scripts run."""
    counted = CountedDatabase(database.host)
    try:
        with many_servers(stack, database, name, 1, host=counted.host) as started:
            (running,) = started.running
            running.wait_for_spares(2)
            time.sleep(2)
            calls = counted.count()
            report.add(Figure(DATABASE, f"requests for the start of a server with one device, {kind}", "", calls))
            time.sleep(30)
            at_rest = counted.count() - calls
            report.add(Figure(DATABASE, f"requests of a server at rest, {kind}", "1/min", 2 * at_rest, note="in 30 s"))
            before = counted.count()
            client = Client(running.url)
            for _ in range(20):
                client.wait(client.run("empty.py"), "COMPLETE")
            client.close()
            requests = (counted.count() - before) / 20
            report.add(Figure(DATABASE, f"requests of a server for a script, {kind}", "", requests, count=20))
    finally:
        counted.close()


def measure_thousand(report: Report, stack: Stack) -> None:
    """Register 1,000 devices in a database of each kind, and measure what is asked of it, and a start, beside them."""
    folder = stack.folder / "thousand"
    folder.mkdir()
    with _databases(folder) as databases:
        for number, (kind, database, pids) in enumerate(databases):
            _calls(report, kind, database, "empty")
            began, before = time.monotonic(), processor_seconds(*pids)
            _register(database, _REGISTERED)
            report.add(
                Figure(
                    THOUSAND,
                    f"registering 1,000 servers with a device and its properties, {kind}",
                    "s",
                    time.monotonic() - began,
                )
            )
            used = processor_seconds(*pids) - before
            report.add(Figure(THOUSAND, f"processor of the database for that, {kind}", "s", used))
            _calls(report, kind, database, "with 1,000 devices")
            memory = sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / 1e6
            report.add(Figure(THOUSAND, f"PSS of the database, {kind}", "MB", memory))
            with many_servers(stack, database, f"thousand{number}x", 3) as started:
                report.add(of_samples(THOUSAND, f"start of a server, three at a time, {kind}", started.seconds))
                name = f"oet fleet of 1,003 devices, 3 of which run, {kind}"
                measure_fleet(report, THOUSAND, name, database.host)


def _register(database: Database, count: int) -> None:
    for number in range(1, count + 1):
        instance = f"{number:04}"
        name = f"mid-oet/subarray/{instance}"
        database.add_server(instance, {name: {"ScriptRoots": [SCRIPTS], "StopGracePeriod": 5, "SubarrayId": number}})


def _calls(report: Report, kind: str, database: Database, how: str) -> None:
    """Ask what clients and servers ask."""
    known = database.tango
    calls: dict[str, Callable[[], object]] = {
        "get_device_name of all OetDevice": lambda: known.get_device_name("*", "OetDevice"),
        "get_device_exported_for_class": lambda: known.get_device_exported_for_class("OetDevice"),
        "get_device_property": lambda: known.get_device_property("mid-oet/subarray/0500", ["ScriptRoots"]),
        "get_info": known.get_info,
    }
    for name, call in calls.items():
        samples = []
        for _ in range(_CALLS):
            began = time.perf_counter()
            with contextlib.suppress(tango.DevFailed):
                call()
            samples.append(time.perf_counter() - began)
        report.add(of_samples(THOUSAND, f"{name}, {kind}, {how}", samples))


def measure_fleet(report: Report, section: str, name: str, host: str) -> None:
    """Have the fleet of a Tango database shown."""
    command = [program("oet"), "fleet", "--json"]
    environment = {**os.environ, "TANGO_HOST": host}
    began = time.perf_counter()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        report.add(Figure(section, name, "s", None, note="no answer after 120 s"))
        return
    rows = len(done.stdout.splitlines())
    note = f"{rows} lines, exit status {done.returncode}"
    report.add(Figure(section, name, "s", time.perf_counter() - began, note=note))


def measure_shared_file(report: Report, stack: Stack, *, quick: bool) -> None:
    """Have four servers run scripts, with a state folder each, and with one in common, as those of a host may have."""
    shared = stack.folder / "shared"
    shared.mkdir()
    properties: dict[str, dict[str, Any]] = {"a file each": {}, "one file": {"StateDirectory": shared}}
    for number, (name, own) in enumerate(properties.items()):
        with many_servers(stack, stack.database, f"file{number}x", 4, **own) as started:
            add_throughput(report, FILE, f"4 servers, {name}", started.urls, 4, 15 if quick else 50)


def measure_postgresql(report: Report, stack: Stack, servers: int, *, quick: bool) -> None:
    """Have some servers keep their history in one PostgreSQL, and count its connections and its commits."""
    with contextlib.ExitStack() as exit_:
        try:
            postgresql = PostgreSQL()
        except pytest.skip.Exception as reason:
            report.add(Figure(HISTORY, "not measured", "", None, note=str(reason)))
            return
        exit_.callback(postgresql.remove)
        postgresql.start()
        count = min(servers, _AT_MOST)
        each = max(1, (60 if quick else 300) // count)
        with many_servers(stack, stack.database, "kept", count, HistoryUrl=postgresql.url) as started:
            time.sleep(2)
            report.add(
                Figure(HISTORY, "connections of a server at rest", "", _connections(postgresql) / count, count=count)
            )
            assert postgresql.pid is not None
            before, commits = _processor(postgresql), _commits(postgresql)
            began = time.monotonic()
            rate = add_throughput(report, HISTORY, f"over {count} servers", started.urls, 4, each)
            seconds, procedures = time.monotonic() - began, each * count + len(started.urls)
            for url in started.urls:
                proxy = tango.DeviceProxy(url)
                proxy.command_inout("History", "{}")
                proxy.command_inout("Requests", "")
            report.add(
                Figure(
                    HISTORY,
                    "connections of a server that has run scripts and told of them",
                    "",
                    _connections(postgresql) / count,
                )
            )
            more = _commits(postgresql) - commits
            report.add(Figure(HISTORY, "commits for a procedure", "", more / procedures, count=procedures))
            report.add(
                Figure(HISTORY, "commits, while scripts run as fast as they can", "1/s", rate * more / procedures)
            )
            used = 1000 * (_processor(postgresql) - before) / procedures
            report.add(
                Figure(HISTORY, "processor of PostgreSQL for a procedure", "ms", used, note=f"in {seconds:.0f} s")
            )
            (size,) = postgresql.execute("SELECT pg_database_size(current_database())")[0]
            report.add(
                Figure(HISTORY, "size of the database", "MB", float(str(size)) / 1e6, note=f"{procedures} procedures")
            )


def _connections(postgresql: PostgreSQL) -> int:
    rows = postgresql.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    return int(str(rows[0][0])) - 1  # without the one that asks


def _commits(postgresql: PostgreSQL) -> int:
    time.sleep(1.5)  # backends report what they have done once a second
    rows = postgresql.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return int(str(rows[0][0]))


def _processor(postgresql: PostgreSQL) -> float:
    """Return the seconds of all its processes, but for those that have ended (of autovacuum, now and then)."""
    assert postgresql.pid is not None
    main = psutil.Process(postgresql.pid)
    return processor_seconds(main.pid, *(child.pid for child in main.children()))
