"""A small file of ours that a thread writes: a disk that hangs keeps nobody waiting, and one that fails is tried again.

Whoever has something to keep holds a device's monitor, as a rule, and must not keep anybody from a Stop.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .own_files import read_regular, write_regular

_log = logging.getLogger(__name__)

_AGAIN_AFTER, _AGAIN_AFTER_AT_MOST = 1.0, 60.0  # seconds after an attempt that has failed; it doubles


class FileBehind:
    """A file with a JSON object that holds what its owner has last; gone while that is empty.

    Any thread.  The file's own thread lives while there is something to write.
    """

    def __init__(
        self,
        path: Path | None,
        contents: Callable[[], dict[str, Any]],
        what: str,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Read what an earlier server has kept.

        :param path: None: nothing is kept
        :param contents: returns what the file is to hold; called by the file's thread, without a lock of ours
        :param what: what is kept, as the beginning of "... cannot be kept" in the log
        :param tags: what the log is told beside: `logs.about` a device
        """
        self._path = path
        self._contents = contents
        self._what = what
        self._tags = tags
        self._changed = threading.Condition()
        self._asked = self._tried = 0
        self._is_writing = self._is_late = self._is_closed = False
        self._problem = ""
        self.holds: dict[str, Any] = self._read(path) if path is not None else {}
        """What the file has, as far as we know.  Replaced and never changed."""

    def look(self, patience: float = 0.0) -> None:
        """Have the file hold what is to be kept now.

        :param patience: seconds for which that is waited for, at most
        """
        if self._path is None:
            return
        with self._changed:
            self._asked += 1
            mine = self._asked
            if not self._is_writing:
                self._begin(self._path)
            self._changed.notify_all()
            if patience and not self._is_late:  # the first one has waited in vain: the next ones do not
                self._is_late = not self._changed.wait_for(lambda: self._tried >= mine, patience)

    def close(self, seconds: float) -> bool:
        """Wait until what was asked for has been written, or cannot be; False if that takes longer.

        From now on what has failed is not tried again.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._is_writing, seconds)

    def _begin(self, path: Path) -> None:
        try:
            threading.Thread(target=self._work, args=(path,), name="file behind", daemon=True).start()
        except RuntimeError as error:  # no thread can be had
            self._say(str(error))
            self._tried = self._asked
        else:
            self._is_writing = True

    def _work(self, path: Path) -> None:
        """Write until the file holds what was asked for last.  Target of a thread."""
        pause = 0.0
        while (asked := self._next(pause)) is not None:
            is_kept = self._attempt(path)
            pause = 0.0 if is_kept else min(max(_AGAIN_AFTER, 2 * pause), _AGAIN_AFTER_AT_MOST)
            with self._changed:
                self._tried, self._is_late = asked, False
                self._changed.notify_all()

    def _next(self, pause: float) -> int | None:
        """Return the number of what was asked for last; None if there is nothing to do.

        :param pause: seconds until the last attempt, which has failed, is made again; 0: it has not failed
        """
        with self._changed:
            if pause:
                self._changed.wait_for(lambda: self._tried != self._asked or self._is_closed, pause)
            if self._tried == self._asked and (self._is_closed or not pause):
                self._is_writing = False
                self._changed.notify_all()
                return None
            return self._asked

    def _attempt(self, path: Path) -> bool:
        try:
            contents = self._contents()
            if contents != self.holds:
                _write(path, contents)
                self.holds = contents
        except Exception as error:  # top of a thread: the next attempt may succeed
            self._say(str(error))
            return False
        self._say("")
        return True

    def _say(self, problem: str) -> None:
        before, self._problem = self._problem, problem
        if problem and problem != before:
            _log.error("%s cannot be kept: %s", self._what, problem, extra=self._tags)
        elif before and not problem:
            _log.warning("%s is kept again", self._what, extra=self._tags)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            kept = json.loads(read_regular(path))
            if not isinstance(kept, dict):
                raise ValueError(f"a JSON object is expected, and not {type(kept).__name__}")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            _log.error("what was kept in %s is of no use: %s", path, error, extra=self._tags)
            return {}
        return kept


def _write(path: Path, contents: dict[str, Any]) -> None:
    if contents:
        write_regular(path, json.dumps(contents).encode())
    else:
        path.unlink(missing_ok=True)
