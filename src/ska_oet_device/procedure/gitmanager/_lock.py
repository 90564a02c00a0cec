"""One process at a time works on a repository, and those that waited know what was fetched meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class FetchLock:
    """A file that is locked (flock(2)) and counts the fetches of its repository.

    The kernel unlocks it when its holder ends, however that happens.  Counted, not timed: a fetch
    that began before the request may not have seen what was pushed just before the request.

    :param path: the file; it stays
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._begun_at_request = 0
        self._begun = 0
        self._done = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.  Waits as long as it takes; an exception from a signal handler ends the waiting."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._begun_at_request, _ = self._read()
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._begun, self._done = self._read()
            yield
        finally:
            os.close(self._file)

    @property
    def fetched_meanwhile(self) -> bool:
        """Whether a fetch began after the lock was asked for, and succeeded."""
        return self._done > self._begun_at_request

    def fetch_begins(self) -> None:
        self._begun += 1
        self._write()

    def fetch_done(self) -> None:
        self._done = self._begun
        self._write()

    def _read(self) -> tuple[int, int]:
        begun, done = [*os.pread(self._file, 64, 0).split(), b"0", b"0"][:2]
        return int(begun), int(done)

    def _write(self) -> None:
        os.pwrite(self._file, b"%020d %020d\n" % (self._begun, self._done), 0)
