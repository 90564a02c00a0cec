"""Events that unrelated processes share: a lock that is held, and a file that is there.

Workers are forked by a template process and not by main, so nothing can be inherited from main;
a path is all that two of them need.
"""

from __future__ import annotations

import time
from pathlib import Path

from ...locks import FileLock, is_locked

_LOOK_AGAIN = 0.02  # seconds
_PROBE_PATIENCE = 0.1  # seconds; `is_locked` of another process holds the lock for some microseconds


class _Event:
    """What an Event can do besides being set and cleared."""

    def is_set(self) -> bool:
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set, for `timeout` seconds at most; tells whether it is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN)
        return True


class HeldEvent(_Event):
    """Set while some process, or a child it gave the lock to, holds a lock: nobody can leave it set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock: FileLock | None = None

    def is_set(self) -> bool:
        return self.lock is not None or is_locked(self.path, exclusively=True)

    def set(self) -> None:
        """Hold the lock until `clear`, unless somebody does already."""
        if self.lock is None:
            self.lock = FileLock.try_take(self.path, patience=_PROBE_PATIENCE)

    def clear(self) -> None:
        """Give up the lock if this object holds it; nobody can take it from another process."""
        if self.lock is not None:
            self.lock.close()
            self.lock = None


class MarkEvent(_Event):
    """Set while a file is there: it outlives every process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_set(self) -> bool:
        return self.path.exists()

    def set(self) -> None:
        self.path.touch()

    def clear(self) -> None:
        if self.path.is_dir():
            from ...files import remove_tree  # brings shutil, which main does without

            remove_tree(self.path)  # whoever has put it there
        self.path.unlink(missing_ok=True)
