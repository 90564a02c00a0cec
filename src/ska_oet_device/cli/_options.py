"""Options and arguments that several commands have."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from . import _completion as completion

Procedure = Annotated[
    str, typer.Argument(metavar="ID", help="Id of a procedure, or its run id.", autocompletion=completion.ids)
]
ProcedureOrNone = Annotated[
    str | None,
    typer.Argument(
        metavar="[ID]",
        help="Id of a procedure, or its run id; without it the device says which is meant.",
        autocompletion=completion.living_ids,
        show_default=False,
    ),
]
Script = Annotated[
    str,
    typer.Argument(
        metavar="SCRIPT",
        help="A script: scan.py is looked up below the device's ScriptRoots; ./scan.py, /scripts/scan.py and "
        "file://... are paths of this machine; with --git it is a path in the repository.",
        autocompletion=completion.scripts,
    ),
]
Function = Annotated[str, typer.Option("--fn", metavar="NAME", help="The function that is called.")]
Arg = Annotated[
    list[str],
    typer.Option("--arg", "-a", metavar="VALUE", help="An argument of the function: JSON, else a text. Any number."),
]
Kwarg = Annotated[
    list[str],
    typer.Option("--kwarg", "-k", metavar="NAME=VALUE", help="An argument of the function, by name. Any number."),
]
Init = Annotated[list[str], typer.Option("--init", metavar="VALUE", help="An argument of init. Any number.")]
InitKwarg = Annotated[
    list[str], typer.Option("--init-kwarg", metavar="NAME=VALUE", help="An argument of init, by name. Any number.")
]
Git = Annotated[
    str | None,
    typer.Option("--git", metavar="URL", help="The git repository that the script is in.", show_default=False),
]
Branch = Annotated[
    str | None, typer.Option("--branch", metavar="NAME", help="A branch or a tag of it.", show_default=False)
]
Commit = Annotated[
    str | None, typer.Option("--commit", metavar="HASH", help="A commit of it, 4 to 40 digits.", show_default=False)
]
Environment = Annotated[
    bool, typer.Option("--env", help="With --git: in an environment made from the project's requirements.")
]
FollowProcedure = Annotated[
    bool,
    typer.Option(
        "--follow", "-f", help="Show states, progress and output until the end; the exit status is the outcome's."
    ),
]


def whole_number(text: str | int) -> int:
    """Return a number of things.

    :raises typer.BadParameter: it is none
    """
    given = str(text).strip()
    if given.isascii() and given.isdecimal() and len(given) < 19:
        return int(given)
    raise typer.BadParameter(f"must be a whole number, 0 or more (given: {given!r})")


Limit = Annotated[
    int, typer.Option("--limit", "-n", metavar="NUMBER", parser=whole_number, help="How many at most; 0: all.")
]


_LONGEST_TIMEOUT = 3600.0


def seconds(text: str | float) -> float:
    """Return a time limit.

    :raises typer.BadParameter: it is none
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if 0 < found <= _LONGEST_TIMEOUT:
        return found
    rule = f"must be a number of seconds, more than 0 and at most {_LONGEST_TIMEOUT:g}"
    raise typer.BadParameter(f"{text!r} {rule}")
