"""The thread that writes the history: many changes a transaction, and patience with a broken database.

Nobody waits for the database but this thread.  What is written together is committed together;
then the `then` of each is called, which is when clients are told.  A database that cannot be
written stops no script: the changes wait here, up to a bound, and clients are told all the same,
with the device in ALARM.

A connection that is lost during a commit leaves in doubt whether it was done.  Therefore each
transaction also writes its number, which is read before anything is written again.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Insert,
    Update,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from ...config import bounded
from ...duties import Duty
from ...errors import HistoryError, OetError
from . import _schema as schema
from ._database_file import DatabaseFile, path_of
from ._merge import add_newer
from ._migrations import migrate
from ._statements import Statements
from ._versions import NewerHistoryError, check_writable, version_of

_log = logging.getLogger(__name__)

_version = schema.schema_version
# Asked with each transaction, since a database may be changed for a later version while this server runs.
_is_too_new = exists().where(_version.c.oldest_writer > literal_column(str(schema.SCHEMA)))
_UPDATE_MARK = update(schema.mark).where(schema.mark.c.writer == bindparam("of_writer"), ~_is_too_new)

_MOST_TOGETHER = 500
_MOST_WAITING = 200_000
_GATHERING = 0.005  # seconds for which a change that nobody waits for is kept from the disk
_RETRY = 1.0  # seconds
_PATIENCE = 1.0  # seconds for one commit, after which clients are told without it
_LOOKS_APART = 1.0  # seconds between two looks at the file
_RESCUES_APART, _RESCUES_FAR_APART = 5.0, 60.0  # seconds more after an attempt to write a lost one again; it doubles
_MARKS_KEPT = 7 * 86400.0  # seconds


class Batch:
    """What operations write to: one transaction.

    Rows are inserted, and values updated, when all operations have been executed: of what changes several times
    in one transaction, only the last value is written.
    """

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self.connection = connection
        self._statements = statements
        self._rows: dict[Insert, list[dict[str, Any]]] = {}
        self._values: dict[tuple[Hashable, ...], tuple[Update, Missing, dict[str, Any]]] = {}

    def insert(self, statement: Insert, row: dict[str, Any]) -> None:
        """Insert a row."""
        self._rows.setdefault(statement, []).append(row)

    def update(
        self, statement: Update, which: dict[str, Hashable], values: Mapping[str, Any], missing: Missing = None
    ) -> None:
        """Update the row that `which`, the statement's own parameters, names; call `missing` if there is none."""
        key = (statement, *which.values())
        known = self._values.setdefault(key, (statement, missing, dict(which)))
        known[2].update(values)

    def flush(self) -> None:
        """Write what has gathered."""
        inserted, self._rows = self._rows, {}
        updated, self._values = self._values, {}
        for insertion, rows in inserted.items():
            self._statements.execute(self.connection, insertion, rows)
        for statement, missing, values in updated.values():
            if not self._statements.execute(self.connection, statement, [values]) and missing is not None:
                missing(self.connection, values)


Missing = Callable[[Connection, dict[str, Any]], None] | None
Operation = Callable[[Batch], None]


class _Item:
    """Something to write, and what to do then; `then` is called once, whoever comes first."""

    __slots__ = ("kept", "operation", "then", "urgent")

    def __init__(
        self, operation: Operation, then: Callable[[], None] | None, kept: Callable[[], None] | None, *, urgent: bool
    ) -> None:
        self.operation = operation
        self.urgent = urgent
        self.then: Callable[[], None] | None = then or _nothing
        self.kept = kept or _nothing

    def release(self) -> None:
        then, self.then = self.then, None
        if then is not None:
            _call(then)


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # a listener's fault must not stop the writing
        _log.exception("what follows a change failed")


def _nothing() -> None:
    """What follows a change that nobody waits for."""


