"""Reading procedures with all that belongs to them: their states, calls and requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, case, func, null, select

from ...errors import TooLargeError
from . import _schema as schema
from ._calls import is_mark
from ._records import LARGEST_NUMBER, MOST_ENTRIES, StoredProcedure
from ._rows import REQUEST_COLUMNS, CallRow, procedure_of

_LOADED_TOGETHER = 500  # procedures
_READ_TOGETHER = 200  # arguments that are long
_SHORT = 1024  # bytes; arguments that are read at once with their call
_LARGEST_PART = 10_000  # rows of one table that are taken before it is asked whose they are

_RowsOf = dict[int, list[Row[Any]]]


class ProcedureLoader:
    """Reads procedures of one device in a few queries for many of them; of each the first and the newest entries."""

    def __init__(
        self,
        device: str,
        *,
        longest: int = LARGEST_NUMBER,
        room: int = LARGEST_NUMBER,
        most_rows: int = LARGEST_NUMBER,
    ) -> None:
        """Prepare to read.

        :param longest: bytes of arguments of a call; of longer ones their size is told
        :param room: bytes of arguments of a procedure; the newest are read
        :param most_rows: how many rows are read for several procedures, which may have thousands each
        """
        self._device = device
        self._longest = longest
        self._room = room
        self._rows_left = most_rows

    def load(self, connection: Connection, query: Select[Any]) -> list[StoredProcedure]:
        """Return the procedures that `query` selects.

        :raises TooLargeError: several procedures have more rows than may be read
        """
        rows = connection.execute(query).all()
        parts = [rows[first : first + _LOADED_TOGETHER] for first in range(0, len(rows), _LOADED_TOGETHER)]
        return [procedure for part in parts for procedure in self._load(connection, part, is_alone=len(rows) == 1)]

    def _load(self, connection: Connection, rows: Sequence[Row[Any]], *, is_alone: bool) -> list[StoredProcedure]:
        ids = [row.id for row in rows]
        call, request = schema.call, schema.request
        size = func.length(call.c.fn_args)
        is_long = size > min(self._longest, _SHORT)
        of_call = (
            *(call.c.key, call.c.process_uid, call.c.fn, call.c.time, size.label("size")),
            case((is_long, null()), else_=call.c.fn_args).label("fn_args"),
        )
        events = self._rows_of(connection, schema.lifecycle, "sequence", ids, (schema.lifecycle,))
        calls = self._rows_of(connection, call, "key", ids, of_call)
        requests = self._rows_of(
            connection, request, "number", ids, REQUEST_COLUMNS, request.c.answer.startswith("accepted")
        )
        if not is_alone:
            self._count(events, calls, requests)
        told = self._calls_of(connection, calls)
        return [procedure_of(row, events[row.id], told[row.id], requests[row.id]) for row in rows]

    def _calls_of(self, connection: Connection, rows: _RowsOf) -> dict[int, list[CallRow]]:
        """Return the calls, with the arguments of those that are to be read; what is long is read last, and alone."""
        chosen = {row.key for of in rows.values() for row in self._with_arguments(of)}
        long = [row.key for of in rows.values() for row in of if row.key in chosen and row.fn_args is None]
        texts: dict[int, str] = {}
        call = schema.call
        for first in range(0, len(long), _READ_TOGETHER):
            keys = long[first : first + _READ_TOGETHER]
            query = select(call.c.key, call.c.fn_args).where(call.c.device == self._device, call.c.key.in_(keys))
            texts.update((row.key, row.fn_args) for row in connection.execute(query))
        return {
            uid: [
                CallRow(row.fn, row.time, row.size, row.fn_args or texts.get(row.key) if row.key in chosen else None)
                for row in of
            ]
            for uid, of in rows.items()
        }

    def _with_arguments(self, calls: Sequence[Row[Any]]) -> Iterator[Row[Any]]:
        """Yield the newest calls whose arguments have room together; what is only a size and a hash takes none."""
        left = self._room
        for call in reversed(calls):
            if is_mark(call.fn_args):
                yield call
            elif call.size <= min(self._longest, left):
                left -= call.size
                yield call

    def _count(self, *found: _RowsOf) -> None:
        self._rows_left -= sum(len(rows) for of_table in found for rows in of_table.values())
        if self._rows_left < 0:
            raise TooLargeError("these procedures have too many states, calls and requests: ask for fewer at a time")

    def _rows_of(
        self,
        connection: Connection,
        table: Table,
        order: str,
        ids: Sequence[int],
        columns: Sequence[Any],
        *conditions: ColumnElement[bool],
    ) -> _RowsOf:
        """Return the rows of each procedure; where there are too many, its first and its newest."""
        # Asked for the order of its primary key, SQLite would read the whole table for a few rows.
        query = select(*columns).where(table.c.device == self._device, table.c.process_uid.in_(ids), *conditions)
        rows = connection.execute(query.limit(max(_LARGEST_PART, 2 * len(ids)))).all()
        if len(rows) >= max(_LARGEST_PART, 2 * len(ids)) or (len(ids) == 1 and len(rows) > MOST_ENTRIES):
            if len(ids) > 1:
                half = len(ids) // 2
                return {
                    **self._rows_of(connection, table, order, ids[:half], columns, *conditions),
                    **self._rows_of(connection, table, order, ids[half:], columns, *conditions),
                }
            by_order = table.c[order] + 0  # not by the key; see above
            first = connection.execute(query.order_by(by_order).limit(1)).all()
            rows = [*first, *connection.execute(query.order_by(by_order.desc()).limit(MOST_ENTRIES - 1)).all()]
        found: _RowsOf = {uid: [] for uid in ids}
        for row in sorted(rows, key=attrgetter(order)):
            found[row.process_uid].append(row)
        return {uid: [*of[:1], *of[1:][1 - MOST_ENTRIES :]] for uid, of in found.items()}
