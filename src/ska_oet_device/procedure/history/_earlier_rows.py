"""What rows of an earlier version lack: the columns by which procedures are looked for."""

from __future__ import annotations

import json

from sqlalchemy import Connection, bindparam, func, not_, or_, select, update

from . import _schema as schema
from ._rows import columns_of

_procedure, _lifecycle = schema.procedure, schema.lifecycle
_BEGIN, _END = '{"script_type": "filesystem", "script_uri": "', '"}'
_AT_ONCE = 1000  # rows
_DERIVED = ("script_uri", "stop_reason")


def complete_rows(connection: Connection) -> None:
    """Fill the columns `created`, `script_uri` and `stop_reason` of procedures that an earlier version has written.

    Where a hundred thousand are concerned it is the database that does it; what has to be read here are the few that
    were stopped with a reason, or whose script's JSON is not of the simplest kind.

    :raises sqlalchemy.exc.SQLAlchemyError: the database refuses
    """
    script, exit_ = _procedure.c.script, _procedure.c.exit
    is_earlier = _procedure.c.created.is_(None)
    is_simple = script.startswith(_BEGIN, autoescape=True) & not_(script.contains("\\", autoescape=True))
    connection.execute(
        update(_procedure)
        .where(is_earlier, is_simple)
        .values(script_uri=func.substr(script, len(_BEGIN) + 1, func.length(script) - len(_BEGIN) - len(_END)))
    )
    has_reason = exit_.contains('"stop_reason"', autoescape=True)
    query = select(_procedure).where(is_earlier, or_(_procedure.c.script_uri.is_(None), has_reason))
    change = update(_procedure).where(_procedure.c.device == bindparam("of"), _procedure.c.id == bindparam("of_id"))
    rows = connection.execute(query.with_only_columns(*_procedure.c["device", "id", "script", "exit"])).all()
    for first in range(0, len(rows), _AT_ONCE):
        values = []
        for row in rows[first : first + _AT_ONCE]:
            found = columns_of({"script": json.loads(row.script), "exit": json.loads(row.exit or "null")})
            values.append({"of": row.device, "of_id": row.id, **{key: found[key] for key in _DERIVED}})
        connection.execute(change, values)
    began = select(func.min(_lifecycle.c.time)).where(
        _lifecycle.c.device == _procedure.c.device,
        _lifecycle.c.process_uid == _procedure.c.id,
        _lifecycle.c.previous.is_(None),
    )
    connection.execute(
        update(_procedure)
        .where(is_earlier)
        .values(created=func.coalesce(began.scalar_subquery(), _procedure.c.changed))
    )
