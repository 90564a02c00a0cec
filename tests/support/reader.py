"""A reader who tries what stands on a page, in one shell, one itango and one Python for the whole page."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pexpect
import tango
from pexpect.popen_spawn import PopenSpawn

from ska_oet_device.client._stack import DEVICE

from .tango_server import program
from .waiting import wait_until

_SECONDS = 60
_DONE = "\x1e"

# Each block in the same module and, if it awaits anything, in the same event loop.
_PYTHON = f"""
import ast, asyncio, inspect, json, sys
loop = None
for line in sys.stdin:
    code = compile(json.loads(line), "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = sys.modules["__main__"].__dict__
    if code.co_flags & inspect.CO_COROUTINE:
        loop = loop or asyncio.new_event_loop()
        loop.run_until_complete(eval(code, names))
    else:
        exec(code, names)
    print({_DONE!r}, flush=True)
"""


class Reader:
    """Tries things in an empty folder, with the programs of this installation, and a Tango database.

    :param folder: the reader's home, where the shell begins
    """

    def __init__(self, folder: Path, tango_host: str) -> None:
        self._folder = folder
        self._environment = {
            **{name: os.environ[name] for name in ("LANG", "TZ") if name in os.environ},
            "PATH": f"{Path(program('python')).parent}:{os.environ['PATH']}",
            "TANGO_HOST": tango_host,
            "HOME": str(folder),
            "IPYTHONDIR": str(folder / ".ipython"),
            "LOGNAME": "anna",
            "USER": "anna",
            "COLUMNS": "110",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._open: dict[str, PopenSpawn] = {}

    def tries(self, kind: str, typed: str) -> str:
        """Type something, and return what is to be seen then.

        :raises AssertionError: there is no end of it, or the program has ended
        """
        return {"shell": self._shell, "itango": self._itango, "python": self._python}[kind](typed)

    def wait_until_a_script_runs(self) -> None:
        """Wait as a reader does who sees that what was typed has begun."""
        device = tango.DeviceProxy(f"tango://{self._environment['TANGO_HOST']}/{DEVICE}")
        wait_until(lambda: device.state() == tango.DevState.RUNNING, 20, "a script runs")

    def close(self) -> None:
        """Leave all programs, as a reader does.

        :raises AssertionError: one has not ended well
        """
        for name, session in self._open.items():
            session.sendeof() if name != "itango" else session.sendline("exit")
            session.expect(pexpect.EOF, _SECONDS)
            assert session.wait() == 0, f"{name}: {session.before}"

    def kill(self) -> None:
        """End whatever still runs, and close its pipes."""
        for session in self._open.values():
            session.proc.kill()
            session.wait()
            session.proc.stdin.close()
            session.proc.stdout.close()
        self._open.clear()

    def _session(self, name: str, command: list[str]) -> PopenSpawn:
        if name not in self._open:
            self._open[name] = PopenSpawn(
                command, env=self._environment, cwd=self._folder, encoding="utf-8", timeout=_SECONDS
            )
        return self._open[name]

    def _shell(self, typed: str) -> str:
        session = self._session("shell", ["bash", "--norc", "-c", "exec 2>&1; exec bash --norc"])
        session.sendline(f"{typed}\nprintf '\\n\\036\\n'")
        return self._until(session, rf"\n{_DONE}\n")

    def _python(self, typed: str) -> str:
        session = self._session("python", ["bash", "-c", 'exec 2>&1; exec "$0" -c "$1"', sys.executable, _PYTHON])
        session.sendline(json.dumps(typed))
        return self._until(session, rf"{_DONE}\n")

    def _itango(self, typed: str) -> str:
        is_new = "itango" not in self._open
        command = [program("itango"), "--simple-prompt", "--no-banner", "--colors=NoColor"]
        session = self._session("itango", ["bash", "-c", 'exec 2>&1; exec "$@"', *command[:1], *command])
        if is_new:
            self._until(session, r"In \[\d+\]: ")
        session.sendline(typed if "\n" not in typed else f"{typed}\n")
        return re.sub(r"^(?:   \.\.\.: )+", "", self._until(session, r"(?:^|\n)In \[\d+\]: "))

    @staticmethod
    def _until(session: PopenSpawn, pattern: str) -> str:
        try:
            session.expect(pattern)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise AssertionError(f"{type(error).__name__}: {session.before}") from None
        return str(session.before)
