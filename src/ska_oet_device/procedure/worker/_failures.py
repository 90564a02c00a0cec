"""Telling what went wrong in the user's terms.

Runs in the main thread of a worker.
"""

from __future__ import annotations

import inspect
import linecache
import os
import re
import traceback
from pathlib import Path
from types import TracebackType

from ...errors import OetError
from ...mptools import dumps
from ._functions import ScriptCallError

_LONGEST_TRACE = 64 * 1024
_LONGEST_LINE = 1000  # characters of the first line of a text
_ROOM = 300  # characters of a reason, beyond which nothing is added
_LOOKED_AT = 10_000  # characters of a text
_SHOWN_OF_A_GROUP = 3
_NOBODY_ANSWERS = "; nobody can answer: the standard input of a script is empty"
_CORBA = "API_CorbaException"
_CALLED = re.compile(r"on device (?P<device>\S+), (?P<what>(?:command|attribute) \S+)")
_STANDARD_LIBRARY = os.path.dirname(inspect.__file__)
_NOT_THE_USERS = (
    str(Path(__file__).parent),
    os.path.join(_STANDARD_LIBRARY, "asyncio"),
    "<frozen importlib",
)


def reason_of(error: BaseException) -> str:
    """Return one line that says what was raised, and why, as far as that fits: ``ValueError: no such receiver``.

    The first line of its text is always there, and as many of the others as have room.  Of a DevFailed of Tango it is
    the DevError that matters, of an exit of argparse what argparse has said, of an exception without a text the line of
    the script that has raised it; the cause, and notes, follow where there is room for them.
    """
    if isinstance(error, (ScriptCallError, OetError)):
        return joined(str(error))
    reason = _with_kind(error)
    for more in _additions(error):
        if more and len(reason) + len(more) <= _ROOM:
            reason += more
    return reason


def _with_kind(error: BaseException) -> str:
    text = _text_of(error)
    return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__


def _text_of(error: BaseException) -> str:
    """Return what an exception says, in one line; for one that says nothing, where it was raised; else ""."""
    try:
        text = _dev_failed(error) or joined(_exit(error) or _group(error) or str(error))
    except BaseException:  # a foreign __str__ may raise anything
        return "(its text cannot be shown)"
    return text or (_place(error.__traceback__) if error.__cause__ is None else "")


def _is_a(kind: str, error: BaseException) -> bool:
    """Say whether an exception is of a class of that name, which need not be there."""
    return any(base.__name__ == kind for base in type(error).__mro__)


