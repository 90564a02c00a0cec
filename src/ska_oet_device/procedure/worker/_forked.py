"""What processes that a script forks have to say: it goes by way of the worker, which alone has the pipe to main.

The first fork makes a socket for it, and a thread that passes on what comes in; who forks nothing has neither.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import select
import signal
import socket
import struct
import termios
import threading

from ...mptools import Connection
from ..messages import PUBSUB
from ..script_message import LARGEST_SAID, is_unheard, without_data

_log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds that a child waits for a worker that does not read
_CATCHING_UP = 1.0  # seconds that a worker waits for what its children said before
_MESSAGE, _MARK = b"m", b"k"
_INT = struct.Struct("i")


class ForkedProcesses:
    """The socket between a worker and all that its script forks, however deep.

    `before_fork` and `in_child` are for `os.register_at_fork`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ours: socket.socket | None = None
        self._theirs: socket.socket | None = None
        self._is_passing_on = False
        self._patience = _PATIENCE
        self._numbers = itertools.count()
        self._waiting: dict[bytes, threading.Event] = {}

    # -- in the worker

    def before_fork(self) -> None:
        """Make the socket, unless it is there.  In the thread that forks, whichever that is."""
        if self._theirs is not None:
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_SAID)  # as much of it as the system allows
            theirs.setblocking(False)
            self._ours, self._theirs = ours, theirs
            threading.Thread(target=self._pass_on, args=(ours,), name="forked", daemon=True).start()
        except (OSError, RuntimeError):  # no descriptor or thread is to be had; the fork itself may be possible
            _log.exception("what is forked from now on cannot tell its progress")

    def _pass_on(self, ours: socket.socket) -> None:
        """Send to main what children say, for ever.  Target of a thread of the worker."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        poll = select.poll()
        poll.register(ours, select.POLLIN)
        while True:
            poll.poll()
            self._is_passing_on = True
            packet = ours.recv(LARGEST_SAID + 1)
            if packet[:1] == _MESSAGE:
                self._connection.send(PUBSUB, packet[1:])
            elif (waits := self._waiting.pop(packet, None)) is not None:
                waits.set()
            self._is_passing_on = False

    def catch_up(self) -> None:
        """Wait until main has what children have said before this: it comes first in the order of events, too."""
        if self._ours is None or self._theirs is None or not (_is_readable(self._ours) or self._is_passing_on):
            return
        mark, reached = _MARK + str(next(self._numbers)).encode(), threading.Event()
        self._waiting[mark] = reached
        with contextlib.suppress(OSError):
            _send(self._theirs, mark, _CATCHING_UP)
            reached.wait(_CATCHING_UP)
        self._waiting.pop(mark, None)

    # -- in a child

    def in_child(self) -> None:
        """Leave the worker's end to the worker."""
        if self._ours is not None:
            self._ours.close()
            self._ours = None

    def tell(self, payload: bytes) -> None:
        """Send what was said to the worker.  In a forked process; waits some seconds, once, for a worker that hangs.

        :raises OSError: nobody will ever read it
        """
        if self._theirs is None:
            raise OSError(errno.ENOTCONN, "there is no way to the script's own process")
        try:
            _send(self._theirs, _MESSAGE + payload, self._patience)
        except TimeoutError:
            self._patience = 0.0
            raise
        except OSError as error:
            if error.errno != errno.EMSGSIZE or is_unheard(payload):
                raise
            _log.warning(
                "a message of %d bytes is too large for a forked process: it is told without data", len(payload)
            )
            self.tell(without_data(payload))


def _send(sock: socket.socket, packet: bytes, patience: float) -> None:
    """Send a packet to a socket that does not block.

    Asking whether it takes more comes second: it says so only when it is nearly empty.

    :param patience: seconds to wait for a reader
    :raises TimeoutError: it takes nothing
    """
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    while True:
        try:
            sock.send(packet, socket.MSG_NOSIGNAL)
            return
        except BlockingIOError:
            if not poll.poll(patience * 1000):
                raise TimeoutError(errno.ETIMEDOUT, "the script's own process does not read") from None


def _is_readable(sock: socket.socket) -> bool:
    (count,) = _INT.unpack(fcntl.ioctl(sock, termios.FIONREAD, bytes(_INT.size)))
    return bool(count)
