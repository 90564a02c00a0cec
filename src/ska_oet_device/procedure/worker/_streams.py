"""Standard output and error of a worker: by line, and what has no end of a line yet is written a moment later.

A terminal shows a dot at once.  Here a thread writes what stands in a buffer, so that printing costs as good as
nothing: the first write only, until that thread has been there, finds a method of ours in the place of Python's.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import io
import os
import queue
import select
import signal
import stat
import termios
import threading
from time import monotonic, sleep  # what a script makes of the module is not for us
from typing import Any

_get_ident = threading.get_ident
_PAUSE = 0.15  # seconds that a part of a line stands in its buffer
_TAKEN_WITHIN = 0.2  # seconds that are waited for what was printed to be taken
_LOOK_AGAIN = 0.0001  # seconds; as a rule the recorder has taken it by then
_FORK_PATIENCE = 1.0  # seconds that a fork waits for the thread, which only a thread of the script's can keep waiting


class _LenientFile(io.FileIO):
    """Standard output: it waits for its reader, whatever a child has made of the pipe, which others have, too.

    The thread that writes unfinished lines never waits in here: it holds the buffer's lock, for which nobody who
    prints could be interrupted.
    """

    hurried: int | None = None
    """The identity of that thread while it writes."""

    def write(self, data: Any, /) -> int | None:  # type: ignore[override]
        if self.hurried is not None and self.hurried == _get_ident():
            return self._write_now(data)
        while (taken := super().write(data)) is None:  # a program has made it one that does not wait, as some do
            select.select((), (self,), ())
        return taken

    def _write_now(self, data: Any) -> int | None:
        """Write what a pipe takes now; None: nothing.

        It is opened anew for that: that it does not wait is a matter of the opening, and this one is shared by all.

        :raises OSError: the script has put something else there, or there is no descriptor to be had
        """
        if not _is_pipe(self.fileno()):
            raise io.UnsupportedOperation("not a pipe")
        descriptor = os.open(f"/proc/self/fd/{self.fileno()}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            return None
        finally:
            os.close(descriptor)


class Flusher:
    """The thread of a worker that writes what has stood in the buffers of its standard streams for a moment.

    It sleeps while nothing is printed.
    """

    def __init__(self) -> None:
        self._noted: queue.SimpleQueue[io.BufferedWriter[Any]] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._followed: dict[io.BufferedWriter[Any], None] = {}

    def start(self) -> None:
        """Start the thread; a fork waits until it holds no buffer's lock, which would never be released in a child."""
        threading.Thread(target=self._run, name="output", daemon=True).start()
        os.register_at_fork(
            before=lambda: self._lock.acquire(timeout=_FORK_PATIENCE),
            after_in_parent=self._release,
            after_in_child=self._in_child,
        )

    def follow(self, buffer: io.BufferedWriter[Any]) -> None:
        """Have the next write to a buffer noted; the others behind it are Python's own until this thread has flushed.

        Whoever prints may be interrupted between any two steps, by a handler of a signal.
        """

        def write(data: Any, /) -> int:
            names = vars(buffer)
            self._noted.put(buffer)
            names.pop("write", None)
            taken = buffer.write(data)
            if "write" in names:  # the thread has been there already
                self._noted.put(buffer)
            return taken

        self._followed[buffer] = None
        buffer.write = write  # type: ignore[method-assign]

    def write_now(self) -> None:
        """Write what stands in the buffers, as far as the pipe takes it now, and wait a moment until that is taken.

        What is not taken by then follows as ever.  Main thread of a worker, between two functions of the script.
        """
        for buffer in list(self._followed):
            if "write" not in vars(buffer):  # else nothing was printed since it was written
                self._try_to_flush(buffer)
        _wait_until_taken()

    def _release(self) -> None:
        with contextlib.suppress(RuntimeError):  # that fork did not wait any longer
            self._lock.release()

    def _in_child(self) -> None:
        """A child has no such thread: there a line is written when it ends."""
        self._lock = threading.RLock()
        self._noted = queue.SimpleQueue()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            noted = {self._noted.get(): None}  # in the order in which they were printed to
            sleep(_PAUSE)
            with contextlib.suppress(queue.Empty):
                while True:
                    noted[self._noted.get_nowait()] = None
            for buffer in noted:
                self._try_to_flush(buffer)

    def _try_to_flush(self, buffer: io.BufferedWriter[Any]) -> None:
        with self._lock, contextlib.suppress(Exception):  # what the script has put there, or closed, is its own
            self._flush(buffer)

    def _flush(self, buffer: io.BufferedWriter[Any]) -> None:
        self.follow(buffer)  # first: what comes from now on is noted anew
        file: _LenientFile = buffer.raw
        file.hurried = _get_ident()
        try:
            buffer.flush()
        except BlockingIOError:  # the pipe is full
            self._noted.put(buffer)
        finally:
            file.hurried = None


def _wait_until_taken() -> None:
    """Wait until nothing is left in the pipe of what was printed: what the recorder takes is in its file before.

    Not for long: a thread of the script's may print without end, and a recorder may hang.
    """
    until = monotonic() + _TAKEN_WITHIN
    while any(map(_has_unread, (1, 2))) and monotonic() < until:
        sleep(_LOOK_AGAIN)


def _has_unread(descriptor: int) -> bool:
    """Say whether something stands in the pipe behind a descriptor; False if the script has put another file there."""
    unread = array.array("i", [0])
    with contextlib.suppress(OSError):
        if _is_pipe(descriptor):
            fcntl.ioctl(descriptor, termios.FIONREAD, unread)
    return unread[0] > 0


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def text_stream(descriptor: int, name: str, flusher: Flusher | None = None) -> io.TextIOWrapper:
    """Return a stream that writes by line, so that what a script prints can be followed while it runs.

    :param name: as Python calls it
    :param flusher: writes what is no line yet; without one it stands until the line ends
    """
    file = _LenientFile(descriptor, "w", closefd=False)
    file.name = name
    buffer = io.BufferedWriter(file)
    if flusher is not None:
        flusher.follow(buffer)
    stream = io.TextIOWrapper(
        buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=True
    )
    stream.mode = "w"  # type: ignore[misc]
    return stream
