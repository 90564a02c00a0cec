"""A program in a pseudo-terminal, as a person sits before it: keys go in, and what is to be seen is waited for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()].|[=>78]|[\[\]()0-9;?]*$)")


class PtyShell:
    """A program in a terminal of a certain width, and the text that it has written there, without escape sequences."""

    def __init__(self, command: list[str], environment: dict[str, str], columns: int = 100) -> None:
        # Which would go before what the terminal says.
        own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._process = pexpect.spawn(
            command[0],
            command[1:],
            env={**own, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **environment},
            encoding="utf-8",
            codec_errors="replace",
            dimensions=(30, columns),
        )
        self._raw = ""
        self._seen = 0  # characters of the text that have been waited for

    @property
    def text(self) -> str:
        """All that has been written until now."""
        return _ESCAPES.sub("", self._raw)

    def type(self, keys: str) -> None:
        """Press keys: "\\r" is Return, "\\t" Tab, "\\x03" Ctrl-C, "\\x04" Ctrl-D."""
        self._process.send(keys)

    def enter(self, line: str) -> None:
        """Type a line, and Return."""
        self.type(f"{line}\r")

    def see(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait until a pattern is there, behind what was seen before; what stands before it counts as seen, too."""
        while True:
            found = re.compile(pattern).search(self.text, self._seen)
            if found:
                self._seen = found.end()
                return found
            try:
                self._raw += self._process.read_nonblocking(4096, seconds)
            except (pexpect.TIMEOUT, pexpect.EOF) as error:
                kind = type(error).__name__
                raise AssertionError(f"{kind}: no {pattern!r} in {self.text[self._seen :]!r}") from None

    def wait(self, seconds: float = 30) -> int:
        """Wait for the end; returns the exit status, negative for a signal."""
        self._process.expect(pexpect.EOF, seconds)
        self._raw += self._process.before
        self._process.close()
        return int(self._process.exitstatus if self._process.signalstatus is None else -self._process.signalstatus)

    def close(self) -> None:
        """Kill it, if it still runs; may be called twice."""
        self._process.close(force=True)


@contextmanager
def pty_shell(command: list[str], environment: dict[str, str], columns: int = 100) -> Iterator[PtyShell]:
    """Give a program in a terminal, which is gone afterwards."""
    shell = PtyShell(command, environment, columns)
    try:
        yield shell
    finally:
        shell.close()
