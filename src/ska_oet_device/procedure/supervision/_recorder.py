"""Main's end of the recorder, the process that takes what scripts print to their files: started, watched, replaced.

Main keeps the reading end of each pipe, too, until what has come by it is in its file.  So nothing that a script does
fails for want of a recorder: whoever prints waits, and the next recorder is handed all pipes.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ...mptools import (
    Children,
    EventLoop,
    ExitStatus,
    FrameReader,
    GrowingPause,
    Timer,
    fork_apart,
    output_pipe,
)
from ..messages import LimitRecording, Ping, Pong, Record, RecordingFails, from_payload, to_frame
from ._watch import Watch

_log = logging.getLogger(__name__)

_LARGEST_ANSWER = 64 * 1024
_HANGS_AFTER = 4.0  # seconds, of main's own running time, without an answer
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds between the end of a recorder and the start of the next one
_OFTEN = 3  # ends of recorders, none of which has served for long, that are a problem
_SOUND_AFTER = 10.0  # seconds that a recorder has served when it answers, which takes the problem back
_LONGEST_PROBLEM = 500  # characters
_LOOK_AGAIN = 1.0  # seconds between two looks at pipes that nobody writes to any more and that are not empty yet


class Recording:
    """What one worker prints, on its way to a file."""

    def __init__(self, number: int, reader: int, path: str, limit: int) -> None:
        self.number = number
        self.reader = reader
        self.path = path
        self.limit = limit

    @property
    def is_written(self) -> bool:
        """Whether all that has been printed so far is in the file: what is spliced leaves the pipe afterwards."""
        poll = select.poll()
        poll.register(self.reader, select.POLLIN)
        return not any(events & select.POLLIN for _, events in poll.poll(0))


class Recorder:
    """The recorder process, and the pipes that it is handed.  In main's loop.

    It is started when the first pipe is there, or by `start`, and started again whenever it ends or hangs.

    `on_change` is called when `problems` are others.
    """

    def __init__(self, loop: EventLoop, children: Children, serve: Callable[[socket.socket], None]) -> None:
        """Start nothing yet.

        :param serve: what the recorder does, with its end of the socket
        """
        self._loop = loop
        self._children = children
        self._serve = serve
        self._pid: int | None = None
        self._control: socket.socket | None = None
        self._number = 0
        self._recordings: dict[int, Recording] = {}
        self._ended: dict[int, Recording] = {}
        self._unsent: deque[tuple[Any, Recording | None]] = deque()
        self._watch = Watch(loop, lambda: self._send(Ping(0)), self._hangs)
        self._pause = GrowingPause(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._start_timer: Timer | None = None
        self._look_timer: Timer | None = None
        self._is_closed = False
        self._ends = 0
        self._started = 0.0
        self._problems: dict[str, str] = {}
        self.on_change: Callable[[], None] = lambda: None

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the output of scripts from being recorded: a sentence each, for pipes, process and files."""
        return tuple(self._problems.values())

    def _note(self, kind: str, problem: str) -> None:
        """Note what is wrong with the pipes, the process or the files; "": nothing is any more."""
        before = self.problems
        self._problems.pop(kind, None)
        if problem:
            self._problems[kind] = problem[:_LONGEST_PROBLEM]
        if self.problems != before:
            self.on_change()

    # -- the pipes

    def record(self, path: str, limit: int) -> tuple[Recording, int]:
        """Have what comes by a new pipe kept; returns its other end, too, which the caller is to close.

        :raises OSError: there is no pipe to be had
        """
        try:
            reader, writer = output_pipe()
        except OSError as error:
            self._note("pipes", f"there is no pipe for what scripts print: {error}")
            raise
        self._note("pipes", "")
        self._number += 1
        recording = self._recordings[self._number] = Recording(self._number, reader, path, limit)
        if self._pid is None:
            self.start()  # which hands it over
        else:
            self._send_recording(recording)
        return recording, writer

    def limit(self, recording: Recording, limit: int) -> None:
        """Keep so many bytes of it from now on."""
        recording.limit = limit
        self._send(LimitRecording(recording.number, limit))

    def release(self, recording: Recording) -> None:
        """Keep a pipe, by which no more will come, until it is empty."""
        self._ended[recording.number] = recording
        self._look()

    def _look(self) -> None:
        for recording in list(self._ended.values()):
            if recording.is_written:
                del self._ended[recording.number], self._recordings[recording.number]
                os.close(recording.reader)
        if not self._recordings:  # nobody waits for it
            self._watch.end()
        if self._ended and self._look_timer is None and not self._is_closed:
            self._look_timer = self._loop.call_later(_LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._look_timer = None
        self._look()

    # -- the process

    def start(self) -> None:
        """Start it, unless it is there, or soon will be; if that fails, try again after a pause that grows."""
        if self._pid is not None or self._start_timer is not None or self._is_closed:
            return
        try:
            self._begin()
        except OSError as error:
            self._forget()
            problem = f"the recorder cannot be started: {error}; what scripts print waits"
            _log.error("%s", problem)
            self._note("process", problem)
            self._start_later()

    def _begin(self) -> None:
        """Start it, and hand it the pipes.

        :raises OSError: that cannot be done now
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control = ours
        with theirs:
            self._loop.watch(ours, lambda: self._readable(ours), self._flush)
            # A fork of main, which is small and has one thread, is there at once: scripts that print wait for it.
            pid = self._pid = fork_apart(lambda: self._serve(theirs), theirs.fileno())
        self._children.watch(pid, self._has_ended)
        self._started = time.monotonic()
        if self._ends < _OFTEN:
            self._note("process", "")
        self._unsent.clear()
        for recording in self._recordings.values():
            self._send_recording(recording)

    def close(self) -> None:
        """Let it take what is still in the pipes, and end."""
        self._is_closed = True
        if self._start_timer is not None:
            self._start_timer.cancel()
        self._forget()

    def _start_later(self) -> None:
        self._start_timer = self._loop.call_later(self._pause.next(), self._start_again)

    def _start_again(self) -> None:
        self._start_timer = None
        self.start()

    def _hangs(self, seconds: float) -> None:
        if self._pid is not None:
            _log.error("the recorder %d has not answered for %g s: it is killed", self._pid, seconds)
            self._children.signal(self._pid, signal.SIGKILL)

    def _has_ended(self, status: ExitStatus) -> None:
        pid = self._pid
        self._forget()
        if not self._is_closed:
            _log.error("the recorder %s ended with %s; what scripts print waits for the next one", pid, status)
            self._ends += 1
            if self._ends >= _OFTEN:
                self._note("process", f"the recorder of what scripts print ends again and again, with {status}")
            self._start_later()

    def _forget(self) -> None:
        self._pid = None
        self._watch.end()
        if self._control is not None:
            self._loop.unwatch(self._control)
            self._control.close()
            self._control = None

    # -- what is said

    def _send_recording(self, recording: Recording) -> None:
        """Hand a pipe over; as long as there is one, somebody may wait for it: it is asked whether it is there."""
        self._send(Record(recording.number, recording.path, recording.limit), recording)
        if not self._watch.is_on:
            self._watch.begin(_HANGS_AFTER)

    def _send(self, message: Any, recording: Recording | None = None) -> None:
        if self._control is not None:
            self._unsent.append((message, recording))
            if len(self._unsent) == 1:
                self._flush()

    def _flush(self) -> None:
        """Say what it takes now, the rest when it has read some of it."""
        if self._control is None:
            return
        while self._unsent:
            message, recording = self._unsent[0]
            try:
                self._say(self._control, to_frame(message), recording)
            except OSError:  # should it have ended, that will be told
                break
            self._unsent.popleft()
        self._loop.interest(self._control, read=True, write=bool(self._unsent))

    def _note_answer(self) -> None:
        self._watch.note_answer()
        self._pause.reset()
        if time.monotonic() - self._started > _SOUND_AFTER:
            self._ends = 0
            self._note("process", "")

    def _say(self, control: socket.socket, frame: bytes, recording: Recording | None) -> None:
        if recording is None:
            control.send(frame)
        elif recording.number in self._recordings:  # else it was released meanwhile
            socket.send_fds(control, [frame], [recording.reader])

    def _readable(self, control: socket.socket) -> None:
        try:
            data = control.recv(_LARGEST_ANSWER)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.unwatch(control)  # its end is told by waitpid
            return
        for frame in FrameReader().feed(data):
            message = from_payload(frame.payload)
            if isinstance(message, Pong):
                self._note_answer()
            elif isinstance(message, RecordingFails):
                if message.problem:
                    _log.error("%s", message.problem)
                self._note("files", message.problem)
