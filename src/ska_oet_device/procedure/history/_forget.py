"""Deleting from the history what is old, by its own account and by that of its neighbours; some of it at a time."""

from __future__ import annotations

import logging
import time as clock
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, func, or_, select

from ...retention import FIRST_DATE
from ..state import FINAL
from . import _schema as schema
from ._writer import Batch

_log = logging.getLogger(__name__)


# A transaction: what others write waits for no more than that.  A procedure has some ten rows, and two requests.
_PROCEDURES_AT_ONCE, _REQUESTS_AT_ONCE = 200, 500


class Forgetting:
    """Deletes what of one device ended before a time, and the requests of that age: a part each time it is called.

    Nothing goes while all of it is that old: the clock is in doubt then, or nothing has happened for so long.
    What has a time before 2026 was written while the clock was wrong: it is as old as what came after it.

    :ivar has_more: whether the last part was not the last of all
    """

    def __init__(self, device: str, time: float) -> None:
        """Nothing is deleted yet.

        :param time: Unix seconds
        """
        self._device = device
        self._time = time
        self.has_more = False

    def __call__(self, batch: Batch) -> None:
        """Delete a part.  In a transaction of the writer."""
        connection = batch.connection
        batch.flush()  # what has just ended may be of long ago, too
        self.has_more = False
        if not _is_anything_young(connection, self._device, self._time):
            _log.debug("nothing of %s is younger than HistoryDays: nothing is deleted", self._device)
            return
        procedures = self._delete_procedures(connection)
        requests = self._delete_requests(connection)
        self.has_more = procedures == _PROCEDURES_AT_ONCE or requests == _REQUESTS_AT_ONCE

    def _delete_procedures(self, connection: Connection) -> int:
        procedure = schema.procedure
        old: Select[Any] = select(procedure.c.id).where(
            procedure.c.device == self._device,
            or_(procedure.c.state.in_([int(state) for state in FINAL]), schema.left_unknown()),
            _is_old(procedure, self._device, procedure.c.changed, procedure.c.id, self._time),
        )
        ids = connection.scalars(old.order_by(procedure.c.changed).limit(_PROCEDURES_AT_ONCE)).all()
        for table, uid in (
            (schema.lifecycle, schema.lifecycle.c.process_uid),
            (schema.call, schema.call.c.process_uid),
            (schema.lookup, schema.lookup.c.id),
            (procedure, procedure.c.id),
        ):
            if ids:
                connection.execute(delete(table).where(table.c.device == self._device, uid.in_(ids)))
        return len(ids)

    def _delete_requests(self, connection: Connection) -> int:
        request = schema.request
        is_old = _is_old(request, self._device, request.c.time, request.c.number, self._time)
        old = select(request.c.number).where(request.c.device == self._device, is_old)
        numbers = connection.scalars(old.order_by(request.c.time).limit(_REQUESTS_AT_ONCE)).all()
        if numbers:
            connection.execute(delete(request).where(request.c.device == self._device, request.c.number.in_(numbers)))
        return len(numbers)


def _is_old(table: Table, device: str, when: ColumnElement[float], number: ColumnElement[int], time: float) -> Any:
    others = table.alias()
    others_time, others_number = others.c[when.key or ""], others.c[number.key or ""]
    newest_old = (
        select(func.max(others_number))
        .where(others.c.device == device, others_time >= FIRST_DATE, others_time < time)
        .scalar_subquery()
    )
    return and_(when < time, or_(when >= FIRST_DATE, number < newest_old))


def _is_anything_young(connection: Connection, device: str, time: float) -> bool:
    now = clock.time()
    for table, when in ((schema.procedure, schema.procedure.c.changed), (schema.request, schema.request.c.time)):
        found = select(table.c.device).where(table.c.device == device, when >= time, when <= now).limit(1)
        if connection.execute(found).first() is not None:
            return True
    return False
