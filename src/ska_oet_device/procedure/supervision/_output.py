"""What the workers of one procedure print, as main sees it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ._guard import Clock
from ._recorder import Recorder, Recording

_log = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds that the end of a procedure waits for its last words to be in the file
_LOOK_AGAIN = 0.001  # seconds; as a rule the first look is enough, and one look takes some microseconds


class Output:
    """What the workers of one procedure print, one after the other."""

    def __init__(self, loop: Clock, recorder: Recorder, path: str, limit: int) -> None:
        """Nothing is recorded yet.

        :param path: of the file; empty: the output goes where the server's own goes
        :param limit: bytes that are kept of it; 0: all
        """
        self._loop = loop
        self._recorder = recorder
        self._path = path
        self._limit = limit
        self._recording: Recording | None = None

    def begin(self) -> int | None:
        """Record what the next worker prints; returns the end of the pipe for it, to be closed here when it is sent.

        None: nothing is kept, or there is no pipe to be had.
        """
        self.release()
        if not self._path:
            return None
        try:
            self._recording, writer = self._recorder.record(self._path, self._limit)
        except OSError as error:
            _log.error("the output cannot be kept in %s: %s", self._path, error)
            return None
        return writer

    def limit(self, limit: int) -> None:
        """Keep so many bytes from now on."""
        self._limit = limit
        if self._recording is not None:
            self._recorder.limit(self._recording, limit)

    def when_written(self, then: Callable[[], None]) -> None:
        """Call it when all that has been printed is in the file: now, as a rule; or when that takes too long."""
        self._look(then, time.monotonic() + _PATIENCE)

    def _look(self, then: Callable[[], None], until: float) -> None:
        if self._recording is None or self._recording.is_written:
            then()
        elif time.monotonic() > until:
            _log.error("the end of what was printed is not in %s yet", self._path)
            then()
        else:
            self._loop.call_later(_LOOK_AGAIN, lambda: self._look(then, until))

    def release(self) -> None:
        """No more will come; may be called again."""
        recording, self._recording = self._recording, None
        if recording is not None:
            self._recorder.release(recording)
