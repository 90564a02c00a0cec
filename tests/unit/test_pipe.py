"""Framed messages over one end of a socket pair."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import wait_until

from ska_oet_device.mptools import (
    BrokenPipeProtocolError,
    Channel,
    Connection,
    Frame,
    FrameReader,
    InterruptGate,
    TerminateInterrupt,
    encode,
)
from ska_oet_device.mptools._pipe import HEADER, LARGEST_FRAME

FRAMES = st.lists(st.builds(Frame, st.integers(0, 255), st.binary(max_size=60)), max_size=8)


def stream_of(frames: list[Frame]) -> bytes:
    return b"".join(encode(frame.tag, frame.payload) for frame in frames)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def fill(channel: Channel) -> int:
    """Send until the kernel takes no more; returns how many frames of 10,000 bytes that were."""
    count = 0
    while not channel.pending:
        channel.send(encode(1, bytes([count % 256]) * 10_000))
        count += 1
    return count


class TestFrameReader:
    @given(FRAMES, st.data())
    def test_any_cut_of_the_stream_gives_the_same_frames(self, frames, data):
        stream = stream_of(frames)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
        reader, found = FrameReader(), []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            found += reader.feed(stream[start:end])
        assert found == frames

    @given(FRAMES)
    def test_a_stream_that_comes_byte_by_byte_gives_the_same_frames(self, frames):
        reader = FrameReader()
        assert [frame for byte in stream_of(frames) for frame in reader.feed(bytes([byte]))] == frames

    def test_a_length_beyond_all_reason_is_no_frame(self):
        with pytest.raises(BrokenPipeProtocolError, match=str(LARGEST_FRAME)):
            FrameReader().feed(struct.pack("!IB", LARGEST_FRAME + 1, 1))

    def test_text_on_the_pipe_is_no_frame(self):
        with pytest.raises(BrokenPipeProtocolError):
            FrameReader().feed(b"Traceback (most recent call last):")

    @given(st.integers(0, 2**32 - 1), st.integers(0, 255))
    def test_a_frame_is_refused_by_its_header_if_its_tag_may_not_be_so_large(self, length, tag):
        reader, allowed = FrameReader({1: 100, 3: 0}), {1: 100, 3: 0}.get(tag)
        header = struct.pack("!IB", length, tag)
        if allowed is None or length > allowed:
            with pytest.raises(BrokenPipeProtocolError, match="not known" if allowed is None else "allowed"):
                reader.feed(header)
        else:
            assert reader.feed(header + bytes(length)) == [Frame(tag, bytes(length))]

    def test_a_message_that_is_too_large_is_not_encoded(self):
        with pytest.raises(ValueError, match=str(LARGEST_FRAME)):
            encode(1, memoryview(bytearray(LARGEST_FRAME + 1)))


class TestChannel:
    def test_what_is_sent_arrives_in_order(self, pair):
        one, other = Channel(pair[0]), Channel(pair[1])
        for number in range(10):
            one.send(encode(number, b"x" * number))
        assert other.receive() == [Frame(number, b"x" * number) for number in range(10)]
        assert one.pending == 0

    def test_reading_when_nothing_is_there_returns_nothing_and_does_not_wait(self, pair):
        assert Channel(pair[0]).receive() == []

    def test_what_a_slow_reader_does_not_take_is_kept_and_nothing_blocks(self, pair):
        channel, reader = Channel(pair[0]), FrameReader()
        count = fill(channel)
        for number in range(count, count + 200):
            channel.send(encode(1, bytes([number % 256]) * 10_000))
        assert channel.pending > 1_900_000
        channel.flush()  # still nobody reads
        assert channel.pending > 1_900_000
        found: list[Frame] = []
        while channel.pending:
            found += reader.feed(pair[1].recv(100_000))
            channel.flush()
        pair[1].setblocking(False)
        while len(found) < count + 200:
            found += reader.feed(pair[1].recv(100_000))
        assert [frame.payload[0] for frame in found] == [number % 256 for number in range(count + 200)]

    def test_pending_counts_the_bytes_that_wait(self, pair):
        channel = Channel(pair[0])
        fill(channel)
        before = channel.pending
        channel.send(encode(1, b"12345"))
        assert channel.pending == before + HEADER.size + 5

    def test_a_corked_one_sends_nothing_before_it_is_flushed(self, pair):
        one, other = Channel(pair[0], corked=True), Channel(pair[1])
        for number in range(3):
            one.send(encode(number, b"x"))
        assert other.receive() == []
        assert one.pending == 3 * (HEADER.size + 1)
        one.flush()
        assert other.receive() == [Frame(number, b"x") for number in range(3)]

    def test_sending_to_a_peer_that_is_gone_is_no_error_and_keeps_nothing(self, pair):
        channel = Channel(pair[0])
        pair[1].close()
        channel.send(encode(1, b"x"))
        assert channel.pending == 0

    def test_the_peers_end_shows_after_everything_it_sent(self, pair):
        channel = Channel(pair[0])
        pair[1].sendall(encode(1, b"last words"))
        pair[1].close()
        assert channel.receive() == [Frame(1, b"last words")]
        with pytest.raises(EOFError):
            channel.receive()

    def test_draining_yields_everything_up_to_the_end_of_the_peer(self, pair):
        sent = [Frame(number % 250, bytes(900)) for number in range(100)]
        pair[1].sendall(stream_of(sent))
        pair[1].close()
        assert list(Channel(pair[0]).drain()) == sent

    def test_draining_ends_when_nothing_is_there_though_someone_holds_the_other_end(self, pair):
        pair[1].sendall(encode(1, b"x") + b"\0\0")
        assert list(Channel(pair[0]).drain()) == [Frame(1, b"x")]

    @pytest.mark.parametrize("data", [encode(3, b""), encode(1, bytes(10_000))], ids=["empty", "large"])
    def test_draining_ends_though_someone_writes_without_end(self, pair, data):
        channel, done = Channel(pair[0]), threading.Event()

        def write() -> None:
            with contextlib.suppress(OSError):
                while not done.is_set():
                    pair[1].sendall(data * 100)

        writer = threading.Thread(target=write)
        writer.start()
        wait_until(lambda: select.select([channel], [], [], 0)[0], what="the first bytes")
        began = time.monotonic()
        for _ in channel.drain():
            pass
        took = time.monotonic() - began
        done.set()
        channel.close()
        writer.join()
        assert took < 10  # it is some hundredths; it was without end

    def test_draining_does_not_wait_for_a_slow_user_without_end(self, pair, monkeypatch):
        monkeypatch.setattr("ska_oet_device.mptools._pipe._DRAIN_PATIENCE", 0.05)
        pair[1].sendall(encode(1, bytes(1000)) * 100)
        channel = Channel(pair[0], read_size=1000)
        assert 1 <= sum(1 for _ in channel.drain() if time.sleep(0.02) is None) < 10

    def test_who_is_refused_is_told_so_and_does_not_wait(self, pair):
        channel = Channel(pair[0])
        channel.refuse()
        with pytest.raises(BrokenPipeError):
            pair[1].sendall(bytes(10_000_000))
        channel.send(encode(1, b"but is spoken to"))
        assert pair[1].recv(100).endswith(b"spoken to")
        assert list(channel.drain()) == []

    def test_draining_garbage_ends_quietly(self, pair):
        pair[1].sendall(b"this is no frame")
        assert list(Channel(pair[0]).drain()) == []

    def test_draining_takes_up_where_reading_stopped_amid_a_frame(self, pair):
        channel = Channel(pair[0])
        stream = encode(7, b"in two pieces")
        pair[1].sendall(stream[:8])
        assert channel.receive() == []
        pair[1].sendall(stream[8:])
        assert list(channel.drain()) == [Frame(7, b"in two pieces")]

    def test_a_closed_channel_takes_nothing_and_may_be_closed_again(self, pair):
        channel = Channel(pair[0])
        fill(channel)
        channel.close()
        channel.close()
        channel.send(encode(1, b"x"))
        assert channel.pending == 0
        assert list(channel.drain()) == []


class TestConnection:
    def test_waits_for_the_next_frame_and_returns_one_at_a_time(self, pair):
        connection = Connection(pair[0])
        pair[1].sendall(stream_of([Frame(1, b"a"), Frame(2, b"b")]))
        assert connection.receive() == Frame(1, b"a")
        assert connection.receive() == Frame(2, b"b")

    def test_the_peers_end_is_the_end_of_file(self, pair):
        pair[1].close()
        with pytest.raises(EOFError):
            Connection(pair[0]).receive()

    def test_sending_to_a_peer_that_is_gone_is_no_error(self, pair):
        pair[1].close()
        Connection(pair[0]).send(1, b"x")

    def test_frames_of_many_threads_are_not_mixed(self, pair):
        connection, channel = Connection(pair[0]), Connection(pair[1])

        def speak(tag: int) -> None:
            for _ in range(20):
                connection.send(tag, bytes([tag]) * 50_000)

        threads = [threading.Thread(target=speak, args=(tag,)) for tag in range(5)]
        for thread in threads:
            thread.start()
        frames = [channel.receive() for _ in range(100)]
        for thread in threads:
            thread.join()
        assert all(frame.payload == bytes([frame.tag]) * 50_000 for frame in frames)
        assert sorted(frame.tag for frame in frames) == sorted([*range(5)] * 20)

    def test_a_frame_that_is_not_the_last_goes_with_the_next_one(self, pair):
        connection, reader = Connection(pair[0]), FrameReader()
        pair[1].setblocking(False)
        connection.send_frame(encode(1, b"a"), more=True)
        with pytest.raises(BlockingIOError):
            pair[1].recv(1)
        connection.send(2, b"b")
        assert reader.feed(pair[1].recv(100)) == [Frame(1, b"a"), Frame(2, b"b")]

    def test_a_disowned_connection_says_nothing_any_more(self, pair):
        connection = Connection(pair[0].dup())
        connection.disown()
        connection.send(1, b"x")
        pair[1].setblocking(False)
        with pytest.raises(BlockingIOError):
            pair[1].recv(1)


class SlowReader:
    """Reads a socket to its end in small pieces, not before it is let."""

    def __init__(self, sock: socket.socket) -> None:
        self.go = threading.Event()
        self.frames: list[Frame] = []
        self.rest = 0
        self._sock = sock
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        reader = FrameReader()
        self.go.wait()
        while data := self._sock.recv(65_536):
            self.rest += len(data)
            for frame in reader.feed(data):
                self.frames.append(frame)
                self.rest -= HEADER.size + len(frame.payload)

    def join(self) -> None:
        self.go.set()
        self._thread.join()


@pytest.fixture
def alarm():
    """Have SIGALRM raise TerminateInterrupt through a gate."""
    gate = InterruptGate()
    arrived = []

    def handler(signum: int, frame: object) -> None:
        arrived.append(signum)
        gate.interrupt(TerminateInterrupt("alarm"))

    # Hypothesis has Python call it for each garbage collection; what a handler raises in such a call is ignored.
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    before = signal.signal(signal.SIGALRM, handler)
    yield gate, arrived
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.callbacks.extend(callbacks)
    signal.signal(signal.SIGALRM, before)


def alarm_in_a_frame(sock: socket.socket) -> None:
    """Send SIGALRM to the main thread as soon as the beginning of a frame has arrived at `sock`; for another thread."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    select.select([sock], [], [], 20)
    os.kill(os.getpid(), signal.SIGALRM)