def _additions(error: BaseException) -> list[str]:
    """Return what else is worth telling: what a program has printed as it failed, notes, and the cause."""
    try:
        printed = getattr(error, "stderr", None) if hasattr(error, "returncode") else None
        text = printed.decode(errors="replace") if isinstance(printed, bytes) else printed
        lines = text.strip().splitlines() if isinstance(text, str) else []
        more = [f": {lines[-1].strip()}"] if lines else []
        more += [_NOBODY_ANSWERS] if _has_asked(error) else []
        more += [f"; {joined(note)}" for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
        cause = error.__cause__
        return [*more, f"; caused by {_with_kind(cause)}" if isinstance(cause, Exception) else ""]
    except BaseException:  # the attributes of a foreign exception may be anything
        return []


def _has_asked(error: BaseException) -> bool:
    """Say whether it comes from `input()` or a debugger, which wait for what somebody types."""
    return _is_a("BdbQuit", error) or (isinstance(error, EOFError) and str(error) == "EOF when reading a line")


def joined(text: str) -> str:
    """Return a text in one line: the first, at most 1,000 characters of it, and as many of the others as have room."""
    lines = [line for line in map(str.strip, text[:_LOOKED_AT].splitlines()) if line]
    shown = lines[0][:_LONGEST_LINE] if lines else ""
    for line in lines[1:]:
        between = " " if shown.endswith(tuple(",.:;!?")) else "; "
        if len(shown) + len(between) + len(line) > _ROOM:
            return f"{shown} ..."
        shown += between + line
    return shown


def _dev_failed(error: BaseException) -> str:
    """Return what Tango has to say: of the stack, which begins where it went wrong, what is no CORBA's.

    What follows was put there by whoever passed it on; the client's end names device and command.  Tango need not be
    imported for that.
    """
    if not _is_a("DevFailed", error):
        return ""
    stack = [item for item in error.args if isinstance(getattr(item, "desc", None), str)]
    matters = next((item for item in stack if item.reason != _CORBA), stack[0] if stack else None)
    if matters is None:
        return joined("\n".join(map(str, error.args))) or _place(error.__traceback__)
    text = joined(f"{matters.reason}: {matters.desc.strip()}")
    called = next((found for item in stack if (found := _CALLED.search(item.desc))), None)
    if called is not None and called["device"] not in text:
        where = f" ({called['what']} of {called['device']})"
        text += where if len(text) + len(where) <= _ROOM else ""
    return text


def _exit(error: BaseException) -> str:
    """Return why a parser of arguments has left: it has told that to the standard error alone."""
    if not isinstance(error, SystemExit) or not isinstance(error.code, int):
        return ""
    frames = error.__traceback__
    while frames is not None:
        code = frames.tb_frame.f_code
        if code.co_name == "exit" and os.path.basename(code.co_filename) in ("argparse.py", "optparse.py"):
            said = frames.tb_frame.f_locals.get("message") or frames.tb_frame.f_locals.get("msg")
            return f"{error.code}: {said}" if isinstance(said, str) else ""
        frames = frames.tb_next
    before = error.__context__  # click's, for one
    return f"{error.code}: after {_with_kind(before)}" if isinstance(before, Exception) and error.code else ""


def _group(error: BaseException) -> str:
    """Return what the first exceptions of a group say."""
    if not _is_a("BaseExceptionGroup", error):
        return ""
    inner = error.exceptions  # type: ignore[attr-defined]
    shown = "; ".join(map(_with_kind, inner[:_SHOWN_OF_A_GROUP]))
    more = len(inner) - _SHOWN_OF_A_GROUP
    return f"{error}: {shown}" + (f"; and {more} more" if more > 0 else "")


def _place(frames: TracebackType | None) -> str:
    """Return the line of the user's code that was running last, for an exception that says nothing."""
    last = None
    while frames is not None:
        path = frames.tb_frame.f_code.co_filename
        if not path.startswith(_NOT_THE_USERS) and os.path.dirname(path) != _STANDARD_LIBRARY:
            last = frames
        frames = frames.tb_next
    if last is None:
        return ""
    path = last.tb_frame.f_code.co_filename
    try:
        line = linecache.getline(path, last.tb_lineno).strip()[:_ROOM]
    except Exception:  # there may be no memory, or no descriptor, for the file
        line = ""
    where = f"{os.path.basename(path)}, line {last.tb_lineno}"
    return f"{line} ({where})" if line else where


def is_way_out(error: BaseException) -> bool:
    """Say whether an exception that comes out of a script that was interrupted is just how that has left.

    What else does has gone wrong in its clean-up.  An exception that was raised *from* the interrupt is that
    interrupt in the words of a library.
    """
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)) or _is_a("CancelledError", error):
        return True
    inner = getattr(error, "exceptions", None)
    if _is_a("BaseExceptionGroup", error) and isinstance(inner, tuple):
        return all(map(is_way_out, inner))
    causes = set()
    cause = error.__cause__
    while cause is not None and id(cause) not in causes and not isinstance(cause, KeyboardInterrupt):
        causes.add(id(cause))  # a chain may be a ring
        cause = cause.__cause__
    return isinstance(cause, KeyboardInterrupt)


def trace_of(error: BaseException) -> str | None:
    """Return the traceback with the user's frames only; None where no user code was running."""
    if isinstance(error, OetError):  # no code of the user has run; what a build printed may say more
        return str(error) if "\n" in str(error) else None
    if isinstance(error, ScriptCallError):
        return None
    users = _first_user_frame(error.__traceback__)
    try:
        text = "".join(traceback.format_exception(type(error), error, users))
    except BaseException:  # formatting runs foreign __str__ and __repr__
        text = reason_of(error)
    return shortened(text)


def shortened(trace: str | None) -> str | None:
    """Return a traceback, or its beginning and its end: what the pipe to main takes, whatever characters it has."""
    if trace is None:
        return None
    for longest in (_LONGEST_TRACE, _LONGEST_TRACE // 4):  # JSON has up to 12 characters for one
        text = trace
        if len(trace) > longest:
            half = longest // 2
            text = f"{trace[:half]}\n  [{len(trace) - 2 * half} characters left out]\n{trace[-half:]}"
        if len(dumps(text)) <= 3 * _LONGEST_TRACE:
            break
    return text


def _first_user_frame(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frames = frames.tb_next
    return frames
