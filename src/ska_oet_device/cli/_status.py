"""What the `oet` command ends with: exit statuses, and the one line on standard error that says why."""

from __future__ import annotations

import contextlib
import enum
import errno
import json
import os
from typing import TYPE_CHECKING

import typer

from ._text import one_line

if TYPE_CHECKING:
    from ..client import Summary

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises for arguments that do not fit."""

_OF_WRITING = (errno.EPIPE, errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Status(enum.IntEnum):
    """Exit statuses; docs/reference/contract.md says what each means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    STOPPED = 4
    UNREACHABLE = 5
    FAULT = 70
    UNWRITABLE = 74
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


class Ended(Exception):  # noqa: N818 - it is no error of the command's
    """The command ends with a status, and a line that says why.

    :param status: the exit status
    :param name: what it is called in JSON
    :param text: why; empty: nothing is written
    """

    def __init__(self, status: Status, name: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.name = name


def unwritable(error: OSError) -> Ended:
    """Return how the command ends when standard output cannot be written: a closed pipe is nothing to speak of."""
    if isinstance(error, BrokenPipeError):
        return Ended(Status.PIPE_CLOSED, "closed", "")
    return Ended(Status.UNWRITABLE, "unwritable", f"standard output cannot be written: {error.strerror}")


def check_outcome(summary: Summary) -> None:
    """End the command by the state in which a procedure has ended.

    :raises Ended: it is not COMPLETE
    """
    if summary.state != "COMPLETE":
        status = Status.STOPPED if summary.state == "STOPPED" else Status.FAILED
        text = f"procedure {summary.id} ({summary.script}) is {summary.state}: {summary.reason}"
        raise Ended(status, str(summary.state), text)


def ended_by(error: Exception) -> Ended:
    """Return how the command ends by an error."""
    text = str(error)
    if isinstance(error, Ended):
        return error
    if isinstance(error, USAGE_ERROR):
        return Ended(Status.USAGE, "usage", getattr(error, "format_message", error.__str__)())
    if isinstance(error, OSError) and error.errno in _OF_WRITING and error.filename is None:
        return unwritable(error)
    from ..client import NoDevice, OetError, RefusedError, StartDropped, UnreachableError  # Tango takes long to import

    if isinstance(error, RefusedError):
        return Ended(Status.REFUSED, error.reason, text)
    if isinstance(error, StartDropped):
        return Ended(Status.REFUSED, "dropped", text)
    if isinstance(error, UnreachableError):
        return Ended(Status.UNREACHABLE, "unreachable", _cause_of(error))
    if isinstance(error, NoDevice):
        return Ended(Status.USAGE, "usage", f"{text}; --device or $OET_DEVICE names it")
    if isinstance(error, TimeoutError):
        return Ended(Status.UNREACHABLE, "unreachable", text)
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return Ended(Status.USAGE, "usage", text)
    name = "error" if isinstance(error, OetError) else "fault"
    return Ended(Status.FAULT, name, f"{type(error).__name__}: {text}")


def _cause_of(error: Exception) -> str:
    """Return what was not reached, and why; of a device that is not known, which there are."""
    text = str(error)
    if "not defined in the database" in text:
        from ..client import devices

        with contextlib.suppress(Exception):  # the first error is the one to tell
            text += f"; the OetDevices there are: {', '.join(devices()) or 'none'}"
    return text


def say(ended: Ended, program: str, *, as_json: bool) -> None:
    """Write the one line to standard error; nothing if there is nothing to say, or nobody reads it."""
    text = one_line(str(ended))
    if not text:
        return
    if as_json:
        line = json.dumps({"error": ended.name, "text": text, "status": int(ended.status)})
    elif ended.name.startswith("OET_"):
        line = f"{program}: {text} [{ended.name}]"
    else:
        line = f"{program}: {text}"
    try:
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))
    except OSError:
        pass
