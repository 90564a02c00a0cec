"""The durable history of one device, and the databases that are open."""

from __future__ import annotations

import json
import logging
import sqlite3
import time as clock
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, insert, select, update
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from ...errors import HistoryError, OetError
from ..domain import TERMINAL, ProcedureState
from . import _schema as schema
from ._memory import MemoryHistory, Then
from ._reader import HistoryReader
from ._records import LifecycleEvent, StoredCall, StoredProcedure, StoredRequest, readable
from ._writer import Batch, HistoryWriter

_log = logging.getLogger(__name__)

_LAST_CHANGES = 0.1  # seconds for which a reader waits, so that it finds what has just happened
_IDS = range(1, 2**63)  # what a database can hold

_JSON_FIELDS = ("script", "provenance", "exit")
_PATIENCE_AT_START = 60.0  # seconds; a HistoryLength of 100,000 is a lot to read
_LOADED_TOGETHER = 500  # procedures
_DATABASE_START = 5.0  # seconds for which a database server may refuse us when this one starts
_READ_AT_START = 100  # procedures
_TEXT_FIELDS = ("stacktrace", "function", "uri")

# Made once: a statement that is made anew for each change costs more than its execution.
_INSERT_PROCEDURE, _INSERT_LIFECYCLE = insert(schema.procedure), insert(schema.lifecycle)
_INSERT_CALL, _INSERT_REQUEST = insert(schema.call), insert(schema.request)
_UPDATE_PROCEDURE = update(schema.procedure).where(
    schema.procedure.c.device == bindparam("of_device"), schema.procedure.c.id == bindparam("of_id")
)
_UPDATE_DEVICE = update(schema.device).where(schema.device.c.name == bindparam("of_device"))
_PROBE = _UPDATE_DEVICE.values(last_id=schema.device.c.last_id)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    columns = dict(values)
    for name in _JSON_FIELDS:
        if columns.get(name) is not None:
            columns[name] = json.dumps(columns[name], default=repr)
    for name in _TEXT_FIELDS:
        if name in columns:
            columns[name] = readable(columns[name])
    if "state" in columns:
        columns["state"] = int(columns["state"])
    return columns


