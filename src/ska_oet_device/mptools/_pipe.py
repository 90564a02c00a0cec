"""Framed messages over one end of a socket pair.

A frame is a length, a tag and a payload.  The tag lets a router pass a frame on without opening
it.  There are two kinds of end: a `Channel` never blocks and belongs to one event loop, a
`Connection` blocks and may be written to by several threads of a worker.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import select
import socket
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ._signals import InterruptGate

HEADER = struct.Struct("!IB")
LARGEST_FRAME = 64 * 1024 * 1024
_READ_SIZE = 256 * 1024
_MOST_DRAINED = 8 * 1024 * 1024  # bytes; a pipe holds some 200 kB, unless root has made it larger
_DRAIN_PATIENCE = 0.5  # seconds
_INT = struct.Struct("i")
_PASSING = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EINTR})  # a script may make it non-blocking
_MOMENT = 0.01  # seconds
_GATHER = 64  # buffers for one sendmsg call; IOV_MAX is 1024


class Frame(NamedTuple):
    """One message: what kind it is, and its bytes."""

    tag: int
    payload: bytes


class BrokenPipeProtocolError(ValueError):
    """What arrived is not a sequence of frames: the other side wrote something else."""


class FrameReader:
    """Cuts a stream of bytes into frames.

    :param largest: bytes that a frame of each tag may have, no other tag being known; None: `LARGEST_FRAME` for all
    """

    def __init__(self, largest: Mapping[int, int] | None = None) -> None:
        self._buffer = bytearray()
        self._largest = largest

    def feed(self, data: bytes) -> list[Frame]:
        """Take more bytes and return the frames that are now whole.

        :raises BrokenPipeProtocolError: a length beyond all reason, so no frame at all, or one that is not allowed
        """
        buffer, largest = self._buffer, self._largest
        buffer += data
        frames, start, size = [], 0, len(buffer)
        while size - start >= HEADER.size:
            length, tag = HEADER.unpack_from(buffer, start)
            most = LARGEST_FRAME if largest is None else largest.get(tag)
            if most is None:
                raise BrokenPipeProtocolError(f"a frame of tag {tag}, which is not known")
            if length > most:
                raise BrokenPipeProtocolError(f"a frame of {length} bytes; at most {most} are allowed")
            end = start + HEADER.size + length
            if end > size:
                break
            frames.append(Frame(tag, bytes(buffer[start + HEADER.size : end])))
            start = end
        if start:
            del buffer[:start]
        return frames


def encode(tag: int, payload: bytes) -> bytes:
    """Return the bytes of one frame."""
    if len(payload) > LARGEST_FRAME:
        raise ValueError(f"a message of {len(payload)} bytes; at most {LARGEST_FRAME} are allowed")
    return HEADER.pack(len(payload), tag) + payload


class Channel:
    """The end of a pipe in an event loop: reads what is there, buffers what cannot be sent yet.

    A corked one sends nothing before `flush`: what belongs together wakes the reader once.

    :param largest: as of `FrameReader`
    :param read_size: bytes that are read at once: whoever writes without end keeps others waiting for so long
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        corked: bool = False,
        largest: Mapping[int, int] | None = None,
        read_size: int = _READ_SIZE,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._corked = corked
        self._reader = FrameReader(largest)
        self._read_size = read_size
        self._out: deque[memoryview] = deque()
        self.pending = 0
        self.closed = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def receive(self) -> list[Frame]:
        """Return the frames that have arrived, possibly none.

        :raises EOFError: the other side is gone, and all it sent has been returned
        :raises BrokenPipeProtocolError: the other side wrote something else than frames
        """
        try:
            data = self._sock.recv(self._read_size)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:  # reset by a peer that died
            data = b""
        if not data:
            raise EOFError("the other side closed the pipe")
        return self._reader.feed(data)

    def drain(self) -> Iterator[Frame]:
        """Yield every frame that the kernel holds for us now.

        What is written after this, by whoever else holds the other end, is not read: it could go on for ever.
        """
        deadline = time.monotonic() + _DRAIN_PATIENCE
        waiting = min(self._waiting(), _MOST_DRAINED)
        while waiting > 0 and not self.closed and time.monotonic() < deadline:
            try:
                data = self._sock.recv(min(waiting, self._read_size))
                frames = self._reader.feed(data)
            except (OSError, BrokenPipeProtocolError):
                return
            if not data:
                return
            waiting -= len(data)
            yield from frames

    def _waiting(self) -> int:
        """Return how many bytes the kernel holds for us."""
        if self.closed:
            return 0
        (count,) = _INT.unpack(fcntl.ioctl(self._sock, termios.FIONREAD, bytes(_INT.size)))
        return int(count)

    def refuse(self) -> None:
        """Take nothing more: what the other side sends from now on is an error there, and never waits for us."""
        with contextlib.suppress(OSError):  # the other side is gone
            self._sock.shutdown(socket.SHUT_RD)

    def send_with(self, frame: bytes, descriptor: int) -> None:
        """Send an encoded frame, the first of all, with a descriptor; without it if the kernel does not take that now.

        The descriptor stays ours, to be closed.
        """
        sent = 0
        if not self.closed and not self._out:
            with contextlib.suppress(OSError):
                sent = socket.send_fds(self._sock, [frame], [descriptor])
        if sent < len(frame):
            self.send(frame[sent:])

    def send(self, frame: bytes) -> None:
        """Send an encoded frame, or as much as fits now, and keep the rest (if corked, all of it) for `flush`."""
        if self.closed:
            return
        self._out.append(memoryview(frame))
        self.pending += len(frame)
        if len(self._out) == 1 and not self._corked:
            self.flush()

    def flush(self) -> None:
        """Send what was kept, as far as it can be taken now."""
        while self._out:
            try:
                sent = self._sock.sendmsg([self._out[i] for i in range(min(len(self._out), _GATHER))])
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # The reader is gone: its end shows as EOF on our reading side, which is where it is handled.
                self._out.clear()
                self.pending = 0
                return
            self._drop(sent)

    def _drop(self, count: int) -> None:
        self.pending -= count
        while count:
            head = self._out[0]
            if len(head) > count:
                self._out[0] = head[count:]
                return
            count -= len(head)
            self._out.popleft()

    def close(self) -> None:
        """End the pipe: for the other side, too, if a forked process has a copy of our end."""
        if not self.closed:
            self.closed = True
            self._out.clear()
            self.pending = 0
            with contextlib.suppress(OSError):  # the other side is gone
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()


