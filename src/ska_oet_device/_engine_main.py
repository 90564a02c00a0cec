"""The main process of an engine: a fresh interpreter, started by the engine's caller with one end of the link.

``python -m ska_oet_device._engine_main FD PID UNHEARD -vN``: the pipe to the caller, the caller's process id, the file
for what can be told to nobody ("" for none), and how much is logged.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .logs import configure_server_logging
from .main import MainProcess
from .mptools import become_subreaper, set_up_process
from .procedure import messages
from .procedure.supervision import PeerPipe

_log = logging.getLogger(__name__)

_SHUTDOWN_PATIENCE = 5.0  # seconds for the caller to close the pipe when it is told that no script lives


class CallerPeer:
    """The process that has started this one.  It is not started again: without it, main ends what lives, and itself."""

    has_served = False

    def __init__(self, main: MainProcess, sock: socket.socket, pid: int) -> None:
        self._main = main
        self._sock = sock
        self._pid = pid
        self._pipe = PeerPipe(
            main.loop, main.journal, main.handle, main.supervisor.resume_paused, on_end=self._has_ended
        )

    def start(self) -> None:
        self._pipe.open(self._sock, self._main.welcome())
        self._watch_process()

    def shut_down(self) -> None:
        self._main.journal.send(messages.to_frame(messages.Shutdown()))
        self._main.loop.call_later(_SHUTDOWN_PATIENCE, self._has_ended)

    def _watch_process(self) -> None:
        """Learn of the caller's death even if a process that it has forked keeps the pipe open."""
        try:
            process = open(os.pidfd_open(self._pid), "rb", buffering=0)  # noqa: SIM115 - as long as this process lives
        except OSError:  # it is gone, or the kernel is older than 5.3
            process = None
        if os.getppid() != self._pid:
            self._has_ended()
        elif process is not None:
            self._main.loop.watch(process, lambda: self._died(process))

    def _died(self, process: io.FileIO) -> None:
        self._main.loop.unwatch(process)
        self._has_ended()

    def _has_ended(self) -> None:
        _log.info("the caller has ended, or has done with this engine")
        self._pipe.close()
        self._main.peer_is_gone(0)


def with_caller(sock: socket.socket, pid: int) -> Callable[[MainProcess], CallerPeer]:
    """Return what gives main its caller for its peer."""
    return lambda main: CallerPeer(main, sock, pid)


def main(argv: Sequence[str]) -> int:
    """Supervise scripts until the caller closes the pipe, or dies; returns the exit status."""
    set_up_process()
    descriptor, pid, unheard, *options = argv
    configure_server_logging(options)
    become_subreaper()
    link = socket.socket(fileno=int(descriptor))
    process = MainProcess(with_caller(link, int(pid)), Path(unheard) if unheard else None)
    return process.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
