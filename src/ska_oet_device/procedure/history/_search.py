"""Finding procedures in the database, the newest first, without keeping the device from others.

A text that nobody has used is found nowhere, and to know that all has to be read.  So parts are looked through, from
the newest on, each as large as the last one was quick, until there is enough or the time is over.
"""

from __future__ import annotations

import time as clock
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select

from . import _schema as schema
from ._filter import BETWEEN_ARGUMENTS, Found, ProcedureFilter, in_json
from ._records import LARGEST_NUMBER, readable

BUDGET = 0.1  # seconds for one search: the device answers nobody else meanwhile
_FIRST_PART, _LARGEST_PART = 1000, 64_000  # procedures; of fewer, a question costs more than the looking does
_FOR_A_PART = BUDGET / 2
_lookup, _procedure = schema.lookup, schema.procedure
_call, _lifecycle, _request = schema.call, schema.lifecycle, schema.request


class Search:
    """One search among the procedures of one device.

    :ivar highest: ids that are lower have not been looked at
    """

    def __init__(self, connection: Connection, device: str, wanted: ProcedureFilter, before: int) -> None:
        """Find out where to look.

        :param before: only procedures with a lower id
        """
        self._connection = connection
        self._device = device
        self._wanted = wanted
        # SQLite's LIKE takes upper and lower case for the same by itself, in half of the time.
        self._folds_case = connection.dialect.name == "sqlite"
        self._lowest, highest = self._bounds()
        self.highest = min(before, highest + 1)

    def find(self, limit: int, skip: Collection[int] = ()) -> Found:
        """Return the newest procedures that fit.

        :param limit: no more than so many
        :param skip: ids that are not to be told
        """
        deadline = clock.monotonic() + BUDGET
        size, found = _FIRST_PART, list[int]()
        is_slow = bool(self._wanted.script or self._wanted.user or self._wanted.text)
        while self._lowest < self.highest:
            began = clock.monotonic()
            if began > deadline:
                return Found(tuple(found), self.highest)
            first = max(self._lowest, self._first_of_part(size) if is_slow else 0)
            found.extend(pid for pid in self._look_at(first, limit - len(found) + len(skip)) if pid not in skip)
            if len(found) >= limit:
                return Found(tuple(found[:limit]), found[limit - 1])
            self.highest = first
            quickness = _FOR_A_PART / max(clock.monotonic() - began, 0.001)
            size = max(_FIRST_PART, min(int(size * min(quickness, 4.0)), _LARGEST_PART))
        return Found(tuple(found))

    def _bounds(self) -> tuple[int, int]:
        """Return the lowest and the highest id that can fit; an index knows them, and nothing else need be read."""
        wanted = self._wanted
        if wanted.since is None and wanted.until is None and not wanted.run_id:
            return 0, LARGEST_NUMBER - 1
        number = _lookup.c.id + 0  # the number alone would have PostgreSQL look through all, in the order of the key
        ids = select(func.min(number), func.max(number)).where(_lookup.c.device == self._device)
        lowest, highest = self._connection.execute(ids.where(*self._indexed())).one()
        return (lowest, highest) if lowest is not None else (0, -1)

    def _first_of_part(self, size: int) -> int:
        """Return the id with which a part of so many procedures begins; 0: it is the last part."""
        ids = select(_lookup.c.id).where(_lookup.c.device == self._device, _lookup.c.id < self.highest)
        return self._connection.scalar(ids.order_by(_lookup.c.id.desc()).limit(1).offset(size - 1)) or 0

    def _look_at(self, first: int, most: int) -> list[int]:
        table, query = _lookup, select(_lookup.c.id)
        if self._wanted.state is not None:  # the index on it has the few that live among all others, in their order
            table = _procedure
            both = and_(table.c.device == _lookup.c.device, table.c.id == _lookup.c.id)
            is_in_it = table.c.state == int(self._wanted.state)
            query = select(table.c.id).join_from(table, _lookup, both).where(is_in_it)
        conditions = (*self._ours(table, "id", first), *self._indexed(), *self._conditions(first))
        return list(self._connection.scalars(query.where(*conditions).order_by(table.c.id.desc()).limit(most)))

    # -- conditions

    def _indexed(self) -> Iterator[ColumnElement[bool]]:
        wanted = self._wanted
        if wanted.since is not None:
            yield _lookup.c.created >= wanted.since
        if wanted.until is not None:
            yield _lookup.c.created < wanted.until
        if wanted.run_id:
            yield _lookup.c.run_id == readable(wanted.run_id)

    def _conditions(self, first: int) -> Iterator[ColumnElement[bool]]:
        wanted = self._wanted
        if wanted.script:
            yield self._holds(_lookup.c.script_uri, wanted.script)
        if wanted.user:
            yield self._asked_by(first, wanted.user)
        if wanted.text:
            yield self._has_text(first, wanted.text)

    def _ours(self, table: Table, number: str, first: int) -> tuple[ColumnElement[bool], ...]:
        column = table.c[number]
        return table.c.device == self._device, column >= first, column < self.highest

    def _holds(self, column: ColumnElement[Any], part: str) -> ColumnElement[bool]:
        part = readable(part)  # as what it is compared with was kept
        if self._folds_case:
            return column.contains(part, autoescape=True)
        return column.icontains(part, autoescape=True)

    def _with_row(self, table: Table, number: str, first: int, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        """Return the condition for a procedure of the part that has such a row in another table."""
        return _lookup.c.id.in_(select(table.c[number]).where(*self._ours(table, number, first), *conditions))

    def _asked_by(self, first: int, user: str) -> ColumnElement[bool]:
        of_user = or_(self._holds(_request.c.user, user), self._holds(_request.c.client, user))
        return self._with_row(_request, "process_uid", first, _request.c.answer.startswith("accepted"), of_user)

    def _has_text(self, first: int, text: str) -> ColumnElement[bool]:
        script = _procedure.c.script
        of_git = and_(script.startswith('{"script_type": "git"'), self._holds(script, in_json(text)))
        of_procedure = or_(self._holds(_procedure.c.stacktrace, text), of_git)
        arguments = func.replace(func.substr(_call.c.fn_args, len('{"args": ') + 1), BETWEEN_ARGUMENTS, "")
        of_call = or_(self._holds(_call.c.fn, text), self._holds(arguments, in_json(text)))
        of_state = and_(_lifecycle.c.reason.is_not(None), self._holds(_lifecycle.c.reason, text))
        return or_(
            self._holds(_lookup.c.script_uri, text),
            self._holds(_lookup.c.stop_reason, text),
            self._with_row(_procedure, "id", first, of_procedure),
            self._with_row(_call, "process_uid", first, of_call),
            self._with_row(_lifecycle, "process_uid", first, of_state),
            self._asked_by(first, text),
        )
