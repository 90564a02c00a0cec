"""The `oet` command as somebody calls it: through pipes, and in a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pexpect import EOF, TIMEOUT
from pexpect.fdpexpect import fdspawn

from ska_oet_device.procedure.ui._terminal import as_shown

from .tango_server import program


@dataclass(frozen=True)
class Done:
    """What became of a call: exit status, both outputs, and seconds."""

    status: int
    out: str
    err: str
    took: float

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines of standard output as JSON, each of which is an object."""
        found = [json.loads(line) for line in self.out.splitlines()]
        assert all(isinstance(each, dict) for each in found)
        return found


class Terminal:
    """A program in a terminal of its own, which it may be ended from.

    `shown` is what stands there at last; `said` all that it wrote.
    """

    def __init__(self, command: list[str], environment: dict[str, str], columns: int, rows: int) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        # setsid of util-linux makes the terminal the controlling one: Ctrl-C comes from it, as it does for users.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self._spawn = fdspawn(self._master, encoding="utf-8", timeout=30)
        self.said = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, pattern: str) -> str:
        """Wait until something is written; returns what came until then, that included."""
        self._spawn.expect(pattern)
        text = f"{self._spawn.before}{self._spawn.after}"
        self.said += text
        return text

    def until(self, is_wanted: Callable[[str], object], seconds: float = 20.0) -> None:
        """Wait until what a person sees is as it should be."""
        self.said += str(self._spawn.buffer)
        self._spawn.buffer = ""
        deadline = time.monotonic() + seconds
        while not is_wanted(self.shown):
            try:
                self.said += self._spawn.read_nonblocking(65536, max(0.0, deadline - time.monotonic()))
            except TIMEOUT:
                raise AssertionError(f"not within {seconds:g} s; the terminal shows\n{self.shown}") from None

    def send(self, text: str) -> None:
        """Type."""
        self._spawn.send(text)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.send("\x03")

    def wait(self) -> int:
        """Wait for the end; returns the exit status."""
        self._spawn.expect(EOF)
        self.said += self._spawn.before
        return self.process.wait(10)

    @property
    def shown(self) -> str:
        """What a person sees at last, without colours."""
        return as_shown(self.said)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)


class OetCommand:
    """Calls `oet` for one Tango database.

    :param host: TANGO_HOST
    """

    def __init__(self, host: str) -> None:
        self.host = host

    def __call__(self, *arguments: str, check: bool = False, **more: str) -> Done:
        """Call it with pipes; `more` is for its environment."""
        began = time.monotonic()
        done = subprocess.run(
            [program("oet"), *arguments], env=self.environment(**more), capture_output=True, text=True, timeout=60
        )
        told = Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
        assert not check or told.status == 0, told
        return told

    def environment(self, **more: str) -> dict[str, str]:
        unwanted = ("OET_DEVICE", "NO_COLOR", "LC_ALL", "COLUMNS", "LINES", "FORCE_COLOR")
        kept = {key: value for key, value in os.environ.items() if key not in unwanted}
        path = f"{os.path.dirname(program('oet'))}:{os.environ.get('PATH', os.defpath)}"
        return {
            **kept,
            "PATH": path,
            "TANGO_HOST": self.host,
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            **more,
        }

    @contextlib.contextmanager
    def begun(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Have it run with pipes meanwhile."""
        process = subprocess.Popen(
            [program("oet"), *arguments],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)

    @contextlib.contextmanager
    def terminal(
        self, *arguments: str, columns: int = 100, rows: int = 30, command: list[str] | None = None, **more: str
    ) -> Iterator[Terminal]:
        """Have it, or another command, run in a terminal of this size."""
        terminal = Terminal(command or [program("oet"), *arguments], self.environment(**more), columns, rows)
        try:
            yield terminal
        finally:
            terminal.close()
