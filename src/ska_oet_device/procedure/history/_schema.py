"""The tables of the durable history, and how a database is opened.

Every row belongs to a device, so that several devices and several servers may share a database.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    create_engine,
    event,
    make_url,
    not_,
    or_,
)
from sqlalchemy.exc import ArgumentError

from ...errors import HistoryError
from ..state import ProcedureState
from ._connect import connect
from ._database_file import make_file, path_of

metadata = MetaData()

device = Table(
    "device",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("last_request", BigInteger, nullable=False),
    Column("boot", String(64), nullable=False),
    Column("last_number", BigInteger, nullable=False),
    # Whose it is: the main process's own identity ("" for nobody's), who that is, and its last sign of life.
    Column("owner", String(64), nullable=False, server_default=""),
    Column("owner_is", Text, nullable=False, server_default=""),
    Column("seen", Float, nullable=False, server_default="0"),
)

procedure = Table(
    "procedure",
    metadata,
    Column("device", String(255), primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("run_id", String(36), nullable=False),
    Column("uri", Text, nullable=False),
    Column("script", Text, nullable=False),
    Column("provenance", Text),
    Column("state", Integer, nullable=False),
    Column("stacktrace", Text),
    Column("exit", Text),
    Column("os_pid", BigInteger),
    Column("function", Text, nullable=False),
    Column("abort_of", BigInteger),
    Column("changed", Float, nullable=False),
    # An index on the state finds the few that live among a hundred thousand that have ended.
    Index("procedure_state", "device", "state", "id"),
    Index("procedure_age", "device", "changed"),
)


def left_unknown() -> ColumnElement[bool]:
    """Return the condition for a procedure that an earlier version has left UNKNOWN, which was an end then.

    Since something of an UNKNOWN one is known to be left, its exit names the survivors, if by an empty list.
    """
    names_survivors = procedure.c.exit.like('%"survivors"%')  # a text with these quotes has them as \\"
    return and_(
        procedure.c.state == int(ProcedureState.UNKNOWN), or_(procedure.c.exit.is_(None), not_(names_survivors))
    )


# By what procedures are looked for, in small rows: those of `procedure` are large, and hold it as JSON.
lookup = Table(
    "lookup",
    metadata,
    Column("device", String(255), primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("run_id", String(36), nullable=False),
    Column("created", Float, nullable=False),
    Column("script_uri", Text),
    Column("stop_reason", Text),
    Index("lookup_created", "device", "created", "id"),
    Index("lookup_run", "run_id"),
)

lifecycle = Table(
    "lifecycle",
    metadata,
    Column("device", String(255), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("process_uid", BigInteger, nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("previous", Integer),
    Column("state", Integer, nullable=False),
    Column("time", Float, nullable=False),
    Column("reason", Text),
    Index("lifecycle_procedure", "device", "process_uid"),
)

call = Table(
    "call",
    metadata,
    Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("device", String(255), nullable=False),
    Column("process_uid", BigInteger, nullable=False),
    Column("fn", Text, nullable=False),
    Column("fn_args", Text, nullable=False),
    Column("time", Float, nullable=False),
    Index("call_procedure", "device", "process_uid"),
)

request = Table(
    "request",
    metadata,
    Column("device", String(255), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("time", Float, nullable=False),
    Column("command", String(64), nullable=False),
    Column("client", Text, nullable=False),
    Column("user", Text),
    Column("process_uid", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),
    Index("request_procedure", "device", "process_uid"),
    Index("request_age", "device", "time"),
)

mark = Table(
    "mark",
    metadata,
    Column("writer", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("time", Float, nullable=False),
)


schema_version = Table(
    "schema_version",
    metadata,
    # A row for each migration that the database has been through; see `_versions`.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("oldest_writer", Integer, nullable=False),
    Column("written_by", String(64), nullable=False),
    Column("time", Float, nullable=False),
)

SCHEMA = 2
"""The schema that this program writes: the number of the newest migration."""


def open_engine(url: str) -> Engine:
    """Return an engine for `url`; nothing is connected yet, but a SQLite file that is missing is made if it can be.

    SQLite writes ahead (WAL): a process that is killed loses nothing, and a loss of power leaves
    a database that opens, without the transactions of the last moments.

    :raises sqlalchemy.exc.ArgumentError: no such URL, or one of a database that is gone with the process
    :raises ModuleNotFoundError: the driver for this kind of database is not installed
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if _is_in_memory(parsed):  # which each thread would have for itself
            raise ArgumentError("this URL of SQLite names no file: sqlite:////a/path does")
        engine = _sqlite_engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(
        parsed,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 3,
            "client_encoding": "utf8",  # a database in SQL_ASCII would hand out bytes instead of text
            "options": "-c statement_timeout=10000",
            # A database whose machine is gone is found out in seconds, and not in two hours.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10000,
        },
    )


def _is_in_memory(url: URL) -> bool:
    return not url.database or ":memory:" in url.database or url.query.get("mode") == "memory"


def _sqlite_engine(url: URL) -> Engine:
    path = path_of(url)
    if path is None:
        return create_engine(url, connect_args={"timeout": 2.0, "check_same_thread": False})
    with contextlib.suppress(HistoryError):  # whoever connects learns it
        make_file(path)
    return create_engine(url, creator=lambda: connect(path))


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
