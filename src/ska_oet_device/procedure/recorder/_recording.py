"""One pipe, and the thread that takes what comes by it to a file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
import time
from collections.abc import Callable

from ._kept_file import BLOCK, LARGEST_PIECE, KeptFile

_INT = struct.Struct("i")
_MOMENT = 0.001  # seconds; the end of a procedure waits for that at most


class Recording:
    """What the processes of one worker print, until none of them is left that could.

    :param pipe: the end of it that is read; it is closed when all is done
    :param path: of the file; `limit`: how many bytes of it are kept, 0 for all
    :param before: what has to be done first, since it goes to the same file
    :param say: is told, in a sentence, what cannot be done; "" when the file could be opened
    """

    def __init__(self, pipe: int, path: str, limit: int, before: Recording | None, say: Callable[[str], None]) -> None:
        self._pipe = pipe
        self._path = path
        self._limit = limit
        self._before = before
        self._say = say
        self._file: KeptFile | None = None
        self._thread: threading.Thread | None = None
        self.done = threading.Event()

    def fileno(self) -> int:
        return self._pipe

    def begin(self) -> None:
        """Start the thread: something has come, or nothing ever will.  A disk that hangs keeps nobody else waiting."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def limit(self, limit: int) -> None:
        """Keep so many bytes from now on."""
        self._limit = limit
        file = self._file
        if file is not None:  # in a thread of its own, for the disk may hang
            threading.Thread(target=self._shorten, args=(file, limit), daemon=True).start()

    @staticmethod
    def _shorten(file: KeptFile, limit: int) -> None:
        with contextlib.suppress(OSError):  # it is closed meanwhile
            file.shorten(limit)

    def _run(self) -> None:
        try:
            if self._before is not None:
                self._before.done.wait()
                self._before = None
            if _waiting(self._pipe):
                self._record()
        finally:
            self.done.set()
            os.close(self._pipe)

    def _record(self) -> None:
        try:
            file = self._file = KeptFile(self._path, self._limit)
        except OSError as error:
            self._say(f"the output cannot be kept in {self._path}: {error}")
            self._pass_on()
            return
        self._say("")
        try:
            self._keep(file)
        finally:
            self._file = None
            file.close()

    def _keep(self, file: KeptFile) -> None:
        has_said = False
        while count := _waiting(self._pipe):
            file.take(self._pipe, min(count, file.piece))
            if count < BLOCK:  # who prints line by line should not wake us for each
                time.sleep(_MOMENT)
            if file.problem and not has_said:
                has_said = True
                self._say(f"the output in {self._path} cannot be shortened, and ends at its limit: {file.problem}")

    def _pass_on(self) -> None:
        """Have it go where the server's own output goes."""
        while _waiting(self._pipe):
            data = os.read(self._pipe, LARGEST_PIECE)
            with contextlib.suppress(OSError):  # nobody reads it
                os.write(1, data)


def _waiting(pipe: int) -> int:
    """Wait until something is in the pipe; returns how many bytes that are, 0: nobody can write to it any more."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.poll()
    (count,) = _INT.unpack(fcntl.ioctl(pipe, termios.FIONREAD, bytes(_INT.size)))
    return int(count)
