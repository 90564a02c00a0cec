"""`oet check`: how scripts would fare, without anything of them being called."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import typer

from . import _completion as completion
from . import _options as options
from ._app import command
from ._runs import script_of
from ._shell import Shell
from ._status import Ended, Status
from ._text import one_line
from ._values import arguments_of

if TYPE_CHECKING:
    from ..client import CheckReport

_AT_ONCE = 4  # the device looks at two at a time, and the next are to wait there

Scripts = Annotated[
    list[str],
    typer.Argument(metavar="SCRIPT...", help="Scripts, as of `oet run`.", autocompletion=completion.scripts),
]
FunctionOrNone = Annotated[
    str | None, typer.Option("--fn", metavar="NAME", help="A function that is looked at, too.", show_default=False)
]


@command("check")
def check(
    shell: Shell,
    scripts: Scripts,
    fn: FunctionOrNone = None,
    arg: options.Arg = [],  # noqa: B006 - typer's way
    kwarg: options.Kwarg = [],  # noqa: B006
    init: options.Init = [],  # noqa: B006
    init_kwarg: options.InitKwarg = [],  # noqa: B006
    git: options.Git = None,
    branch: options.Branch = None,
    commit: options.Commit = None,
    env: options.Environment = False,
) -> None:
    """Find, compile and load scripts, and say how they would fare.

    Nothing of them is called. With --fn, --arg or --kwarg it is looked at, too, whether a function may be called like
    that; main, if none is named. What counts is how many arguments there are, and their names, and not their types.

    Exit status: 0 all are ok, 1 one is not, 3 refused, 5 unreachable.
    """
    given = arguments_of(arg, kwarg, "--kwarg") if arg or kwarg else None
    for_init = arguments_of(init, init_kwarg, "--init-kwarg")
    asked = [script_of(each, git, branch, commit, env) for each in scripts]
    client = shell.client

    pool = ThreadPoolExecutor(_AT_ONCE)  # of which nobody waits for the end: Ctrl-C ends the process
    reports = pool.map(lambda each: client.check(each, fn=fn, args=given, init=for_init), asked)
    bad = [name for name, report in zip(scripts, reports, strict=True) if not _say(shell, name, report)]
    if bad:
        raise Ended(Status.FAILED, "check", f"{len(bad)} of {len(scripts)} not ok: {', '.join(bad)}")


def _say(shell: Shell, name: str, report: CheckReport) -> bool:
    """Write what was found, as soon as it is known; returns whether all is well."""
    if shell.as_json:
        shell.data(report.data)
        return report.ok
    if report.ok:
        shell.line(f"{name}: ok")
        _say_docstring(shell, report.docstring, 2)
        for function, about in report.functions.items():
            shell.line(f"  {one_line(function)}{one_line(about.signature)}".rstrip())
            _say_docstring(shell, about.docstring, 6)
    else:
        step = next((each.step for each in report.steps if each.ok is False), "")
        shell.line(f"{name}: not ok: {step}: {one_line(report.reason or '')}")
    return report.ok


def _say_docstring(shell: Shell, docstring: str | None, indent: int) -> None:
    """Write its first line, if it has one."""
    first = one_line((docstring or "").strip().partition("\n")[0])
    if first:
        shell.line(f"{'':<{indent}}{first}")