class TestASignalWhileAFrameIsSent:
    @pytest.mark.parametrize("size", [10, 10_000_000])
    def test_the_frame_is_whole_and_the_interrupt_comes_after_it(self, pair, alarm, size):
        gate, arrived = alarm
        connection, reader = Connection(pair[0], gate), SlowReader(pair[1])
        interrupted = False

        def let_go_when_the_signal_is_there() -> None:
            alarm_in_a_frame(pair[1])
            if size > 1_000_000:  # the sender is held up in the frame until the signal has come
                wait_until(lambda: arrived, what="the alarm")
            reader.go.set()

        helper = threading.Thread(target=let_go_when_the_signal_is_there)
        helper.start()
        try:
            with gate.open():
                connection.send(5, bytes(size))
                time.sleep(30)
        except TerminateInterrupt:
            interrupted = True
        helper.join()
        connection.send(6, b"after")
        pair[0].close()
        reader.join()
        assert interrupted
        assert [(frame.tag, len(frame.payload)) for frame in reader.frames] == [(5, size), (6, 5)]
        assert reader.rest == 0

    @pytest.mark.usefixtures("alarm")
    # What a signal raises in a destructor, or in a callback of the collector, nobody can catch.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_many_signals_at_any_moment_leave_no_frame_torn(self, pair):
        connection, reader = Connection(pair[0]), SlowReader(pair[1])
        reader.go.set()
        sent, deadline = 0, time.monotonic() + 20
        for _ in range(50):
            one = InterruptGate()
            connection._gate = one
            signal.signal(signal.SIGALRM, lambda *_, one=one: one.interrupt(TerminateInterrupt()))
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            try:
                with one.open():
                    # Python keeps what is raised in a destructor to itself, and whatever runs there may be hit.
                    while not one.raised and time.monotonic() < deadline:
                        connection.send(1, bytes(3000))
                        sent += 1
            except TerminateInterrupt:
                pass
            assert one.raised
        pair[0].close()
        reader.join()
        assert reader.rest == 0
        assert sent <= len(reader.frames) <= sent + 50  # one each may be sent and not counted

    @pytest.mark.parametrize("size", [10, 3_000_000])
    def test_a_handler_that_sends_waits_for_no_one_and_tears_nothing(self, pair, size):
        connection, reader = Connection(pair[0]), SlowReader(pair[1])
        reader.go.set()
        beats = 0

        def beat(*_: object) -> None:
            nonlocal beats
            beats += 1
            connection.send(2, b"beat")

        before = signal.signal(signal.SIGALRM, beat)
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        try:
            sent = 0
            while beats < 50:
                connection.send(1, bytes(size))
                sent += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        pair[0].close()
        reader.join()
        assert [len(frame.payload) for frame in reader.frames if frame.tag == 1] == [size] * sent
        assert [frame.payload for frame in reader.frames if frame.tag == 2] == [b"beat"] * beats
        assert reader.rest == 0

    @pytest.mark.usefixtures("alarm")
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("error", [TimeoutError, BrokenPipeError, KeyError, IndexError, KeyboardInterrupt])
    @pytest.mark.parametrize("size", [10, 3_000_000])
    def test_what_a_scripts_own_handler_raises_tears_nothing_and_breaks_nothing(self, pair, error, size):
        connection, reader = Connection(pair[0]), SlowReader(pair[1])
        reader.go.set()
        frame, alarms = encode(1, bytes(size)), 0

        def give_up(*_: object) -> None:
            nonlocal alarms
            alarms += 1
            raise error(32, "too late")

        signal.signal(signal.SIGALRM, give_up)
        sent = 0
        for count in range(1, 101):
            with contextlib.suppress(error):
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
                while alarms < count:
                    connection.send_frame(frame)
                    sent += 1
        connection.send(2, b"after")
        pair[0].close()
        reader.join()
        assert not connection.broken
        assert reader.rest == 0
        assert reader.frames[-1] == Frame(2, b"after")
        assert {len(frame.payload) for frame in reader.frames[:-1]} == {size}
        assert sent <= len(reader.frames) - 1 <= sent + 100  # one each may be sent and not counted

    def test_what_a_handler_raises_in_a_frame_that_waits_is_raised_when_it_is_whole(self, pair, alarm):
        connection, reader = Connection(pair[0]), SlowReader(pair[1])
        arrived = alarm[1]

        def give_up(signum: int, _: object) -> None:
            arrived.append(signum)
            raise TimeoutError

        def let_go_when_the_signal_is_there() -> None:
            alarm_in_a_frame(pair[1])
            wait_until(lambda: arrived, what="the alarm")
            reader.go.set()

        signal.signal(signal.SIGALRM, give_up)
        helper = threading.Thread(target=let_go_when_the_signal_is_there)
        helper.start()
        with pytest.raises(TimeoutError):
            connection.send(5, bytes(10_000_000))
        helper.join()
        wait_until(lambda: reader.frames, what="the whole frame")
        assert not connection.broken
        pair[0].close()
        reader.join()
        assert [len(frame.payload) for frame in reader.frames] == [10_000_000]

    def test_a_pipe_that_a_script_has_made_non_blocking_is_not_broken(self, pair):
        connection, reader = Connection(pair[0]), SlowReader(pair[1])
        pair[0].setblocking(False)
        threading.Timer(0.05, reader.go.set).start()
        connection.send(1, bytes(3_000_000))
        assert not connection.broken
        pair[0].close()
        reader.join()
        assert [len(frame.payload) for frame in reader.frames] == [3_000_000]

    def test_a_pipe_whose_reader_is_gone_is_broken(self, pair):
        connection = Connection(pair[0])
        pair[1].close()
        connection.send(1, b"a")
        connection.send(1, b"b")
        assert connection.broken
