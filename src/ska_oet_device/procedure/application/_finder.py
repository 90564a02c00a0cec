"""Looking for something on a file system that may hang, as one on a network does when its server is gone."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ...errors import ScriptNotFoundError, brief

_PATIENCE = 0.5  # seconds
_LOOK = 0.05  # seconds
_MOST_HANGING = 4  # searches of one place

T = TypeVar("T")


class NoAnswerError(ScriptNotFoundError):
    """Nobody can tell now whether it is there: the file system does not answer, or no thread can be had."""


class _Search(Generic[T]):
    """One search, in a thread of its own."""

    def __init__(self, what: str, search: Callable[[], T], patience: float) -> None:
        self.what = what
        self._patience = patience
        self._search = search
        self._is_given_up = False
        self._found: T
        self._error: Exception | None = None
        self._done = threading.Event()
        try:
            threading.Thread(target=self._run, name="finder", daemon=True).start()
        except (RuntimeError, MemoryError) as error:  # no thread can be had
            raise NoAnswerError(f"{brief(what)} cannot be looked for: {error}") from error

    def _run(self) -> None:
        try:
            self._found = self._search()
        except Exception as error:  # it is for whoever asked
            self._error = error
        self._done.set()

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    @property
    def hangs(self) -> bool:
        return self._is_given_up and not self.is_done

    def result(self) -> T:
        """What counts is how often was looked for it: a process that was held up itself has looked once meanwhile."""
        if not any(self._done.wait(_LOOK) for _ in range(math.ceil(self._patience / _LOOK))):
            self._is_given_up = True
            raise _no_answer(self.what, self._patience)
        if self._error is not None:
            raise self._error
        return self._found


class Finder:
    """Looks for things, and waits long for none.  Any thread.

    While a search hangs, the same one is refused at once; and of one place all are, when four of them hang.
    """

    def __init__(self, patience: float | None = None) -> None:
        """Begin without any.

        :param patience: how many seconds one search may take; None: `_PATIENCE`
        """
        self._patience = patience
        self._lock = threading.Lock()
        self._searches: dict[str, list[_Search[object]]] = {}

    def find(self, what: str, search: Callable[[], T], place: str = "") -> T:
        """Return what `search` returns.

        :param what: what is looked for
        :param place: the folder below which it is, as far as is known: one that hangs leaves the others alone
        :raises NoAnswerError: the file system does not answer, or no thread can be had
        :raises OetError: as `search` does
        """
        patience = _PATIENCE if self._patience is None else self._patience
        with self._lock:
            under_way = [each for each in self._searches.get(place, ()) if not each.is_done]
            hanging = [each for each in under_way if each.hangs]
            if len(hanging) >= _MOST_HANGING or any(each.what == what for each in hanging):
                raise _no_answer(what, patience)
            asked = _Search(what, search, patience)
            self._searches[place] = [*under_way, asked]  # type: ignore[list-item]
        return asked.result()


def place_of(path: str, roots: tuple[str, ...]) -> str:
    """Return the folder below which a path is, by its text; "" for a relative one, or one below none of them."""
    return next((root for root in roots if path.startswith(f"{root.rstrip('/')}/")), "")


def _no_answer(what: str, patience: float) -> NoAnswerError:
    return NoAnswerError(f"{brief(what)} cannot be looked for: the file system has not answered for {patience:g} s")
