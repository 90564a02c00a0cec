"""Which procedures somebody looks for, and how texts are compared: alike in memory and in a database."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..state import ProcedureState

BETWEEN_ARGUMENTS = '], "kwargs": {'
"""What stands in the JSON of every call's arguments, and is nobody's text."""


@dataclass(frozen=True)
class ProcedureFilter:
    """What is asked of procedures; what is empty, or None, is not asked.

    :ivar since: created at this time or later (Unix seconds)
    :ivar until: created before this time (Unix seconds)
    :ivar script: a part of the script's URI
    :ivar state: in this state now
    :ivar user: a part of what a client that asked for it is called, or of the user it named
    :ivar text: a part of the script, of functions and their arguments, of reasons, of a stack trace, or of who asked
    :ivar run_id: exactly this procedure
    """

    since: float | None = None
    until: float | None = None
    script: str = ""
    state: ProcedureState | None = None
    user: str = ""
    text: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class Found:
    """The ids of what was found, newest first; those below `looked_to` have not been looked at, 0: all have been."""

    ids: tuple[int, ...] = ()
    looked_to: int = 0


def holds(text: str | None, part: str) -> bool:
    """Say whether a text holds another one; upper and lower case of ASCII are the same."""
    return text is not None and _folded(part) in _folded(text)


def _folded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").lower()  # of bytes: the letters of ASCII alone, as SQLite has it


def in_json(part: str) -> str:
    """Return a text as it stands in JSON that is ASCII."""
    return json.dumps(part)[1:-1]


def arguments_hold(arguments: str, part: str) -> bool:
    """Say whether the JSON of a call's arguments holds a text, beside what all such JSON holds."""
    return holds(arguments.removeprefix('{"args": ').replace(BETWEEN_ARGUMENTS, ""), in_json(part))
