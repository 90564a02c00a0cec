"""The databases that are open, and how the history of a device is opened, or replaced by one that waits."""

from __future__ import annotations

import logging
import os
import sqlite3
import time as clock
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from ...errors import HistoryError, OetError
from ...own_files import make_folder
from ..ownership import Owner, StateHeldError
from . import _schema as schema
from ._memory import MemoryHistory
from ._numbers import Numbers
from ._reader import HistoryReader
from ._soundness import set_aside
from ._store import SqlHistory
from ._versions import NewerHistoryError
from ._writer import HistoryWriter

_log = logging.getLogger(__name__)

_READ_AT_START = 100  # procedures
_DATABASE_START = 5.0  # seconds for which a database server may refuse us when this one starts
_UNKNOWN_NUMBERS = 15.0  # seconds, if nothing else tells how far the numbers have come
_LOOK_AGAIN = 0.2  # seconds
_LAST_WORDS = 1.0  # seconds for each thread of a database to end


class HistoryStore:
    """The databases that are open in this process, by URL."""

    def __init__(self, owner: Owner, migrating: Callable[[], None] = lambda: None) -> None:
        """Open nothing yet.

        :param owner: the main process of this server
        :param migrating: called once a minute while a migration is under way, by a thread of its own
        """
        self._owner = owner
        self._migrating = migrating
        self._opened: dict[str, tuple[HistoryWriter, HistoryReader]] = {}
        self._absent: set[str] = set()

    def open(
        self,
        device: str,
        url: str,
        folder: Path,
        *,
        lowest_id: int = 0,
        numbers: Numbers | None = None,
        former_name: str = "",
        may_refuse: bool = True,
    ) -> tuple[MemoryHistory, str]:
        """Return the history of a device, and a sentence on what happened to an earlier one, if anything.

        One whose database is not there begins in memory and is written when it comes; `problem` says so meanwhile.

        :param device: what the device's state is called
        :param url: SQLAlchemy URL; empty for SQLite in `folder`
        :param folder: the state folder
        :param lowest_id: the highest id of which there is a file
        :param numbers: where the numbers are kept for a day without the database
        :param former_name: what the device's state was called by an earlier version
        :param may_refuse: whether a history that is not ours to write is an error; otherwise it is a problem
        :raises StateHeldError: another server owns it
        :raises NewerHistoryError: a later version has changed it
        """
        url_used = url or f"sqlite:///{folder / 'history.sqlite3'}"
        try:
            if not url:
                make_folder(folder)
            writer, reader = self._open(url_used)
        except (SQLAlchemyError, OSError, ImportError, ValueError) as error:
            return self._in_memory(device, error, lowest_id, numbers), ""
        history = SqlHistory(device, writer, reader, self._owner, numbers, former_name=former_name)
        problem = ""
        try:
            history, problem = self._introduce_patiently(history, url_used)
        except (SQLAlchemyError, OetError) as error:
            if isinstance(error, (StateHeldError, NewerHistoryError)) and may_refuse:
                raise
            self._absent.add(url_used)
            history.begin_without(error)
        history.reserve_ids_of_files(lowest_id)
        return history, problem

    def _in_memory(self, device: str, error: Exception, lowest_id: int, numbers: Numbers | None) -> MemoryHistory:
        """Return the history of a device whose URL will not do, however long one waits."""
        text = " ".join(str(error).split())[:300]
        problem = f"The history cannot be opened ({text}); until a restart it is kept in memory only."
        _log.error("%s", problem)
        history = MemoryHistory(device, problem, numbers)
        history.reserve_ids_of_files(lowest_id)
        return history

    def look_after(self) -> None:
        """Give every writer a chance to notice that its database does not answer."""
        for writer, _ in list(self._opened.values()):
            writer.look_after()

    def close(self) -> None:
        """Close the databases, a moment later if need be: nobody uses their histories any more."""
        opened, self._opened = self._opened, {}
        for writer, reader in opened.values():
            _close(writer, reader)

    def _open(self, url: str) -> tuple[HistoryWriter, HistoryReader]:
        if url not in self._opened:
            engine = schema.open_engine(url)
            self._opened[url] = HistoryWriter(engine, self._migrating), HistoryReader(engine)
        return self._opened[url]

    def _introduce_patiently(self, history: SqlHistory, url: str) -> tuple[SqlHistory, str]:
        """Introduce a history to a database that may be starting, or be another server's for a moment yet."""
        patience = 0.0 if url in self._absent else _DATABASE_START if history.knows_numbers else _UNKNOWN_NUMBERS
        deadline = clock.monotonic() + patience
        while True:
            try:
                return self._introduce(history, url)
            except StateHeldError as error:
                if not error.may_end:
                    raise
            except OperationalError as error:
                if not url.startswith("postgresql") or clock.monotonic() > deadline:
                    raise
                _log.warning("the history is waited for: %s", " ".join(str(error.orig).split())[:300])
            clock.sleep(_LOOK_AGAIN)

    def _introduce(self, history: SqlHistory, url: str) -> tuple[SqlHistory, str]:
        try:
            history.introduce()
            if url.startswith("sqlite"):
                history.unfinished(0)  # what a restart needs must be readable, and not only the first page
                history.newest_ended(_READ_AT_START, 0)  # to measure arguments is to read them
            history.has_been_introduced()
            return history, ""
        except (DatabaseError, HistoryError) as error:
            path = Path(os.path.realpath(make_url(url).database or ""))  # a link stays, and leads to the new one
            if not url.startswith("sqlite") or not _is_broken(error):
                raise
            return self._begin_anew(history, url, path, error)

    def _begin_anew(self, history: SqlHistory, url: str, path: Path, error: Exception) -> tuple[SqlHistory, str]:
        """Set a file aside that is no database any more, and open another one."""
        _close(*self._opened.pop(url))
        aside = set_aside(path)
        cause = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
        problem = f"The history {path} could not be read ({cause}); it was set aside as {aside.name}."
        _log.error("%s", problem)
        another = history.of_another_database(*self._open(url))
        another.introduce()
        another.has_been_introduced()
        return another, problem


def _close(writer: HistoryWriter, reader: HistoryReader) -> None:
    writer.close(_LAST_WORDS)
    reader.close(_LAST_WORDS)
    writer.engine.dispose()


def _is_broken(error: Exception) -> bool:
    """Say whether it is the file's content that is wrong; a file that is locked or read-only is left alone."""
    cause = error.__cause__ if isinstance(error, HistoryError) else error
    # SQLite's codes CORRUPT and NOTADB are the ones for which Python raises this very class.
    return isinstance(cause, DatabaseError) and type(cause.orig) is sqlite3.DatabaseError
