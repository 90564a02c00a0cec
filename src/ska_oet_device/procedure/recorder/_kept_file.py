"""The file of one procedure's output: it grows at its end, loses its middle, and never has more than its limit.

The disk blocks of the middle are given back by punching a hole, so that offsets stay what they were and the newest
output is always there.  Room is made before something is written, not afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading

from ...own_files import open_real_folder, open_regular

BLOCK = 4096
LARGEST_PIECE = 64 * 1024  # bytes taken at once: what a pipe holds
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_SHARE = 4  # a piece is a fourth of the limit at most: half of it is what is kept of the newest


class KeptFile:
    """Takes what is in a pipe.  `take` is one thread's; another one may `shorten`."""

    def __init__(self, path: str, limit: int) -> None:
        """Open the file, or make it.

        :param path: absolute, and without links when the device server looked
        :param limit: bytes that it may have on the disk, and a block or two; 0: no limit
        :raises OSError: it cannot be made, is something else, or a link leads to it by now
        """
        folder, name = os.path.split(path)
        place = open_real_folder(folder)  # scripts can put a link into its place, too
        try:
            self._file = open_regular(name, os.O_WRONLY | os.O_CREAT, folder=place)
        finally:
            os.close(place)
        self._lock = threading.Lock()
        self._end = os.fstat(self._file).st_size
        self._punched = 0
        self._can_splice = True
        self.problem = ""
        """Why the limit is kept by dropping what is newest, in a few words; empty where it is not."""
        self.shorten(limit)

    def close(self) -> None:
        os.close(self._file)

    def shorten(self, limit: int) -> None:
        """Have another limit from now on."""
        with self._lock:
            self._limit, self._punched = limit, 0
            self._make_room(0)

    @property
    def piece(self) -> int:
        """How many bytes to take at once."""
        if self._limit <= 0:
            return LARGEST_PIECE
        return max(BLOCK, min(LARGEST_PIECE, self._limit // _SHARE // BLOCK * BLOCK))

    def take(self, pipe: int, count: int) -> None:
        """Write so many bytes that wait in a pipe, or fewer; what the disk does not take is lost.

        What is spliced is in the pipe or in the file, whatever becomes of this process.
        """
        with self._lock:
            if not self._make_room(count) or not self._splice(pipe, count):
                self._copy(os.read(pipe, count))

    def _splice(self, pipe: int, count: int) -> bool:
        """Move bytes from the pipe to the end of the file; False if none can be moved."""
        if not self._can_splice:
            return False
        try:
            self._end += os.splice(pipe, self._file, count, offset_dst=self._end)
        except OSError as error:
            self._can_splice = error.errno not in (errno.EINVAL, errno.ENOSYS)  # not on this file system
            return False
        return True

    def _copy(self, data: bytes) -> None:
        """Write at the end of the file; what the disk does not take is lost: no script waits for it, or fails."""
        with contextlib.suppress(OSError):
            if not self.problem or self._end + len(data) <= self._limit:
                self._end += os.pwrite(self._file, data, self._end)

    def _make_room(self, count: int) -> bool:
        """Give back what of the middle has to go before so many bytes are written; False if that cannot be done."""
        excess = self._end + count - self._limit
        if self._limit <= 0 or excess <= 0:
            return True
        if self.problem:
            return False
        head = self._limit // 2 // BLOCK * BLOCK
        stop = min(-(-(head + excess) // BLOCK), self._end // BLOCK) * BLOCK
        start = max(head, self._punched)
        if stop > start:
            try:
                _punch_hole(self._file, start, stop - start)
            except OSError as error:
                self.problem = str(error.strerror)
                return False
            self._punched = stop
        return True


def _punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give the blocks of a range back (fallocate(2), FALLOC_FL_PUNCH_HOLE); the size stays."""
    libc = ctypes.CDLL(None, use_errno=True)
    mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
    if libc.fallocate(descriptor, mode, ctypes.c_longlong(offset), ctypes.c_longlong(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
