"""Two servers share a SQLite file that somebody removes: each writes to the lost one until it notices.

The first to notice writes the file again; the second adds what it has written to the lost one since.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection
from pathlib import Path

from ._connect import connect

_WITH_NEWER_EVENTS = (
    "l.device = :device AND l.id IN (SELECT process_uid FROM lost.lifecycle WHERE device = :device AND sequence > "
    "(SELECT coalesce(max(sequence), 0) FROM main.lifecycle WHERE device = :device))"
)
_NEWER = (
    # What has a number is newer than the highest there is; a procedure goes with its newer events.
    f"INSERT OR REPLACE INTO main.procedure SELECT * FROM lost.procedure AS l WHERE {_WITH_NEWER_EVENTS}",
    f"INSERT OR REPLACE INTO main.lookup SELECT * FROM lost.lookup AS l WHERE {_WITH_NEWER_EVENTS}",
    "INSERT INTO main.lifecycle SELECT * FROM lost.lifecycle AS l WHERE l.device = :device AND l.sequence > "
    "(SELECT coalesce(max(sequence), 0) FROM main.lifecycle WHERE device = :device)",
    "INSERT INTO main.request SELECT * FROM lost.request AS l WHERE l.device = :device AND l.number > "
    "(SELECT coalesce(max(number), 0) FROM main.request WHERE device = :device)",
    "INSERT INTO main.call (device, process_uid, fn, fn_args, time) "
    "SELECT device, process_uid, fn, fn_args, time FROM lost.call AS l WHERE l.device = :device AND NOT EXISTS "
    "(SELECT 1 FROM main.call AS m WHERE m.device = l.device AND m.process_uid = l.process_uid "
    "AND m.fn = l.fn AND m.fn_args = l.fn_args AND m.time = l.time)",
    "INSERT OR REPLACE INTO main.device SELECT * FROM lost.device AS l WHERE l.name = :device",
)
_OF_ONE_OWNER = (
    "SELECT count(*) FROM main.device AS m JOIN lost.device AS l ON m.name = l.name "
    "WHERE m.name = :device AND m.owner = l.owner AND m.owner <> ''"
)


def add_newer(path: Path, lost: Path, devices: Collection[str]) -> bool:
    """Add to `path` what `lost` has of `devices` and `path`, a copy of an earlier state of it, has not.

    False, and nothing is added, if it is no such copy: no database of ours, or one in which others own the devices.

    :raises sqlite3.OperationalError: it cannot be written now
    """
    with contextlib.closing(connect(path)) as connection:
        connection.isolation_level = None
        connection.execute("ATTACH ? AS lost", (str(lost),))
        try:
            connection.execute("BEGIN IMMEDIATE")
            if not _is_copy(connection, devices):
                return False
            for device in devices:
                for statement in _NEWER:
                    connection.execute(statement, {"device": device})
            connection.execute("COMMIT")
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # no database at all
            return False
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    return True


def _is_copy(connection: sqlite3.Connection, devices: Collection[str]) -> bool:
    tables = {name for (name,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")}
    if "device" not in tables or not devices:
        return False
    return all(connection.execute(_OF_ONE_OWNER, {"device": device}).fetchone()[0] for device in devices)
