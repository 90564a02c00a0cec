"""The durable history of one device."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select, update

from ...errors import HistoryError
from ..ownership import Owner
from ..state import FINAL, ProcedureState
from . import _schema as schema
from ._calls import CallTexts
from ._database_file import make_file, path_of
from ._device_row import DeviceRow
from ._filter import Found, ProcedureFilter
from ._forget import Forgetting
from ._loader import ProcedureLoader
from ._memory import MemoryHistory, Then
from ._numbers import Counts, Numbers, counts_of_now
from ._reader import HistoryReader
from ._records import LARGEST_NUMBER, LifecycleEvent, StoredCall, StoredProcedure, StoredRequest
from ._rows import (
    REQUEST_COLUMNS,
    columns_of,
    event_of,
    request_of,
    row_of_call,
    row_of_event,
    row_of_lookup,
    row_of_procedure,
    row_of_request,
    stop_reason_in,
)
from ._search import Search
from ._writer import Batch, HistoryWriter

_LAST_CHANGES = 0.5  # seconds for which a reader waits, so that it finds what has just happened
_IDS = range(1, LARGEST_NUMBER + 1)

_PATIENCE_AT_START = 60.0  # seconds; a HistoryLength of 100,000 is a lot to read
_MOST_AT_ONCE = 10_000  # rows that are read for one answer, besides those of a single procedure

# Made once: a statement that is made anew for each change costs more than its execution.
_INSERT_PROCEDURE, _INSERT_LIFECYCLE = insert(schema.procedure), insert(schema.lifecycle)
_INSERT_CALL, _INSERT_REQUEST = insert(schema.call), insert(schema.request)
_INSERT_LOOKUP = insert(schema.lookup)
_UPDATE_PROCEDURE = update(schema.procedure).where(
    schema.procedure.c.device == bindparam("of_device"), schema.procedure.c.id == bindparam("of_id")
)
_UPDATE_LOOKUP = update(schema.lookup).where(
    schema.lookup.c.device == bindparam("of_device"), schema.lookup.c.id == bindparam("of_id")
)


class SqlHistory(MemoryHistory):
    """The history of one device in a database.

    Newest events are answered from memory, older ones by the database.  Numbers are given in memory and continue,
    after a restart, behind the highest that the database has.  Nothing is asked of the database before `introduce`;
    what is said before waits for that.
    """

    def __init__(
        self,
        device: str,
        writer: HistoryWriter,
        reader: HistoryReader,
        owner: Owner,
        numbers: Numbers | None = None,
        *,
        former_name: str = "",
    ) -> None:
        """Prepare the history of a device.

        :param device: what the device's state is called
        :param writer: who writes to the database
        :param reader: who reads from it
        :param owner: the main process of this server
        :param numbers: where the highest numbers are kept for a day without the database
        :param former_name: what it was called before the Tango database was a part of the name
        """
        super().__init__(device, numbers=numbers)
        self._writer = writer
        self._reader = reader
        self._row = DeviceRow(device, owner, former_name)
        self._texts = CallTexts()
        self._known_numbers: tuple[str, int] = ("", 0)
        self._is_introduced = self._is_late = self._arrived = self._is_closed = False
        writer.serve(device)

    def introduce(self) -> None:
        """Migrate the database and make the device's row if need be, become its owner, and take up the numbers.

        At the start of the server; or in the writer's thread, when a database comes that was not there.

        :raises SQLAlchemyError: the database cannot be read or written
        :raises HistoryError: its file cannot be made
        :raises StateHeldError: another server owns this device's history
        :raises NewerHistoryError: a later version has changed it; nothing was written
        """
        path = path_of(self._writer.engine.url)
        if path is not None:
            make_file(path)
        self._writer.migrate()
        with self._writer.engine.begin() as connection:
            found = self._row.claim(connection, self._given)
        with self._lock:
            late = self._is_late
            counts = found.counts.at_least(self._given) if late else found.counts
            self._last_id, self._sequence, self._last_request = counts.ids, counts.sequence, counts.requests
            self._newest_kept = self._newest_kept if late else counts.sequence
            self._known_numbers = found.boot, found.number
            self.previous = found.previous
            self._is_introduced, self._arrived = True, late

    def has_been_introduced(self) -> None:
        """The start has succeeded: should another database be there one day, this one introduces itself anew."""
        self._is_late = True
        self._writer.introduced(self.introduce)

    def begin_without(self, error: Exception) -> None:
        """Go on though the database is not there; it is introduced when it comes.

        Where no file tells how far the numbers have come, they go on from ones that nobody can have reached.
        """
        counts = Counts(self._last_id, 0, 0).at_least(self._numbers.known or counts_of_now())
        self._last_id, self._sequence, self._last_request = counts.ids, counts.sequence, counts.requests
        self._newest_kept = counts.sequence
        self._is_late = True
        self._writer.introduce_later(self.introduce, error)

    def of_another_database(self, writer: HistoryWriter, reader: HistoryReader) -> SqlHistory:
        """Return the same history for another database, to which nothing has been said yet."""
        row = self._row
        return SqlHistory(self.device, writer, reader, row.owner, self._numbers, former_name=row.former_name)

    @property
    def knows_numbers(self) -> bool:
        """Whether a file tells how far the numbers have come, should the database not be there."""
        return self._numbers.known is not None

    @property
    def _given(self) -> Counts:
        return Counts(self._last_id, self._sequence, self._last_request)

    @property
    def is_there(self) -> bool:
        return self._is_introduced

    def has_arrived(self) -> bool:
        arrived, self._arrived = self._arrived, False
        return arrived

    # -- what is said

    def add_procedure(self, procedure: StoredProcedure, event: LifecycleEvent, then: Then) -> None:
        columns = row_of_procedure(self.device, procedure, event.time)
        lookup = row_of_lookup(self.device, procedure, event.time)
        rows = [self._row_of_call(procedure.id, call) for call in procedure.calls]

        def write(batch: Batch) -> None:
            batch.insert(_INSERT_PROCEDURE, columns)
            batch.insert(_INSERT_LOOKUP, lookup)
            for row in rows:
                batch.insert(_INSERT_CALL, row)
            batch.insert(_INSERT_LIFECYCLE, row_of_event(self.device, event))
            self._count(batch, last_id=procedure.id, last_sequence=event.sequence)

        self._writer.submit(write, partial(self._kept, event, then))

    def adopt(self, procedure: StoredProcedure) -> None:
        columns = row_of_procedure(self.device, procedure, procedure.states[-1][1])
        values = {name: columns[name] for name in ("state", "changed")}

        lookup = row_of_lookup(self.device, procedure, procedure.states[0][1])

        def add(connection: Connection, newest: dict[str, Any]) -> None:
            known = {name: value for name, value in newest.items() if name in schema.procedure.c}
            connection.execute(_INSERT_PROCEDURE, {**columns, **known})
            connection.execute(_INSERT_LOOKUP, lookup)

        def write(batch: Batch) -> None:
            batch.update(_UPDATE_PROCEDURE, self._which(procedure.id), values, add)

        self._writer.submit(write)

    def keep(
        self,
        event: LifecycleEvent,
        values: Mapping[str, Any],
        then: Then,
        number: int = 0,
        kept: Then | None = None,
    ) -> None:
        columns = columns_of({**values, "changed": event.time})
        stop_reason = stop_reason_in(values.get("exit"))

        def write(batch: Batch) -> None:
            batch.insert(_INSERT_LIFECYCLE, row_of_event(self.device, event))
            batch.update(_UPDATE_PROCEDURE, self._which(event.process_uid), columns)
            if stop_reason:
                batch.update(_UPDATE_LOOKUP, self._which(event.process_uid), {"stop_reason": stop_reason})
            self._count(batch, last_sequence=event.sequence, **self._number(number))

        self._writer.submit(write, partial(self._kept, event, then), kept)

    def update(self, process_uid: int, values: Mapping[str, Any], number: int = 0, kept: Then | None = None) -> None:
        columns = columns_of(values)

        def write(batch: Batch) -> None:
            if columns:
                batch.update(_UPDATE_PROCEDURE, self._which(process_uid), columns)
            if number:
                self._count(batch, **self._number(number))

        self._writer.submit(write, kept=kept)

    def add_call(self, process_uid: int, call: StoredCall) -> None:
        row = self._row_of_call(process_uid, call)

        def write(batch: Batch) -> None:
            batch.insert(_INSERT_CALL, row)

        self._writer.submit(write)

    def add_request(
        self, command: str, client: str, user: str | None, process_uid: int, time: float, answer: str
    ) -> StoredRequest:
        request = super().add_request(command, client, user, process_uid, time, answer)
        row = row_of_request(self.device, request)

        def write(batch: Batch) -> None:
            batch.insert(_INSERT_REQUEST, row)
            self._count(batch, last_request=request.number)

        self._writer.submit(write)
        return request

    def forget_before(self, time: float) -> None:
        part = Forgetting(self.device, time)

        def go_on() -> None:
            if part.has_more and not self._is_closed:  # a million takes minutes; the next server goes on
                self.forget_before(time)

        self._writer.submit(part, kept=go_on)

    def probe(self) -> None:
        if not self._writer.is_stuck:
            self._writer.submit(self._row.show_life)

    def acknowledge(self) -> None:
        self._writer.acknowledge()

    def close(self) -> None:
        super().close()
        self._is_closed = True
        if self._is_introduced:
            self._writer.submit(self._row.let_go)

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
        if sequence + 1 >= oldest or not self._is_introduced:
            return super().events_after(sequence, limit)
        table = schema.lifecycle
        query = (
            select(table)
            .where(table.c.device == self.device, table.c.sequence > sequence)
            .order_by(table.c.sequence)
            .limit(limit)
        )
        return self._reader.read(lambda connection: [event_of(row) for row in connection.execute(query)])

    def requests_before(self, number: int, limit: int) -> list[StoredRequest]:
        table = schema.request
        query = select(*REQUEST_COLUMNS).where(table.c.device == self.device)
        query = query.order_by(table.c.number.desc()).limit(limit)
        if number:
            query = query.where(table.c.number < number)
        if not self._is_introduced:
            return super().requests_before(number, limit)
        self.wait(_LAST_CHANGES)
        return self._reader.read(lambda connection: [request_of(row) for row in connection.execute(query)])

    def procedures(self, ids: Iterable[int], longest: int = LARGEST_NUMBER) -> dict[int, StoredProcedure]:
        table = schema.procedure
        possible = [pid for pid in ids if pid in _IDS]
        if not possible:
            return {}
        query = select(table).where(table.c.device == self.device, table.c.id.in_(possible))
        room = longest if len(possible) == 1 else LARGEST_NUMBER
        loader = ProcedureLoader(self.device, longest=longest, room=room, most_rows=_MOST_AT_ONCE)
        return {procedure.id: procedure for procedure in self._procedures(query, loader)}

    def find(self, wanted: ProcedureFilter, before: int, limit: int, skip: Collection[int] = ()) -> Found:
        self._check_introduced()
        self.wait(_LAST_CHANGES)
        return self._reader.read(lambda connection: Search(connection, self.device, wanted, before).find(limit, skip))

    def unfinished(self, room: int = LARGEST_NUMBER) -> list[StoredProcedure]:
        if not self._is_introduced:
            return []
        alive = [int(state) for state in ProcedureState if state not in FINAL]
        table = schema.procedure
        query = select(table).where(table.c.device == self.device, table.c.state.in_(alive), ~schema.left_unknown())
        # Not by the key alone: in its order SQLite would look through all that have ended, too.
        query = query.order_by(table.c.id + 0)
        return self._procedures(query, ProcedureLoader(self.device, room=room), _PATIENCE_AT_START)

    def newest_ended(self, count: int, room: int = LARGEST_NUMBER) -> list[StoredProcedure]:
        if not self._is_introduced:
            return []
        ended = [int(state) for state in FINAL]
        table = schema.procedure
        query = select(table).where(table.c.device == self.device, table.c.state.in_(ended))
        query = query.order_by(table.c.id.desc()).limit(count)
        return self._procedures(query, ProcedureLoader(self.device, room=room), _PATIENCE_AT_START)[::-1]

    def last_number(self, boot: str) -> int:
        known_boot, number = self._known_numbers
        return number if known_boot == boot else 0

    def _procedures(
        self, query: Select[Any], loader: ProcedureLoader, patience: float | None = None
    ) -> list[StoredProcedure]:
        self._check_introduced()
        return self._reader.read(lambda connection: loader.load(connection, query), patience)

    def _check_introduced(self) -> None:
        if not self._is_introduced:
            raise HistoryError("the history cannot be read: its database has not answered since this server started")

    # -- statements

    def _row_of_call(self, process_uid: int, call: StoredCall) -> dict[str, Any]:
        return row_of_call(self.device, process_uid, call, self._texts.text(process_uid, call))

    def _which(self, process_uid: int) -> dict[str, Hashable]:
        return {"of_device": self.device, "of_id": process_uid}

    def _number(self, number: int) -> dict[str, Any]:
        """Return the columns that say which of main's announcements is the newest that is kept."""
        return {"boot": self._row.owner.boot, "last_number": number} if number else {}

    def _count(self, batch: Batch, **counters: Any) -> None:
        """Write how far the counters have come, in the transaction of what they count."""
        self._row.update(batch, counters)
