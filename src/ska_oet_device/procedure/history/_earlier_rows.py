"""What a history of an earlier version lacks: the rows by which its procedures are looked for."""

from __future__ import annotations

import json

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, exists, func, insert, not_, or_, select, update

from . import _schema as schema
from ._rows import stop_reason_in, uri_in

_procedure, _lifecycle, _lookup = schema.procedure, schema.lifecycle, schema.lookup
_BEGIN, _END = '{"script_type": "filesystem", "script_uri": "', '"}'
_AT_ONCE = 5000  # procedures; no statement takes long


def complete_lookup(connection: Connection) -> None:
    """Make the rows of `lookup` for procedures that an earlier version has written.

    Where a hundred thousand are concerned it is the database that does it, some thousands at a time; what has to be
    read here are the few that were stopped with a reason, or whose script's JSON is not of the simplest kind.

    :raises sqlalchemy.exc.SQLAlchemyError: the database refuses
    """
    counts = (select(func.count()).select_from(table).scalar_subquery() for table in (_procedure, _lookup))
    procedures, rows = connection.execute(select(*counts)).one()
    if procedures == rows:
        return
    for device in connection.scalars(select(_procedure.c.device).distinct()).all():
        first = 0
        while (last := _last_of_part(connection, device, first)) is not None:
            _complete_part(connection, _procedure.c.device == device, _procedure.c.id.between(first, last))
            first = last + 1


def _last_of_part(connection: Connection, device: str, first: int) -> int | None:
    ids = select(_procedure.c.id).where(_procedure.c.device == device, _procedure.c.id >= first)
    part = ids.order_by(_procedure.c.id).limit(_AT_ONCE).subquery()
    last: int | None = connection.scalar(select(func.max(part.c.id)))
    return last


def _complete_part(connection: Connection, *which: ColumnElement[bool]) -> None:
    columns = _procedure.c
    is_new = (*which, ~exists().where(_lookup.c.device == columns.device, _lookup.c.id == columns.id))
    is_special = or_(not_(_is_simple()), columns.exit.contains('"stop_reason"', autoescape=True))
    query = select(columns.device, columns.id, columns.script, columns.exit)
    special = connection.execute(query.where(*is_new, is_special)).all()
    made = select(columns.device, columns.id, columns.run_id, _created(), case((_is_simple(), _simple_uri())))
    names = ("device", "id", "run_id", "created", "script_uri")
    connection.execute(insert(_lookup).from_select(names, made.where(*is_new)))
    change = update(_lookup).where(_lookup.c.device == bindparam("of_device"), _lookup.c.id == bindparam("of_id"))
    rows = [
        {
            "of_device": row.device,
            "of_id": row.id,
            "uri": uri_in(json.loads(row.script)),
            "reason": stop_reason_in(json.loads(row.exit or "null")),
        }
        for row in special
    ]
    if rows:
        connection.execute(change.values(script_uri=bindparam("uri"), stop_reason=bindparam("reason")), rows)


def _is_simple() -> ColumnElement[bool]:
    """Return the condition for a script whose JSON holds its URI as it is, and nothing else."""
    script = _procedure.c.script
    return and_(script.startswith(_BEGIN, autoescape=True), not_(script.contains("\\", autoescape=True)))


def _simple_uri() -> ColumnElement[str]:
    script = _procedure.c.script
    return func.substr(script, len(_BEGIN) + 1, func.length(script) - len(_BEGIN) - len(_END))


def _created() -> ColumnElement[float]:
    began = select(func.min(_lifecycle.c.time)).where(
        _lifecycle.c.device == _procedure.c.device,
        _lifecycle.c.process_uid == _procedure.c.id,
        _lifecycle.c.previous.is_(None),
    )
    return func.coalesce(began.scalar_subquery(), _procedure.c.changed)