class SqlHistory(MemoryHistory):
    """The history of one device in a database.

    Newest events are answered from memory, older ones by the database.  Numbers are given in
    memory and continue, after a restart, behind the highest that the database has.
    """

    def __init__(
        self, device: str, writer: HistoryWriter, reader: HistoryReader, boot: str, *, lowest_id: int = 0
    ) -> None:
        """Open the history of a device, making its tables if need be.

        :param device: name of the device
        :param writer: who writes to the database
        :param reader: who reads from it
        :param boot: what tells this main process from any other
        :param lowest_id: ids up to this one have been given, whatever the database knows
        :raises SQLAlchemyError: the database cannot be read
        """
        super().__init__(device)
        self._writer = writer
        self._reader = reader
        self._boot = boot
        self._known_numbers: tuple[str, int] = ("", 0)
        schema.metadata.create_all(writer.engine)
        with writer.engine.begin() as connection:
            row = connection.execute(select(schema.device).where(schema.device.c.name == device)).first()
            if row is None:
                connection.execute(insert(schema.device).values(**self._new_device()))
            else:
                self._last_id, self._sequence, self._last_request = row.last_id, row.last_sequence, row.last_request
                self._newest_kept = row.last_sequence
                self._known_numbers = (row.boot, row.last_number)
        self._last_id = max(self._last_id, lowest_id)

    def _new_device(self) -> dict[str, Any]:
        return {
            "name": self.device,
            "last_id": 0,
            "last_sequence": 0,
            "last_request": 0,
            "boot": self._boot,
            "last_number": 0,
        }

    # -- what is said

    def add_procedure(self, procedure: StoredProcedure, event: LifecycleEvent, then: Then) -> None:
        values = {
            "device": self.device,
            "id": procedure.id,
            "run_id": procedure.run_id,
            "uri": procedure.uri,
            "script": procedure.script,
            "provenance": procedure.provenance,
            "state": procedure.state,
            "function": procedure.function,
            "abort_of": procedure.abort_of,
            "changed": event.time,
        }
        columns = _columns(values)
        rows = [self._call_row(procedure.id, call) for call in procedure.calls]

        def write(batch: Batch) -> None:
            batch.insert(_INSERT_PROCEDURE, columns)
            for row in rows:
                batch.insert(_INSERT_CALL, row)
            batch.insert(_INSERT_LIFECYCLE, self._event_row(event))
            self._count(batch, last_id=procedure.id, last_sequence=event.sequence)

        self._writer.submit(write, partial(self._kept, event, then))

    def keep(
        self,
        event: LifecycleEvent,
        values: Mapping[str, Any],
        then: Then,
        number: int = 0,
        kept: Then | None = None,
    ) -> None:
        columns = _columns({**values, "changed": event.time})

        def write(batch: Batch) -> None:
            batch.insert(_INSERT_LIFECYCLE, self._event_row(event))
            batch.update(_UPDATE_PROCEDURE, self._which(event.process_uid), columns)
            self._count(batch, last_sequence=event.sequence, **self._number(number))

        self._writer.submit(write, partial(self._kept, event, then), kept)

    def update(self, process_uid: int, values: Mapping[str, Any], number: int = 0, kept: Then | None = None) -> None:
        columns = _columns(values)

        def write(batch: Batch) -> None:
            if columns:
                batch.update(_UPDATE_PROCEDURE, self._which(process_uid), columns)
            if number:
                self._count(batch, **self._number(number))

        self._writer.submit(write, kept=kept)

    def add_call(self, process_uid: int, call: StoredCall) -> None:
        row = self._call_row(process_uid, call)

        def write(batch: Batch) -> None:
            batch.insert(_INSERT_CALL, row)

        self._writer.submit(write)

    def add_request(
        self, command: str, client: str, user: str | None, process_uid: int, time: float, answer: str
    ) -> StoredRequest:
        request = super().add_request(command, client, user, process_uid, time, answer)
        row = {
            "device": self.device,
            "number": request.number,
            "time": time,
            "command": command,
            "client": readable(client),
            "user": readable(user),
            "process_uid": process_uid,
            "answer": readable(answer),
        }

        def write(batch: Batch) -> None:
            batch.insert(_INSERT_REQUEST, row)
            self._count(batch, last_request=request.number)

        self._writer.submit(write)
        return request

    def forget_before(self, time: float) -> None:
        """Delete what ended before `time` (Unix seconds), and the requests of that age."""
        old = (
            select(schema.procedure.c.id)
            .where(schema.procedure.c.device == self.device, schema.procedure.c.changed < time)
            .where(schema.procedure.c.state.in_([int(state) for state in TERMINAL]))
        )

        def write(batch: Batch) -> None:
            connection = batch.connection
            batch.flush()  # what has just ended may be of long ago, too
            for table in (schema.lifecycle, schema.call):
                connection.execute(
                    delete(table).where(table.c.device == self.device, table.c.process_uid.in_(old.scalar_subquery()))
                )
            connection.execute(
                delete(schema.request).where(schema.request.c.device == self.device, schema.request.c.time < time)
            )
            connection.execute(
                delete(schema.procedure).where(
                    schema.procedure.c.device == self.device, schema.procedure.c.id.in_(old.scalar_subquery())
                )
            )

        self._writer.submit(write)

    def probe(self) -> None:
        def write(batch: Batch) -> None:
            batch.connection.execute(_PROBE, {"of_device": self.device})

        if not self.problem:
            self._writer.submit(write)

    def wait(self, seconds: float) -> bool:
        return self._writer.wait(seconds)

    # -- what is asked

    @property
    def problem(self) -> str:
        return self._writer.problem

    def events_after(self, sequence: int, limit: int) -> list[LifecycleEvent]:
        if sequence >= self._sequence:
            return []
        self.wait(_LAST_CHANGES)
        with self._lock:
            oldest = self._events[0].sequence if self._events else self._sequence + 1
        if sequence + 1 >= oldest:
            return super().events_after(sequence, limit)
        table = schema.lifecycle
        query = (
            select(table)
            .where(table.c.device == self.device, table.c.sequence > sequence)
            .order_by(table.c.sequence)
            .limit(limit)
        )
        return self._reader.read(lambda connection: [_event(row) for row in connection.execute(query)])

    def requests_before(self, number: int, limit: int) -> list[StoredRequest]:
        table = schema.request
        query = select(table).where(table.c.device == self.device).order_by(table.c.number.desc()).limit(limit)
        if number:
            query = query.where(table.c.number < number)
        self.wait(_LAST_CHANGES)
        return self._reader.read(lambda connection: [_request(row) for row in connection.execute(query)])

    def procedures(self, ids: Iterable[int]) -> dict[int, StoredProcedure]:
        table = schema.procedure
        possible = [pid for pid in ids if pid in _IDS]
        if not possible:
            return {}
        query = select(table).where(table.c.device == self.device, table.c.id.in_(possible))
        return {procedure.id: procedure for procedure in self._procedures(query)}

    def unfinished(self) -> list[StoredProcedure]:
        alive = [int(state) for state in ProcedureState if state not in TERMINAL]
        table = schema.procedure
        query = select(table).where(table.c.device == self.device, table.c.state.in_(alive)).order_by(table.c.id)
        return self._procedures(query, _PATIENCE_AT_START)

    def newest_ended(self, count: int) -> list[StoredProcedure]:
        ended = [int(state) for state in TERMINAL]
        table = schema.procedure
        query = select(table).where(table.c.device == self.device, table.c.state.in_(ended))
        query = query.order_by(table.c.id.desc()).limit(count)
        return self._procedures(query, _PATIENCE_AT_START)[::-1]

    def last_number(self, boot: str) -> int:
        known_boot, number = self._known_numbers
        return number if known_boot == boot else 0

    def _procedures(self, query: Select[Any], patience: float | None = None) -> list[StoredProcedure]:
        def load(connection: Connection) -> list[StoredProcedure]:
            rows = connection.execute(query).all()
            parts = [rows[first : first + _LOADED_TOGETHER] for first in range(0, len(rows), _LOADED_TOGETHER)]
            return [procedure for part in parts for procedure in self._load(connection, part)]

        return self._reader.read(load, patience)

    # -- rows

    def _which(self, process_uid: int) -> dict[str, Hashable]:
        return {"of_device": self.device, "of_id": process_uid}

    def _number(self, number: int) -> dict[str, Any]:
        """Return the columns that say which of main's announcements is the newest that is kept."""
        return {"boot": self._boot, "last_number": number} if number else {}

    def _count(self, batch: Batch, **counters: Any) -> None:
        """Write how far the counters have come, in the transaction of what they count."""
        batch.update(_UPDATE_DEVICE, {"of_device": self.device}, counters, self._insert_device)

    def _insert_device(self, connection: Connection, values: dict[str, Any]) -> None:
        columns = {name: value for name, value in values.items() if name in schema.device.c}
        connection.execute(insert(schema.device), {**self._new_device(), **columns})

    def _event_row(self, event: LifecycleEvent) -> dict[str, Any]:
        return {
            "device": self.device,
            "sequence": event.sequence,
            "process_uid": event.process_uid,
            "run_id": event.run_id,
            "previous": int(event.previous) if event.previous is not None else None,
            "state": int(event.state),
            "time": event.time,
            "reason": event.reason,
        }

    def _call_row(self, process_uid: int, call: StoredCall) -> dict[str, Any]:
        return {
            "device": self.device,
            "process_uid": process_uid,
            "fn": readable(call.fn),
            "fn_args": json.dumps(call.fn_args, default=repr),
            "time": call.time,
        }

    def _load(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[StoredProcedure]:
        """Return procedures with all that belongs to them, in a few queries for all of them together."""
        ids = [row.id for row in rows]

        def rows_of(table: Any, order: str) -> dict[int, list[Row[Any]]]:
            # Asked for the order of its primary key, SQLite would read the whole table for a few rows.
            query = select(table).where(table.c.device == self.device, table.c.process_uid.in_(ids))
            found: dict[int, list[Row[Any]]] = {uid: [] for uid in ids}
            for row in sorted(connection.execute(query), key=attrgetter(order)):
                found[row.process_uid].append(row)
            return found

        events = rows_of(schema.lifecycle, "sequence")
        calls = rows_of(schema.call, "key")
        requests = rows_of(schema.request, "number")
        return [_procedure(row, events[row.id], calls[row.id], requests[row.id]) for row in rows]


def _procedure(
    row: Row[Any], events: Iterable[Row[Any]], calls: Iterable[Row[Any]], requests: Iterable[Row[Any]]
) -> StoredProcedure:
    return StoredProcedure(
        id=row.id,
        run_id=row.run_id,
        uri=row.uri,
        script=json.loads(row.script),
        provenance=json.loads(row.provenance) if row.provenance else None,
        state=ProcedureState(row.state),
        stacktrace=row.stacktrace,
        exit=json.loads(row.exit) if row.exit else None,
        os_pid=row.os_pid,
        function=row.function,
        abort_of=row.abort_of,
        states=tuple((ProcedureState(event.state), event.time) for event in events),
        calls=tuple(StoredCall(item.fn, json.loads(item.fn_args), item.time) for item in calls),
        requests=tuple(_request(item) for item in requests),
    )


def _event(row: Row[Any]) -> LifecycleEvent:
    previous = ProcedureState(row.previous) if row.previous is not None else None
    return LifecycleEvent(
        row.sequence, row.process_uid, row.run_id, previous, ProcedureState(row.state), row.time, row.reason
    )


def _request(row: Row[Any]) -> StoredRequest:
    return StoredRequest(row.number, row.time, row.command, row.client, row.user, row.process_uid, row.answer)


class HistoryStore:
    """The databases that are open in this process, by URL."""

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._opened: dict[str, tuple[HistoryWriter, HistoryReader]] = {}
        self._problems: dict[str, str] = {}

    def open(self, device: str, url: str, folder: Path, *, lowest_id: int = 0) -> tuple[MemoryHistory, str]:
        """Return the history of a device, and a sentence on what happened to an earlier one, if anything.

        A history that cannot be opened at all is replaced by one in memory, whose `problem` says so.

        :param url: SQLAlchemy URL; empty for SQLite in `folder`
        :param folder: the state folder
        :param lowest_id: ids up to this one have been given
        """
        try:
            if not url:
                folder.mkdir(parents=True, exist_ok=True)
                return self._open_sqlite(device, folder / "history.sqlite3", lowest_id)
            return self._open_patiently(device, url, lowest_id), ""
        except (SQLAlchemyError, OetError, OSError, ImportError, ValueError) as error:
            cause = getattr(error, "orig", None) or error
            text = " ".join(str(cause).split())[:300]
            problem = f"The history cannot be opened ({text}); until a restart it is kept in memory only."
            _log.error("%s", problem)
            history = MemoryHistory(device, problem)
            history.reserve_ids(lowest_id)
            return history, ""

    def look_after(self) -> None:
        """Give every writer a chance to notice that its database does not answer."""
        for writer, _ in list(self._opened.values()):
            writer.look_after()

    def _open(self, device: str, url: str, lowest_id: int) -> SqlHistory:
        if url not in self._opened:
            engine = schema.open_engine(url)
            self._opened[url] = HistoryWriter(engine), HistoryReader(engine)
        return SqlHistory(device, *self._opened[url], self._boot, lowest_id=lowest_id)

    def _open_patiently(self, device: str, url: str, lowest_id: int) -> SqlHistory:
        """Open a database that may be starting, as after a failure of power that hit both."""
        deadline = clock.monotonic() + (0 if url in self._problems else _DATABASE_START)
        while True:
            try:
                return self._open(device, url, lowest_id)
            except OperationalError as error:
                if clock.monotonic() > deadline:
                    self._problems[url] = str(error)
                    raise
                clock.sleep(0.2)

    def _open_sqlite(self, device: str, path: Path, lowest_id: int) -> tuple[MemoryHistory, str]:
        url = f"sqlite:///{path}"
        try:
            history = self._open(device, url, lowest_id)
            history.unfinished()  # what a restart needs must be readable, and not only the first page
            history.newest_ended(_READ_AT_START)
            return history, ""
        except (DatabaseError, HistoryError) as error:
            if not _is_broken(error):
                raise
            writer, _ = self._opened.pop(url)
            writer.engine.dispose()
            aside = _set_aside(path)
            cause = " ".join(str(error if isinstance(error, HistoryError) else error.orig).split())[:300]
            problem = f"The history {path} could not be read ({cause}); it was set aside as {aside.name}."
            _log.error("%s", problem)
            return self._open(device, url, lowest_id), problem


def _is_broken(error: Exception) -> bool:
    """Say whether it is the file's content that is wrong; a file that is locked or read-only is left alone."""
    cause = error.__cause__ if isinstance(error, HistoryError) else error
    # SQLite's codes CORRUPT and NOTADB are the ones for which Python raises this very class.
    return isinstance(cause, DatabaseError) and type(cause.orig) is sqlite3.DatabaseError


def _set_aside(path: Path) -> Path:
    """Rename a database and the files that belong to it; nothing is deleted."""
    mark = clock.strftime("%Y%m%dT%H%M%SZ", clock.gmtime())
    aside = path.with_name(f"{path.name}.broken-{mark}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
