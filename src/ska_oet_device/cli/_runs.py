"""Commands that change something: run, prepare, start and stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from . import _options as options
from ._app import command
from ._shell import Shell
from ._text import one_line
from ._values import arguments_of, procedure_of

if TYPE_CHECKING:
    from ..client import Procedure, Script, Summary

Reason = Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; kept in the history.")]
Abort = Annotated[
    bool | None,
    typer.Option(
        "--abort/--no-abort",
        help="Whether the device's abort script follows; without it, if the device has one.",
        show_default=False,
    ),
]


@command("run")
def run(
    shell: Shell,
    script: options.Script,
    arg: options.Arg = [],  # noqa: B006 - typer's way
    kwarg: options.Kwarg = [],  # noqa: B006
    init: options.Init = [],  # noqa: B006
    init_kwarg: options.InitKwarg = [],  # noqa: B006
    fn: options.Function = "main",
    follow: options.FollowProcedure = False,
    git: options.Git = None,
    branch: options.Branch = None,
    commit: options.Commit = None,
    env: options.Environment = False,
) -> None:
    """Prepare a script, and call its main as soon as it is READY.

    Says id and run id, and returns at once; with --follow it shows states, progress and output until the end. Ctrl-C
    then asks whether the script is to be stopped; without a terminal, and at a second Ctrl-C, the script goes on.
    States and output come by two ways: what was printed may stand a little before or behind the state it belongs to.

    Exit status: 0 done (with --follow: COMPLETE), 1 FAILED, 3 refused, or the start was dropped, 4 STOPPED,
    5 unreachable, 130 left by Ctrl-C while the script goes on.
    """
    what = script_of(script, git, branch, commit, env)
    given = arguments_of(arg, kwarg, "--kwarg")
    for_init = arguments_of(init, init_kwarg, "--init-kwarg")

    def begin() -> Procedure:
        return shell.client.run(what, *given.args, fn=fn, init=for_init, **(given.kwargs or {}))

    _begin(shell, begin, fn, follow=follow)


@command("prepare")
def prepare(
    shell: Shell,
    script: options.Script,
    init: options.Init = [],  # noqa: B006
    init_kwarg: options.InitKwarg = [],  # noqa: B006
    git: options.Git = None,
    branch: options.Branch = None,
    commit: options.Commit = None,
    env: options.Environment = False,
) -> None:
    """Load a script in a process of its own, and call its init; `oet start` calls its main.

    Says id and run id, and returns at once.

    Exit status: 0 done, 3 refused, 5 unreachable.
    """
    for_init = arguments_of(init, init_kwarg, "--init-kwarg")
    what = script_of(script, git, branch, commit, env)
    say_new(shell, shell.client.prepare(what, *for_init.args, **(for_init.kwargs or {})).summary())


@command("start")
def start(
    shell: Shell,
    procedure: options.ProcedureOrNone = None,
    arg: options.Arg = [],  # noqa: B006
    kwarg: options.Kwarg = [],  # noqa: B006
    fn: options.Function = "main",
    follow: options.FollowProcedure = False,
) -> None:
    """Call a function of a script that was prepared, as soon as it is READY.

    Without an id it is the newest that is READY, or on its way there. Returns at once; --follow as of `oet run`.

    Exit status: 0 done (with --follow: COMPLETE, or the function has returned), 1 FAILED, 3 refused, or the start was
    dropped, 4 STOPPED, 5 unreachable, 130 left by Ctrl-C while the script goes on.
    """
    given = arguments_of(arg, kwarg, "--kwarg")

    def begin() -> Procedure:
        from ._reach import start_any

        if procedure is None:
            return shell.client.procedure(start_any(shell.client, fn, given).id)
        named = shell.client.procedure(procedure_of(procedure))
        return named.start(fn, *given.args, **(given.kwargs or {}))

    _begin(shell, begin, fn, follow=follow)


@command("stop")
def stop(shell: Shell, procedure: options.ProcedureOrNone = None, reason: Reason = "", abort: Abort = None) -> None:
    """End a procedure, whatever it is doing; the device's abort script follows.

    Without an id it is the active one: that which is RUNNING, else the only one that lives. Returns at once, and says
    which procedure is the abort script's. Of one that had ended already it says how.

    Exit status: 0 done, 3 refused, 5 unreachable.
    """
    from . import _reach as reach

    ended: str | None = None
    if procedure is None:
        uid, aborts = reach.stop_any(shell.client, reason, abort)
    else:
        named = shell.client.procedure(procedure_of(procedure))
        before = named.summary()
        ended = str(before.state) if before.state.is_terminal else None
        uid, aborts = named.id, reach.stop(shell.client, named, reason, abort)
    if shell.as_json:
        shell.data({"stopped": uid, "ended": ended, "abort": [dict(each.data) for each in aborts]})
        return
    if ended:
        how = one_line(f"{ended}: {before.reason}")
        shell.line(f"Procedure {uid} had ended already, at {shell.time(before.since)}: it is {how}")
    else:
        shell.line(f"Stop of {'the active procedure' if uid is None else f'procedure {uid}'} is under way.")
    for each in aborts:
        shell.line(f"The abort script is procedure {each.id}: {each.script}")


def script_of(script: str, git: str | None, branch: str | None, commit: str | None, env: bool) -> Script:
    """Return the script that is meant.

    :raises typer.BadParameter: options of a git script without --git
    """
    if git is not None:
        from ..client import GitScript

        return GitScript(git, script, branch, commit, env)
    if branch or commit or env:
        raise typer.BadParameter("--branch, --commit and --env belong to --git URL")
    return script


def say_new(shell: Shell, summary: Summary) -> None:
    """Say which procedure it is that was asked for."""
    if shell.as_json:
        shell.data(summary.data)
    else:
        shell.line(f"Procedure {summary.id} of {shell.client.device}: {summary.script}, run id {summary.run_id}")


def _begin(shell: Shell, begin: Callable[[], Procedure], fn: str, *, follow: bool) -> None:
    if not follow:
        say_new(shell, begin().summary())
        return
    from ._follow import follow_procedure

    follow_procedure(shell, begin, fn)
