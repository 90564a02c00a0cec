"""Reading the history without waiting for ever: a database may hang."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ...errors import HistoryError

T = TypeVar("T")

_PATIENCE = 1.0  # seconds for one answer
_LOOK = 0.05  # seconds from one look for the answer to the next


class HistoryReader:
    """Executes queries in a thread of its own, so that whoever asks need not wait longer than `_PATIENCE`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queries: queue.SimpleQueue[tuple[Callable[[Connection], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._given_up: float | None = None  # since when it was busy with the query for which nobody waits any longer
        self._thread = threading.Thread(target=self._run, name="history-reader", daemon=True)
        self._thread.start()

    def read(self, query: Callable[[Connection], T], patience: float | None = None) -> T:
        """Return what `query` returns.

        What counts is how often was looked for the answer: a process that was stopped itself, or a machine that was
        suspended, has looked once meanwhile, however long that was.

        :raises HistoryError: the database refuses, or does not answer within `patience` seconds
        """
        patience = _PATIENCE if patience is None else patience
        busy = self._busy_since
        if busy is not None and (busy == self._given_up or time.monotonic() - busy > patience):
            raise HistoryError("the history cannot be read: the database does not answer")
        future: Future[Any] = Future()
        self._queries.put((query, future))
        if not self._is_answered(future, patience):
            if not future.cancel():  # it is this query that is not answered, and none before it
                self._given_up = self._busy_since
            raise HistoryError(f"the history cannot be read: the database has not answered for {patience:g} s")
        try:
            return cast(T, future.result())
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise HistoryError(f"the history cannot be read: {' '.join(str(cause).split())[:300]}") from error

    @staticmethod
    def _is_answered(future: Future[Any], patience: float) -> bool:
        return any(wait((future,), _LOOK).done for _ in range(math.ceil(patience / _LOOK)))

    def close(self, patience: float) -> None:
        """Answer what was asked, and end the thread; what takes longer than `patience` seconds is left to it."""
        self._queries.put(None)
        self._thread.join(patience)

    def _run(self) -> None:
        while (asked := self._queries.get()) is not None:
            query, future = asked
            if not future.set_running_or_notify_cancel():
                continue
            self._busy_since = time.monotonic()
            try:
                with self._engine.connect() as connection:
                    result = query(connection)
            except BaseException as error:  # it is for whoever asked
                future.set_exception(error)
            else:
                future.set_result(result)
            self._busy_since = None
