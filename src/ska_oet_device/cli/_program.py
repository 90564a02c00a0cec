"""The program: parses with typer, and ends with a status, and a line on standard error that says why."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from . import _boards, _check, _fleet, _health_command, _looks, _runs, _site_files, _streams, _watch  # noqa: F401 - they add their commands
from ._app import app
from ._status import Ended, Status, ended_by, say, unwritable
from ._tracing import end_trace


def main(program: str, arguments: Sequence[str]) -> None:
    """Run the command; does not return."""
    _prepare_output()
    as_json = "--json" in arguments
    try:
        status = _run(program, arguments)
    except Exception as error:  # the top of the program: a line says what it was
        ended = ended_by(error)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        say(ended, program, as_json=as_json)
        status = ended.status
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    _leave(status, program, as_json=as_json)


_ORDER = (
    *("run", "prepare", "start", "stop", "check", "list", "describe", "output", "events", "watch"),
    *("history", "requests", "environments", "fleet", "health"),
)


def _run(program: str, arguments: Sequence[str]) -> int:
    app.registered_commands.sort(key=lambda each: _ORDER.index(str(each.name)))
    if f"_{program.upper().replace('-', '_')}_COMPLETE" in os.environ:
        # typer would have rich render what is said of each offer: that takes long, and knows markup.
        sys.modules["rich"] = None  # type: ignore[assignment]
    command: Any = typer.main.get_command(app)
    try:
        result = command.main(args=list(arguments) or ["--help"], prog_name=program, standalone_mode=False)
    except SystemExit as ended:  # as typer's completion ends, and as it hides a pipe that nobody reads
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        result = ended.code
    except typer.Abort:
        raise Ended(Status.INTERRUPTED, "left", "") from None
    return int(result or 0)


def _prepare_output() -> None:
    """Have every text written, whatever the locale: what it does not know is escaped."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            is_ascii = stream.isatty() and _is_c_locale()
            reconfigure(errors="backslashreplace", **({"encoding": "ascii"} if is_ascii else {}))


def _is_c_locale() -> bool:
    """Say whether the terminal was said to know ASCII alone; Python takes it for UTF-8 all the same."""
    name = next(filter(None, (os.environ.get(each) for each in ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    return name in ("C", "POSIX")


def _leave(status: int, program: str, *, as_json: bool) -> None:
    """End at once: to take Tango apart would take longer than what was asked for."""
    end_trace()
    try:
        sys.stdout.flush()
    except OSError as error:
        if not status:
            ended = unwritable(error)
            say(ended, program, as_json=as_json)
            status = ended.status
    os._exit(status)
