"""Which schema a history has, and whether this program may write to it.

Every migration that a database has been through is a row of `schema_version`.  Servers that are upgraded one after the
other share a database: one of an earlier version writes on as long as no migration has raised `oldest_writer` above
the schema that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Connection, Row, inspect, select

from ... import __version__
from ...config import PRODUCT
from ...errors import OetError
from . import _schema as schema
from ._database_file import path_of

_table = schema.schema_version


class NewerHistoryError(OetError):
    """A later version has changed the history so that this one must not write to it."""


@dataclass(frozen=True)
class Version:
    """The schema that a history has; 0: it is not said, so it is 0.1.0's, an earlier one's, or empty.

    :param number: of the newest migration
    :param oldest_writer: the lowest schema whose servers may write to it
    :param written_by: the version of the program that made it so
    """

    number: int = 0
    oldest_writer: int = 0
    written_by: str = ""


def version_of(connection: Connection) -> Version:
    """Return the schema of a database.  In a transaction of its own, or of a migration.

    :raises sqlalchemy.exc.SQLAlchemyError: it cannot be read
    :raises NewerHistoryError: it holds what no version before this one writes
    """
    if not inspect(connection).has_table(_table.name):
        return Version()
    rows = connection.execute(select(_table).order_by(_table.c.number)).all()
    if not rows:
        return Version()
    for row in rows:
        _check_understood(row, connection.engine.url)
    return Version(rows[-1].number, max(row.oldest_writer for row in rows), _in_a_line(rows[-1].written_by))


def _check_understood(row: Row[Any], url: URL) -> None:
    """Refuse what is no number: SQLite keeps in a column what it is given."""
    if isinstance(row.number, int) and isinstance(row.oldest_writer, int):
        return
    number, oldest = repr(row.number)[:40], repr(row.oldest_writer)[:40]
    raise NewerHistoryError(
        f"{PRODUCT} {__version__} must not write to the history {place_of(url)}: it does not understand what its table "
        f"{_table.name} holds (number {number}, oldest_writer {oldest}); start the version that wrote it, or give this "
        "one a copy that was made before"
    )


def _in_a_line(value: object) -> str:
    """Return a text as a line of the log takes it, whoever has written it."""
    return " ".join(str(value).split())[:64]


def check_writable(version: Version, url: URL) -> None:
    """Refuse a history of a later version that says so.

    :param url: whose password is not told
    :raises NewerHistoryError: this program must not write to it; names both versions, and what to do
    """
    if version.oldest_writer > schema.SCHEMA:
        raise NewerHistoryError(
            f"the history {place_of(url)} has schema {version.number} of {PRODUCT} {version.written_by}, to which "
            f"{PRODUCT} {__version__} (schema {schema.SCHEMA}) must not write: start {version.written_by} or later, or "
            "give this one the copy that was made before the upgrade"
        )


def place_of(url: URL) -> str:
    """Return where a history is, in words that hold no password: a path, or kind, host and name of a database."""
    path = path_of(url)
    if path is not None:
        return str(path)
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{url.host or ''}{port}/{url.database or ''}"