class _Outgoing:
    """Bytes that are being sent, and how many of them the kernel has taken, as one call after the other said."""

    __slots__ = ("data", "taken")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.taken: list[int] = []

    def send(self, sock: socket.socket) -> None:
        """Send what is left.  A handler of a signal that raises in here leaves no doubt about how much that is.

        It may come in between any two steps of Python: that something is sent, and noted, is one call.
        """
        data, taken = self.data, self.taken
        while (done := sum(taken)) < len(data):
            taken.extend(map(sock.send, (memoryview(data)[done:] if done else data,)))


class Connection:
    """The end of a pipe in a worker: blocking, for any thread.

    A signal handler that raises must not leave half a frame behind.  Our own are kept from it by the `gate`, which is
    closed meanwhile; what another one raises, a script's, say, waits here until the frame is whole.
    """

    def __init__(self, sock: socket.socket, gate: InterruptGate | None = None) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        self._lock = threading.RLock()
        self._gate = gate or InterruptGate()
        self._open = True
        self._writing = False
        self._later: list[_Outgoing] = []
        self._descriptor: int | None = None
        self._wants_descriptor = True
        self.broken = False

    def send(self, tag: int, payload: bytes) -> None:
        """Send one frame; waits while the reader is slow.  Says nothing if the pipe is gone."""
        self.send_frame(encode(tag, payload))

    def send_frame(self, frame: bytes, *, more: bool = False) -> None:
        """Send a frame that is encoded already; with `more`, together with the next one, which follows at once."""
        with self._gate.closed(), self._lock:
            self._later.append(_Outgoing(frame))
            if not self._writing and not more:
                self._write()

    def _write(self) -> None:
        """Send what waits.  A signal handler of the script may come in between any two steps, and send, too.

        If it comes in the middle of the sending, its own waits; if not, it sends all there is itself.

        :raises BaseException: what such a handler has raised meanwhile, the first of them, once all is sent
        """
        raised: BaseException | None = None
        while self._later:
            self._writing = True
            try:
                self._write_next()
            except MemoryError:  # as often as one tries; what is left goes with the next frame
                raise
            except BaseException as error:
                raised = raised or error
            finally:
                self._writing = False
        if raised is not None:
            raise raised

    def _write_next(self) -> None:
        """Send the first of what waits, and whatever can go with it."""
        later = self._later
        if len(later) > 1:
            self._join(len(later))
        if not later or not self._open or self.broken:
            later.clear()
            return
        try:
            later[0].send(self._sock)
            del later[0]
        except OSError as error:
            if _comes_from_a_handler(error):
                raise
            self._cannot_send(error)

    def _join(self, count: int) -> None:
        """Make one of the first that wait, if they are small and nothing of them is sent."""
        later = self._later
        if not any(each.taken for each in later) and sum(len(each.data) for each in later) < _READ_SIZE:
            later[:count] = [_Outgoing(b"".join([each.data for each in later[:count]]))]

    def _cannot_send(self, error: OSError) -> None:
        """Wait a moment, if that is what it takes; else the pipe is broken."""
        if error.errno in _PASSING:
            time.sleep(_MOMENT)
        else:
            self.broken = True

    def wait(self, seconds: float) -> bool:
        """Wait so long, at most, until something has arrived; says whether it has."""
        return bool(self._frames) or bool(self._poll.poll(seconds * 1000))

    def receive(self) -> Frame:
        """Wait for the next frame.

        :raises EOFError: the other side is gone
        """
        while not self._frames:
            try:
                data = self._receive()
            except OSError as error:
                raise EOFError("the pipe is gone") from error
            if not data:
                raise EOFError("the other side closed the pipe")
            self._frames.extend(self._reader.feed(data))
        return self._frames.popleft()

    def _receive(self) -> bytes:
        """Return the next bytes, and keep the descriptor that comes with the first of all."""
        if not self._wants_descriptor:
            return self._sock.recv(_READ_SIZE)
        data, descriptors, _, _ = socket.recv_fds(self._sock, _READ_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
        self._wants_descriptor = False
        if descriptors:
            self._descriptor = descriptors[0]
        return data

    def take_descriptor(self) -> int | None:
        """Return the descriptor that has come with the first frame, if one has, once: it is the caller's to close."""
        descriptor, self._descriptor = self._descriptor, None
        return descriptor

    def disown(self) -> None:
        """Forget the pipe in a forked copy of this process: it belongs to the parent alone."""
        self._open = False
        self._writing = False
        self._later.clear()
        self._lock = threading.RLock()
        self._sock.close()


def _comes_from_a_handler(error: BaseException) -> bool:
    """Say whether an exception that was caught where a system call was made comes from a signal handler in it.

    What a handler raises may be any OSError: TimeoutError is one, and is what is usual.
    """
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code not in _OUR_STEPS:
            return True
        trace = trace.tb_next
    return False


_OUR_STEPS = frozenset({Connection._write_next.__code__, _Outgoing.send.__code__})
