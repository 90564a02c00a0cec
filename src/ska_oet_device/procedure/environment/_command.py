"""Running one command of a build: its output line by line, and its end, whatever it leaves behind.

An installer waits until nobody has the output of a package's build open any more, and we for that of the installer.
What a build has left, and keeps such an output open, would have it all wait until EnvironmentTimeout.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...mptools import children_of_main_thread

_LOOK = 1.0  # seconds between looks for what was left
_PATIENCE = 3.0  # seconds that something may outlive its parent and keep the output: helpers end a little later, too
_LONGEST_LINE = 64 * 1024  # bytes
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Command:
    """A command that runs, with its standard output and error; the process is ended by `close`.

    For a process that is a subreaper, as workers are: what outlives its parent becomes a child of this process.
    """

    def __init__(self, command: list[str], **options: Any) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, **options
        )
        self._left: dict[int, float] = {}  # when each was seen first
        self._next_look = time.monotonic() + _LOOK

    def lines(self) -> Iterator[str]:
        """Yield what it prints, in lines, one that is too long in pieces; until nobody can print any more."""
        assert self._process.stdout is not None
        output, rest = self._process.stdout.fileno(), b""
        with selectors.DefaultSelector() as waiting:
            waiting.register(output, selectors.EVENT_READ)
            while True:
                self._end_what_was_left(output)
                if not waiting.select(_LOOK):
                    continue
                chunk = os.read(output, _LONGEST_LINE)
                *whole, rest = _LINE_END.split(rest + chunk)
                if not chunk or len(rest) > _LONGEST_LINE:
                    whole, rest = [*whole, rest], b""
                yield from (line.decode(errors="backslashreplace") for line in whole)
                if not chunk:
                    return

    def wait(self) -> int:
        """Wait for the end; returns the exit status."""
        return self._process.wait()

    def close(self) -> None:
        """Kill it if it still runs: whoever waited for it was interrupted."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _end_what_was_left(self, output: int) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK
        pipes = _pipes_of(os.getpid(), str(output)) | _pipes_of(self._process.pid)
        keepers = [pid for pid in children_of_main_thread() if pid != self._process.pid and _pipes_of(pid) & pipes]
        self._left = {pid: self._left.get(pid, now) for pid in keepers}
        for pid, since in self._left.items():
            if now - since >= _PATIENCE:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)  # a child of ours: the number is nobody else's


def _pipes_of(pid: int, descriptor: str = "") -> set[str]:
    """Return the pipes that a process has open, or the one of a descriptor."""
    folder, found = Path(f"/proc/{pid}/fd"), set()
    with contextlib.suppress(OSError):
        for name in [descriptor] if descriptor else os.listdir(folder):
            with contextlib.suppress(OSError):
                found.add(os.readlink(folder / name))
    return {target for target in found if target.startswith("pipe:")}