class HistoryWriter:
    """Writes operations in the order of their submission.  One for each database."""

    def __init__(self, engine: Engine, migrating: Callable[[], None] = lambda: None) -> None:
        """Start the thread that writes.

        :param migrating: called once a minute while a migration is under way, by a thread of its own
        """
        self.engine = engine
        self._migrating = migrating
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._unreleased: deque[_Item] = deque()
        self._unwritten = 0  # those in the queue, those in hand and those that wait for the database
        self._order = threading.RLock()
        self._waiting: deque[_Item] = deque()
        self._busy_since: float | None = None
        self._problem = ""
        self._name = uuid.uuid4().hex
        self._statements = Statements()
        self._number = 0
        self._in_doubt: list[_Item] = []
        self._introductions: deque[Callable[[], None]] = deque()
        self._introduced: list[Callable[[], None]] = []
        self._devices: set[str] = set()
        self._file: DatabaseFile | None = None
        self._removed = ""
        self._next_look, self._rescue_pause = 0.0, _RESCUES_APART
        self.lost = 0
        self._why_lost = ""
        self._closing = False
        self._duty, self._file_duty = Duty("write the history"), Duty("see whether its history has been removed")
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def migrate(self) -> None:
        """Make the database one that this program writes to; raises what `migrate` of the migrations does."""
        migrate(self.engine, self._migrating)

    @property
    def problem(self) -> str:
        """Why the history is not written, or not all of it, in a sentence or two; empty when all is well."""
        count, reason = self.lost, self._why_lost
        which, verb = ("1 change", "is") if count == 1 else (f"{count} changes", "are")
        lost = f"{which} could not be written to the history and {verb} lost: {reason}."
        return " ".join(filter(None, (self._stuck_because, self._removed, lost if self.lost else "")))

    @property
    def is_stuck(self) -> bool:
        """Whether nothing can be written now."""
        return bool(self._stuck_because)

    @property
    def _stuck_because(self) -> str:
        problem = self._problem or ("the database does not answer" if self._is_late else "")
        if not problem:
            return ""
        count = self._unwritten
        return f"The history cannot be written ({problem}); {count} {'change waits' if count == 1 else 'changes wait'}."

    def acknowledge(self) -> None:
        """Say no more of what is lost already: somebody knows."""
        self.lost, self._why_lost, self._removed = 0, "", ""

    def serve(self, device: str) -> None:
        """Note a device whose history this is."""
        self._devices.add(device)

    def introduced(self, introduction: Callable[[], None]) -> None:
        """Note what is to be done again should the database turn out to be another one: a new file, say."""
        self._introduced.append(introduction)
        path = path_of(self.engine.url)
        if self._file is None and path is not None:
            with contextlib.suppress(OSError, sqlite3.Error):  # it will be lost without our noticing
                self._file = DatabaseFile(path)

    def introduce_later(self, introduction: Callable[[], None], error: Exception) -> None:
        """Have `introduction` called when the database answers, and before anything more is written.

        In the writer's thread, again and again until it raises neither SQLAlchemyError nor OetError.

        :param error: why it is not there
        """
        self._failed(error)
        self._introductions.append(introduction)
        self.submit(_written)  # wakes the thread

    def submit(
        self, operation: Operation, then: Callable[[], None] | None = None, kept: Callable[[], None] | None = None
    ) -> None:
        """Have `operation` executed.

        :param then: called once that is committed, or cannot be waited for any longer; without it there is no hurry
        :param kept: called once that is committed, or lost for good
        """
        item = _Item(operation, then, kept, urgent=then is not None)
        with self._order:
            self._unreleased.append(item)
            if self._queue.qsize() < _MOST_WAITING:
                self._unwritten += 1
                self._queue.put(item)
            else:
                self._lose("too many wait")
                self._release()
                _call(item.kept)
            self._release_if_late()

    def wait(self, seconds: float) -> bool:
        """Wait until everything submitted before is committed; False if that takes longer."""
        if self.is_stuck:
            return False
        done = threading.Event()
        self.submit(_written, _nothing, done.set)
        return done.wait(bounded(seconds))

    def close(self, patience: float) -> None:
        """Write what waits, and end the thread; what takes longer than `patience` seconds is left to it."""
        self._closing = True
        self.submit(_written, _nothing)  # wakes the thread
        self._thread.join(patience)

    def look_after(self) -> None:
        """Let clients be told if the database has not answered for too long.  To be called now and then."""
        with self._order:
            self._release_if_late()

    def _release_if_late(self) -> None:
        if self._is_late:
            self._release()

    @property
    def _is_late(self) -> bool:
        busy = self._busy_since
        return busy is not None and time.monotonic() - busy > _PATIENCE

    def _release(self, last: _Item | None = None) -> None:
        """Call the `then` of everything up to `last`, in order; of everything if there is no `last`."""
        with self._order:
            while self._unreleased and (last is None or last.then is not None):
                self._unreleased.popleft().release()

    # -- the thread

    def _run(self) -> None:
        while not (self._closing and self._queue.empty()):
            self._duty.attempt(self._step)
        self._let_go_of_file()

    def _step(self) -> None:
        batch = self._next_batch()
        self._busy_since = time.monotonic()  # a file system may hang, too, and gigabytes take their time
        try:
            self._file_duty.attempt(self._look_for_file)
        finally:
            self._busy_since = None
        if self._waiting or self._introductions:
            self._keep_waiting(batch)
            self._catch_up()
            return
        self._busy_since = time.monotonic()
        try:
            self._write(batch)
        except (SQLAlchemyError, NewerHistoryError) as error:
            self._failed(error)
            self._keep_waiting(batch)
        else:
            self._busy_since = None  # before anybody hears of it: the database has answered
            self._release(batch[-1])
            self._have_kept(batch)
        finally:
            self._busy_since = None

    def _look_for_file(self) -> None:
        """Write the file again if somebody has removed or cut it: what it is given would be lost without an error."""
        if self._file is None or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOKS_APART
        try:
            if self._file.is_lost():
                said = self._file.rescue(lambda path, lost: add_newer(path, lost, self._devices))
            elif damage := self._file.damage():
                said = self._file.repair(damage)
            else:
                return
            self._say_removed(said)
        except HistoryError as error:
            self._next_look = time.monotonic() + _LOOKS_APART + self._rescue_pause
            self._rescue_pause = min(2 * self._rescue_pause, _RESCUES_FAR_APART)
            self._say_removed(str(error))
            return
        self._rescue_pause = _RESCUES_APART
        self._let_go_of_file()
        self.engine.dispose()
        self._introductions.extend(self._introduced)
        self._introduced.clear()

    def _say_removed(self, sentence: str) -> None:
        if sentence != self._removed:
            self._removed = sentence
            _log.error("%s", sentence)

    def _let_go_of_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _next_batch(self) -> list[_Item]:
        timeout = _RETRY if self._waiting or self._introductions else None
        batch: list[_Item] = []
        with contextlib.suppress(queue.Empty):
            batch.append(self._queue.get(timeout=timeout))
            # A request is noted while it is being carried out: writing at once would take the interpreter from it.
            deadline = time.monotonic() + _GATHERING
            while not batch[-1].urgent and len(batch) < _MOST_TOGETHER:
                batch.append(self._queue.get(timeout=max(0.0, deadline - time.monotonic())))
            while len(batch) < _MOST_TOGETHER:
                batch.append(self._queue.get_nowait())
        return batch

    def _write(self, items: list[_Item]) -> None:
        """Write in one transaction; if one of the items is the trouble, one by one without it.

        :raises SQLAlchemyError: the database is the trouble
        :raises NewerHistoryError: it was changed for a later version
        """
        try:
            self._transaction(items)
        except NewerHistoryError:
            raise
        except Exception as error:  # an operation's own error is whatever it raises
            if not _is_the_changes_fault(error):
                raise
            self._check_version()  # what a later version has changed may refuse anything, and for any reason
            if len(items) > 1:
                self._write_singly(items)
                return
            self._lose(_in_short(error))
            _log.exception("a change cannot be written to the history, and is lost")

    def _check_version(self) -> None:
        with self.engine.connect() as connection:
            check_writable(version_of(connection), self.engine.url)

    def _write_singly(self, items: list[_Item]) -> None:
        for item in items:
            self._write([item])
            item.operation = _written  # should the database fail at a later one

    def _transaction(self, items: list[_Item]) -> None:
        self._number += 1
        self._in_doubt = items
        with self.engine.begin() as connection:
            batch = Batch(connection, self._statements)
            for item in items:
                item.operation(batch)
            batch.flush()
            self._mark(connection)
        self._in_doubt = []

    def _mark(self, connection: Connection) -> None:
        mark, values = schema.mark, {"number": self._number, "time": time.time()}
        if not self._statements.execute(connection, _UPDATE_MARK, [{"of_writer": self._name, **values}]):
            check_writable(version_of(connection), self.engine.url)
            connection.execute(insert(mark), {"writer": self._name, **values})
            connection.execute(delete(mark).where(mark.c.time < time.time() - _MARKS_KEPT))

    def _keep_waiting(self, batch: list[_Item]) -> None:
        self._waiting.extend(batch)
        if batch:
            self._release(batch[-1])
        while len(self._waiting) > _MOST_WAITING:
            self._have_kept([self._waiting.popleft()])
            self._lose("too many wait")

    def _catch_up(self) -> None:
        """Try to write what waits."""
        self._busy_since = time.monotonic()
        try:
            self._introduce()
            self.migrate()  # it may have been changed, or be an earlier copy, since it was there last
            self._resolve_doubt()
            while self._waiting:
                batch = [self._waiting[i] for i in range(min(_MOST_TOGETHER, len(self._waiting)))]
                self._write(batch)
                written = [self._waiting.popleft() for _ in batch]
                self._busy_since = None
                if not self._waiting:  # before anybody hears of it: there is no problem any more
                    self._problem = ""
                self._have_kept(written)
                self._busy_since = time.monotonic()
        except (SQLAlchemyError, OetError) as error:
            self._failed(error)
            return
        finally:
            self._busy_since = None
        _log.warning("the history can be written again; nothing waits any more, %d changes were lost", self.lost)
        self._problem = ""

    def _introduce(self) -> None:
        while self._introductions:
            self._introductions[0]()
            self.introduced(self._introductions.popleft())

    def _resolve_doubt(self) -> None:
        """Find out whether the transaction that failed last was committed all the same."""
        with self.engine.connect() as connection:
            newest = connection.scalar(select(schema.mark.c.number).where(schema.mark.c.writer == self._name))
        if newest == self._number:
            for item in self._in_doubt:
                item.operation = _written
        self._in_doubt = []

    def _have_kept(self, items: list[_Item]) -> None:
        """What is committed, or lost for good, waits no more."""
        with self._order:
            self._unwritten -= len(items)
        for item in items:
            _call(item.kept)

    def _lose(self, reason: str) -> None:
        self.lost += 1
        self._why_lost = reason

    def _failed(self, error: Exception) -> None:
        problem = _in_short(error)
        if problem != self._problem:
            self._problem = problem
            _log.error("the history cannot be written: %s", problem)


def _in_short(error: Exception) -> str:
    """Return what the database itself says, in one line; a sentence of our own is whole."""
    if isinstance(error, OetError):
        return str(error)
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(cause).split())[:300].rstrip(".")


def _written(batch: Batch) -> None:
    """What is left to do of an operation that is committed."""


def _is_the_changes_fault(error: Exception) -> bool:
    """Say whether a change can never be written, whereas others can."""
    if isinstance(error, (IntegrityError, DataError)):
        return True
    # Not of the database at all: a number too large for it, say.
    return not isinstance(error, SQLAlchemyError) or type(error) is StatementError
