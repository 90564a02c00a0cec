"""One process at a time works on a repository, and those that waited know what was fetched meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ...locks import FileLock
from ...own_files import read_regular


class FetchLock:
    """A lock file that counts the fetches of its repository.

    Counted, not timed: a fetch that began before the request may not have seen what was pushed
    just before the request.

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
        self._begun_at_request, _ = self._read()
        lock = FileLock.take(self._path)
        try:
            self._file = lock.fileno()
            self._begun, self._done = self._read()
            yield
        finally:
            lock.close()

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
        try:
            written = read_regular(self._path)
        except FileNotFoundError:
            return 0, 0
        begun, done = [*written.split(), b"0", b"0"][:2]
        return (int(begun), int(done)) if begun.isdigit() and done.isdigit() else (0, 0)

    def _write(self) -> None:
        os.pwrite(self._file, b"%020d %020d\n" % (self._begun, self._done), 0)
