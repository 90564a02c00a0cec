"""How the history of an earlier version becomes one of this: an ordered list of migrations, each done once.

Who adds one appends it to `MIGRATIONS`.  It finds the tables as any of its predecessors has left them, or as `_schema`
declares them if the database is new: so it makes what is missing, and does not mind what is there.  What leaves servers
of the schema before able to write does not touch `oldest_writer`.
"""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, insert, inspect, text
from sqlalchemy.schema import CreateColumn

from ... import __version__
from ...duties import Duty, repeated
from . import _schema as schema
from ._earlier_rows import complete_lookup
from ._versions import Version, check_writable, place_of, version_of

_log = logging.getLogger(__name__)

_LOCK = 0x6F65742068697374  # "oet hist": of whoever migrates a PostgreSQL database
_TOLD_EVERY = 60.0  # seconds
_LOCK_PATIENCE = "10s"  # whoever waits longer for another server's migration begins in memory


@dataclass(frozen=True)
class Migration:
    """One step.

    :param number: of the schema that it leads to
    :param oldest_writer: the lowest schema whose servers may write to a history that has been through it
    :param apply: does it, in one transaction
    """

    number: int
    oldest_writer: int
    apply: Callable[[Connection], None]


def _make_tables(connection: Connection) -> None:
    """Make the tables that are missing, the columns that those of versions before 0.1.0 lack, and what they hold."""
    schema.metadata.create_all(connection)
    known = inspect(connection)
    for table in schema.metadata.sorted_tables:
        present = {column["name"] for column in known.get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                made = CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {made}"))
    complete_lookup(connection)


def _index_ages(connection: Connection) -> None:
    """Have what is old found by an index: of a million procedures, too, and of one device among many."""
    for index in (*schema.procedure.indexes, *schema.request.indexes):
        index.create(connection, checkfirst=True)
    connection.execute(text("DROP INDEX IF EXISTS procedure_changed"))  # which knew nothing of devices


MIGRATIONS = (Migration(1, 1, _make_tables), Migration(2, 1, _index_ages))


def migrate(engine: Engine, under_way: Callable[[], None] = lambda: None) -> None:
    """Make a database one that this program writes to; asks a single thing of one that is.

    Several servers may do it at once: one of them does, the others wait for it.  What fails, or is killed, leaves the
    history as it was before that migration.  In the main thread at the start, later in the writer's.

    :param under_way: called once a minute while a migration is, in a thread of its own

    :raises NewerHistoryError: a later version has made it so that this one must not; nothing was written
    :raises sqlalchemy.exc.SQLAlchemyError: the database refuses, or another server's migration takes long
    """
    with engine.connect() as connection:
        version = version_of(connection)
    check_writable(version, engine.url)
    if version.number > schema.SCHEMA:
        _log.info("the history %s has schema %d of %s", place_of(engine.url), version.number, version.written_by)
    for migration in MIGRATIONS:
        if migration.number > version.number:
            _apply(engine, migration, under_way)


def _apply(engine: Engine, migration: Migration, under_way: Callable[[], None]) -> None:
    began = clock.monotonic()
    with engine.begin() as connection:
        _exclude_others(connection)
        version = version_of(connection)
        check_writable(version, engine.url)  # somebody else may have migrated it meanwhile
        if version.number >= migration.number:
            return
        _log.info("the history %s is migrated to schema %d, and waited for", place_of(engine.url), migration.number)
        schema.schema_version.create(connection, checkfirst=True)
        # A statement of a database keeps its thread, but not Python's lock.
        with repeated(Duty("tell that the history is migrated"), under_way, _TOLD_EVERY, "migration"):
            migration.apply(connection)
        connection.execute(insert(schema.schema_version), _row(migration, version))
    took = clock.monotonic() - began
    _log.info("the history %s has schema %d now, after %.1f s", place_of(engine.url), migration.number, took)


def _row(migration: Migration, before: Version) -> dict[str, object]:
    return {
        "number": migration.number,
        "oldest_writer": max(migration.oldest_writer, before.oldest_writer),
        "written_by": __version__,
        "time": clock.time(),
    }


def _exclude_others(connection: Connection) -> None:
    """Have this transaction be the only one that migrates, until its end."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # else its statements were transactions, each by itself
        return
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # a million rows take their time
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_PATIENCE}'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
