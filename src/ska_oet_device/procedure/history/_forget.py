"""Deleting from the history what is old, by its own account and by that of its neighbours."""

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


def forget_before(device: str, time: float, batch: Batch) -> None:
    """Delete what ended before `time` (Unix seconds), and the requests of that age.  In a transaction of the writer.

    Nothing goes while all of it is that old: the clock is in doubt then, or nothing has happened for so long.
    What has a time before 2026 was written while the clock was wrong: it is as old as what came after it.
    """
    connection = batch.connection
    batch.flush()  # what has just ended may be of long ago, too
    if not _is_anything_young(connection, device, time):
        _log.debug("nothing of %s is younger than HistoryDays: nothing is deleted", device)
        return
    procedure, request = schema.procedure, schema.request
    old: Select[Any] = select(procedure.c.id).where(
        procedure.c.device == device,
        or_(procedure.c.state.in_([int(state) for state in FINAL]), schema.left_unknown()),
        _is_old(procedure, device, procedure.c.changed, procedure.c.id, time),
    )
    for table in (schema.lifecycle, schema.call):
        connection.execute(
            delete(table).where(table.c.device == device, table.c.process_uid.in_(old.scalar_subquery()))
        )
    connection.execute(
        delete(request).where(
            request.c.device == device, _is_old(request, device, request.c.time, request.c.number, time)
        )
    )
    lookup = schema.lookup
    connection.execute(delete(lookup).where(lookup.c.device == device, lookup.c.id.in_(old.scalar_subquery())))
    connection.execute(delete(procedure).where(procedure.c.device == device, procedure.c.id.in_(old.scalar_subquery())))


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
