"""Commands that look once: list, describe, history, requests and environments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from . import _completion as completion
from . import _options as options
from ._app import command
from ._shell import Shell
from ._times import time_of
from ._values import procedure_of

if TYPE_CHECKING:
    from ..client import Request, Summary

_HEAD = ("ID", "STATE", "SINCE", "SCRIPT", "BY", "REASON")


@command("list")
def list_(shell: Shell) -> None:
    """Show the procedures that live, and the newest that have ended; oldest first.

    BY is who asked for it first: by prepare, or by run. `oet describe` names all who have asked for anything of it.

    Exit status: 0 done, 5 unreachable.
    """
    _write_summaries(shell, shell.client.summaries())


@command("describe")
def describe(shell: Shell, procedure: options.Procedure) -> None:
    """Show all that is known of a procedure: what ran, who asked, how it went, and why it ended.

    Exit status: 0 done, whatever became of it; 3 there is none; 5 unreachable.
    """
    from ._describe import write_description

    summary = shell.client.procedure(procedure_of(procedure)).summary()
    if shell.as_json:
        shell.data(summary.data)
    else:
        write_description(shell, summary)


@command("history")
def history(
    shell: Shell,
    since: Annotated[str, typer.Option(metavar="TIME", help="Created then or later: 2h, yesterday, ...")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Created before then.")] = "",
    script: Annotated[str, typer.Option(metavar="TEXT", help="A part of the script's URI.")] = "",
    state: Annotated[str, typer.Option(metavar="STATE", help="In this state.", autocompletion=completion.states)] = "",
    user: Annotated[str, typer.Option(metavar="NAME", help="A part of who asked for anything of it.")] = "",
    text: Annotated[
        str, typer.Option(metavar="TEXT", help="A part of script, arguments, reasons, stack trace, or who asked.")
    ] = "",
    limit: options.Limit = 20,
) -> None:
    """Show procedures of any age from the durable history, newest first.

    A TIME is 2026-11-30T20:00, 2026-11-30, 20:00 (today), today, yesterday, now, or how long ago: 90s, 30min, 2h, 3d,
    1w.

    Exit status: 0 done, also if there is none; 2 a TIME or a STATE that is none; 5 unreachable.
    """
    found = shell.client.history(
        since=time_of(since, utc=shell.utc) if since else None,
        until=time_of(until, utc=shell.utc) if until else None,
        script=script or None,
        state=_state_of(state),
        user=user or None,
        text=text or None,
        limit=limit or None,
    )
    _write_summaries(shell, found)


@command("requests")
def requests(shell: Shell, limit: options.Limit = 20) -> None:
    """Show who asked for what, and what was answered; newest first.

    Exit status: 0 done, 5 unreachable.
    """
    found = shell.client.requests(limit or None)
    if shell.as_json:
        for request in found:
            shell.data(dataclasses.asdict(request))
        return
    rows = [
        (each.number, each.command, shell.time(each.time), each.process_uid or "", _by(each), each.answer)
        for each in found
    ]
    shell.table(("NUMBER", "COMMAND", "TIME", "ID", "BY", "ANSWER"), rows)


@command("environments")
def environments(shell: Shell) -> None:
    """Show the virtual environments that were made for scripts from git.

    Exit status: 0 done, 5 unreachable.
    """
    found = shell.client.environments()
    if shell.as_json:
        for each in found:
            shell.data(each.data)
        return
    rows = [
        (
            each.env_id,
            each.state,
            f"{(each.size or 0) / 1e6:.0f} MB",
            shell.time(each.last_used) if each.last_used else "",
            "yes" if each.in_use else "no",
            each.reason or each.description,
        )
        for each in found
    ]
    shell.table(("ENVIRONMENT", "STATE", "SIZE", "LAST USED", "IN USE", "DESCRIPTION"), rows)


def _write_summaries(shell: Shell, found: Iterable[Summary]) -> None:
    if shell.as_json:
        for each in found:
            shell.data(each.data)
        return
    shell.table(_HEAD, [_row(shell, each) for each in found])


def _row(shell: Shell, summary: Summary) -> tuple[object, ...]:
    by = summary.requested_by[0] if summary.requested_by else None
    return (
        summary.id,
        str(summary.state),
        shell.time(summary.since),
        summary.script,
        (by.user or by.client) if by else "",
        summary.reason if summary.reason != "completed" else "",
    )


def _by(request: Request) -> str:
    return f"{request.user} ({request.client})" if request.user else str(request.client)


def _state_of(text: str) -> str | None:
    if not text:
        return None
    from ..client import ProcedureState

    try:
        return str(ProcedureState(text.upper()))
    except ValueError:
        names = ", ".join(map(str, ProcedureState))
        raise typer.BadParameter(f"--state {text!r} is none of {names}") from None
