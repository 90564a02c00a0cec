"""The recorder process, which main forks of itself.

Main hands it the pipes of workers, each with the file that it belongs to.  When main has gone it takes what is still
in the pipes, and ends.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import time

from setproctitle import setproctitle

from ...mptools import FrameReader
from ..messages import LimitRecording, Ping, Pong, Record, RecordingFails, from_payload, to_frame
from ._recording import Recording

_TITLE = "oet-output"
_LARGEST_REQUEST = 64 * 1024
_LAST_PATIENCE = 2.0  # seconds for what is still in the pipes when main has gone


class Recorder:
    """Takes pipes from main, and starts a thread for each by which something comes."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._quiet: dict[int, Recording] = {}
        self._recordings: dict[int, tuple[str, Recording]] = {}
        self._may_fail = True

    def run(self) -> None:
        """Serve until main has gone."""
        is_served = True
        while is_served:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._control.fileno():
                    is_served = self._handle()
                else:
                    self._begin(descriptor)
        self._finish()

    def _begin(self, descriptor: int) -> None:
        """Leave a pipe by which something has come to a thread."""
        self._poll.unregister(descriptor)
        self._quiet.pop(descriptor).begin()

    def _handle(self) -> bool:
        """Do what main asks; False if it has gone."""
        data, descriptors, _, _ = socket.recv_fds(self._control, _LARGEST_REQUEST, 1, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        for frame in FrameReader().feed(data):
            message = from_payload(frame.payload)
            if isinstance(message, Ping):
                self._tell(Pong(message.token))
            elif isinstance(message, LimitRecording) and message.number in self._recordings:
                self._recordings[message.number][1].limit(message.limit)
            elif isinstance(message, Record) and descriptors:
                self._record(message, descriptors[0])
        return True

    def _record(self, message: Record, pipe: int) -> None:
        self._recordings = {
            number: (path, each) for number, (path, each) in self._recordings.items() if not each.done.is_set()
        }
        others = [each for path, each in self._recordings.values() if path == message.path]
        recording = Recording(
            pipe,
            message.path,
            message.limit,
            others[-1] if others else None,
            lambda problem: self._tell_problem(message.number, problem),
        )
        self._recordings[message.number] = message.path, recording
        self._quiet[pipe] = recording
        self._poll.register(pipe, select.POLLIN)

    def _tell_problem(self, number: int, problem: str) -> None:
        """Tell what cannot be done, and once that it can be: at first, since a recorder before may have failed."""
        if problem or self._may_fail:
            self._may_fail = bool(problem)
            self._tell(RecordingFails(number, problem))

    def _tell(self, message: Pong | RecordingFails) -> None:
        with contextlib.suppress(OSError):  # main has gone
            self._control.send(to_frame(message))

    def _finish(self) -> None:
        """Take what is still in the pipes.  The workers end with main; what they leave behind need not."""
        for descriptor in list(self._quiet):
            self._begin(descriptor)
        until = time.monotonic() + _LAST_PATIENCE
        for _, recording in self._recordings.values():
            recording.done.wait(max(0.0, until - time.monotonic()))


def serve(control: socket.socket) -> None:
    """Record until main has gone.

    Who asks all processes of a server to end means main, and this one outlives the scripts.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    setproctitle(_TITLE)
    Recorder(control).run()
