"""Framed messages over one end of a socket pair.

A frame is a length, a tag and a payload.  The tag lets a router pass a frame on without opening
it.  There are two kinds of end: a `Channel` never blocks and belongs to one event loop, a
`Connection` blocks and may be written to by several threads of a worker.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ._signals import InterruptGate

HEADER = struct.Struct("!IB")
LARGEST_FRAME = 64 * 1024 * 1024
_READ_SIZE = 256 * 1024
_GATHER = 64  # buffers for one sendmsg call; IOV_MAX is 1024


class Frame(NamedTuple):
    """One message: what kind it is, and its bytes."""

    tag: int
    payload: bytes


class BrokenPipeProtocolError(ValueError):
    """What arrived is not a sequence of frames: the other side wrote something else."""


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take more bytes and return the frames that are now whole.

        :raises BrokenPipeProtocolError: a length beyond all reason, so no frame at all
        """
        buffer = self._buffer
        buffer += data
        frames, start, size = [], 0, len(buffer)
        while size - start >= HEADER.size:
            length, tag = HEADER.unpack_from(buffer, start)
            if length > LARGEST_FRAME:
                raise BrokenPipeProtocolError(f"a frame of {length} bytes; at most {LARGEST_FRAME} are allowed")
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
    """

    def __init__(self, sock: socket.socket, *, corked: bool = False) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._corked = corked
        self._reader = FrameReader()
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
            data = self._sock.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:  # reset by a peer that died
            data = b""
        if not data:
            raise EOFError("the other side closed the pipe")
        return self._reader.feed(data)

    def drain(self) -> Iterator[Frame]:
        """Yield every frame that the kernel holds for us, until there is none or the end is reached."""
        while not self.closed:
            try:
                waiting = self._sock.recv(1, socket.MSG_PEEK)
                if not waiting:
                    return
                yield from self.receive()
            except (OSError, EOFError, BrokenPipeProtocolError):
                return

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


class Connection:
    """The end of a pipe in a worker: blocking, for any thread.

    A signal handler that raises must not leave half a frame behind, so frames are written with
    the `gate` closed: the exception waits until the frame is whole.
    """

    def __init__(self, sock: socket.socket, gate: InterruptGate | None = None) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        self._lock = threading.RLock()
        self._gate = gate or InterruptGate()
        self._open = True
        self._writing = False
        self._later: deque[bytes] = deque()
        self.broken = False

    def send(self, tag: int, payload: bytes) -> None:
        """Send one frame; waits while the reader is slow.  Says nothing if the pipe is gone."""
        self.send_frame(encode(tag, payload))

    def send_frame(self, frame: bytes, *, more: bool = False) -> None:
        """Send a frame that is encoded already; with `more`, together with the next one, which follows at once."""
        with self._gate.closed(), self._lock:
            self._later.append(frame)
            if not self._writing and not more:
                self._write()

    def _write(self) -> None:
        """Send what waits.  A signal handler of the script may come in between any two steps, and send, too.

        If it comes in the middle of the sending, its own waits; if not, it sends all there is itself.
        """
        while self._later:
            self._writing = True
            try:
                frames = self._later.popleft()
                while self._later:
                    frames += self._later.popleft()
                if self._open:
                    self._sock.sendall(frames)
            except IndexError:
                return
            except OSError:
                self.broken = True
            finally:
                self._writing = False

    def receive(self) -> Frame:
        """Wait for the next frame.

        :raises EOFError: the other side is gone
        """
        while not self._frames:
            try:
                data = self._sock.recv(_READ_SIZE)
            except OSError as error:
                raise EOFError("the pipe is gone") from error
            if not data:
                raise EOFError("the other side closed the pipe")
            self._frames.extend(self._reader.feed(data))
        return self._frames.popleft()

    def disown(self) -> None:
        """Forget the pipe in a forked copy of this process: it belongs to the parent alone."""
        self._open = False
        self._writing = False
        self._lock = threading.RLock()
        self._sock.close()
