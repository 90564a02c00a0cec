"""What a process needs of what it inherits: descriptors, signals, file modes, limits.

Whoever starts a server decides over these without a word.  Tango's Starter, for one, blocks nearly every signal in what
it starts; shells, service managers and batch systems have habits of their own.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import select
import signal
import socket
import stat
import sys

from ._signals import reset_signals

_OTHERS_MAY_WRITE, _OWNER_MAY = 0o022, 0o700
_MOST_FILES = 65536
_KEPT_BACK = 32  # descriptors that main keeps for itself: another device server and template, /proc, files
_SHARE_KEPT_BACK = 4  # a fourth, where the limit is so low that this is less
_STACK = 8 * 1024**2  # bytes; what Linux gives where nobody says otherwise

# What would end this server, or a script, at a moment that nobody can foresee.
_RAISED = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NPROC,
)


def set_up_process() -> None:
    """Give this process, and all that it will start, what they need, whatever was inherited.

    For main, before anything else.  SIGHUP stays ignored in this process if it is: that is how nohup(1) works.
    """
    open_standard_descriptors()
    replace_standard_streams()
    keep_descriptors_to_oneself()
    ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    reset_signals(keep={signal.SIGHUP} if ignores_hangup else ())
    mend_umask()
    raise_limits()


def open_standard_descriptors() -> None:
    """Open closed ones of the descriptors 0 to 2 on /dev/null: the next file opened would be taken for one."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, thus this one
            os.set_inheritable(opened, True)


class _LossyFile(io.FileIO):
    """A standard stream that drops what is not taken.

    A reader that is gone or does not read, or a full disk, must neither end nor stop a process that logs.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._is_plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._dropped = 0

    def write(self, data: object, /) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        if self._dropped and self._taken(memoryview(b"(%d bytes were not taken, and are lost)\n" % self._dropped)):
            self._dropped = 0
        self._dropped += len(view) - self._taken(view)
        return len(view)

    def _taken(self, view: memoryview) -> int:
        """Write what is taken without waiting; returns how many bytes that was."""
        piece = len(view) if self._is_plain else select.PIPE_BUF
        taken = 0
        try:
            while taken < len(view) and self._poll.poll(0):
                taken += super().write(view[taken : taken + piece]) or 0
        except OSError:
            pass
        return taken


def replace_standard_streams() -> None:
    """Have standard output and standard error of this process raise nothing, and not wait for a reader."""
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process lives
    sys.stdout, sys.stderr = _stream(1), _stream(2)


def _stream(descriptor: int) -> io.TextIOWrapper:
    file = io.BufferedWriter(_LossyFile(descriptor))
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def keep_descriptors_to_oneself() -> None:
    """Have what is open beside the standard descriptors be closed in the programs that this process starts."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2:
            with contextlib.suppress(OSError):  # the one by which the folder was read
                os.set_inheritable(descriptor, False)


def mend_umask() -> None:
    """Have the owner keep all rights to new files, and nobody else the right to write to them."""
    os.umask((os.umask(0) & ~_OWNER_MAY) | _OTHERS_MAY_WRITE)


def raise_limits() -> None:
    """Raise the soft limits that could end this server or a script as far as the hard ones allow."""
    for limit in _RAISED:
        _raise_limit(limit, resource.RLIM_INFINITY)
    _raise_limit(resource.RLIMIT_NOFILE, _MOST_FILES)
    _raise_limit(resource.RLIMIT_STACK, _STACK)


def _raise_limit(limit: int, wanted: int) -> None:
    soft, hard = resource.getrlimit(limit)
    wanted = _lower(wanted, hard)
    if _lower(soft, wanted) != wanted:
        resource.setrlimit(limit, (wanted, hard))


def _lower(one: int, other: int) -> int:
    if resource.RLIM_INFINITY in (one, other):
        return other if one == resource.RLIM_INFINITY else one
    return min(one, other)


def worker_pipe() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a pipe for a worker, as long as that leaves this process descriptors for what it must do.

    :raises OSError: there is none to be had, or too few would be left
    """
    ours, theirs = socket.socketpair()
    try:
        _keep_back(ours.fileno(), theirs.fileno())
    except OSError:
        ours.close()
        theirs.close()
        raise
    return ours, theirs


def output_pipe() -> tuple[int, int]:
    """Return the end that is read and the end that is written of a pipe for what a worker prints; see `worker_pipe`.

    :raises OSError: there is none to be had, or too few descriptors would be left
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        _keep_back(reader, writer)
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    return reader, writer


def _keep_back(*descriptors: int) -> None:
    """Say whether these leave enough of them.

    The kernel gives the lowest number that is free, and the limit is one of numbers: no counting is needed.

    :raises OSError: they do not
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    highest = max(descriptors)
    if limit != resource.RLIM_INFINITY and highest >= limit - min(_KEPT_BACK, limit // _SHARE_KEPT_BACK):
        raise OSError(errno.EMFILE, f"{highest - 1} of {limit} file descriptors are in use, and the rest is kept back")
