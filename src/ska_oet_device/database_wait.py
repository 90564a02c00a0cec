"""How long the first start waits for the Tango database: the argument --wait-for-database, or OET_WAIT_FOR_DATABASE.

The argument is the only one of OetDevice that is not Tango's own.  The variable is for those who start it without
arguments of theirs, as a Starter does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

OPTION = "--wait-for-database"
VARIABLE = "OET_WAIT_FOR_DATABASE"

_FOR_EVER = "forever"
_RULE = f"must be a number of seconds, or {_FOR_EVER}"


class DatabaseWaitError(ValueError):
    """The time is neither a number of seconds nor for ever."""


def split_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], float]:
    """Return the arguments that are Tango's, and how many seconds the first start waits: 0 not at all, or infinity.

    The last of several arguments counts, and any of them goes before the variable.

    :raises DatabaseWaitError: a time is none
    """
    tangos: list[str] = []
    seconds = _seconds(f"the variable {VARIABLE}", environment.get(VARIABLE) or "0")
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name == OPTION:
            seconds = _seconds(f"the argument {OPTION}", value if "=" in argument else _FOR_EVER)
        else:
            tangos.append(argument)
    return tangos, seconds


def _seconds(what: str, text: str) -> float:
    if text.strip() == _FOR_EVER:
        return math.inf
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text.strip(), re.ASCII):
        raise DatabaseWaitError(f"{what} is {text!r}: it {_RULE}")
    return float(text)
