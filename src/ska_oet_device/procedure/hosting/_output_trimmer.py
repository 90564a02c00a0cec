"""Keeping what scripts print within MaxOutput, whether there is a device object or not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from ..output import OutputFiles
from ..state import ProcedureState

_log = logging.getLogger(__name__)

_APART = 0.2  # seconds between two looks while a procedure lives


class OutputTrimmer:
    """A thread that keeps the output files of living procedures within a limit.

    It waits for nobody: scripts print on while a device object waits for its database, or its events for Tango.
    """

    def __init__(self, output: OutputFiles, limit: Callable[[], int]) -> None:
        """Nothing is looked at yet.

        :param limit: returns how many bytes of a procedure's output are kept; 0: all of them
        """
        self._output = output
        self._limit = limit
        self._changed = threading.Condition()
        self._living: set[int] = set()
        self._ended: set[int] = set()
        self._seen: dict[int, tuple[int, int]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)

    def start(self, living: Iterable[int]) -> None:
        """Start the thread, with the procedures that live already."""
        self._living.update(living)
        self._thread.start()

    def close(self) -> None:
        """Look at what has ended once more, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def note(self, process_uid: int, state: ProcedureState) -> None:
        """Take notice of a procedure's new state; one that has ended is looked at once more.  Any thread."""
        with self._changed:
            is_idle = not self._living and not self._ended
            if state.is_terminal:
                self._living.discard(process_uid)
                self._ended.add(process_uid)
            else:
                self._living.add(process_uid)
            if is_idle:
                self._changed.notify()

    def _run(self) -> None:
        closed = False
        while not closed:
            closed = self._closed
            procedures = self._next()
            try:
                self._look_at(procedures)
            except Exception:  # top of a thread: without it a script could fill the disk
                _log.exception("the output of scripts cannot be kept within its limit")

    def _next(self) -> set[int]:
        """Return the procedures to look at, when it is time to; nobody is woken while no procedure lives."""
        with self._changed:
            self._changed.wait_for(lambda: self._living or self._ended or self._closed)
            self._changed.wait_for(lambda: self._closed, _APART)
            found, self._ended = self._living | self._ended, set()
        return found

    def _look_at(self, procedures: set[int]) -> None:
        limit = self._limit()
        seen = {uid: (self._output.size(uid), limit) for uid in procedures}
        for uid, (size, _) in seen.items():
            if size > limit and seen[uid] != self._seen.get(uid):
                self._output.trim(uid, limit)
        self._seen = seen
