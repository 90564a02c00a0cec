"""A lock file: who holds it is known to every process of the machine, and the kernel gives it up with its holder.

The kernel gives a lock up when the last process that has it open ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from .own_files import make_folder, open_regular

_LOOK_AGAIN = 0.005  # seconds


class FileLock:
    """One hold on a lock file, shared or exclusive; given up by `close` or with the process.

    The file may be removed with its folder while somebody waits for it: a lock counts only if its
    file still has its name when it has been taken.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, shared: bool = False) -> FileLock:
        """Wait for the lock as long as it takes; the folder is made if need be.

        :raises OSError: the folder or the file cannot be made, or something else is in its place
        """
        while True:
            lock = cls._attempt(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            if lock is not None:
                return lock

    @classmethod
    def try_take(cls, path: Path, *, shared: bool = False, patience: float = 0.0) -> FileLock | None:
        """Return the lock, or None if others keep it for `patience` seconds.

        :raises OSError: the folder or the file cannot be made, or something else is in its place
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                lock = cls._attempt(path, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_LOOK_AGAIN)
                continue
            if lock is not None:
                return lock

    @classmethod
    def _attempt(cls, path: Path, operation: int) -> FileLock | None:
        try:
            descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            make_folder(path.parent)
            return None
        try:
            fcntl.flock(descriptor, operation)
            if _is_named(descriptor, path):
                return cls(path, descriptor)
        except BaseException:  # an interrupt, too, must not leave the lock with a number that nobody knows
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def fileno(self) -> int:
        return self._descriptor

    @property
    def is_in_place(self) -> bool:
        """Whether the file still has its name: else others would take a lock of another one."""
        return self._descriptor >= 0 and _is_named(self._descriptor, self.path)

    def close(self) -> None:
        """Give this hold up; a child that has inherited the descriptor keeps its own."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock up for every process that has inherited it, and close this hold."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.close()

    def __del__(self) -> None:
        # An interrupt may come between the taking and the first who knows of it.
        self.close()


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(os.fstat(descriptor), named)


def is_locked(path: Path, *, exclusively: bool, patience: float = 0.0) -> bool:
    """Tell whether anybody holds the lock `exclusively`, or at all, and keeps it for `patience` seconds.

    Whoever asks holds the lock himself for some microseconds.  Makes no file.
    """
    deadline = time.monotonic() + patience
    while _is_locked_now(path, exclusively=exclusively):
        if time.monotonic() >= deadline:
            return True
        time.sleep(_LOOK_AGAIN)
    return False


def _is_locked_now(path: Path, *, exclusively: bool) -> bool:
    try:
        descriptor = open_regular(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if exclusively else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return True
    finally:
        os.close(descriptor)
    return False
