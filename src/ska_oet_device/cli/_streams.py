"""Commands that may go on: output and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import _options as options
from ._app import command
from ._shell import Shell
from ._text import one_line
from ._values import procedure_of

if TYPE_CHECKING:
    from ..client import LifecycleEvent

Raw = Annotated[bool, typer.Option("--raw", help="Leave the text as the script has printed it.")]


@command("output")
def output(
    shell: Shell,
    procedure: options.Procedure,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the procedure has ended.")] = False,
    raw: Raw = False,
) -> int | None:
    """Show what a script and its children have printed.

    Of control characters the line ends, tabs and carriage returns stay, and on a terminal the colours; what else could
    steer a terminal is left out, but with --raw and --json.

    Exit status: 0 done, whatever became of the procedure; 3 there is none; 5 unreachable; 130 left by Ctrl-C.
    """
    uid = shell.client.procedure(procedure_of(procedure)).id
    if follow:
        return _follow_output(shell, uid, raw=raw)
    _write_output(shell, uid, _reader(shell, uid, raw=raw))
    return None


@command("events")
def events(
    shell: Shell,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with each new event.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="NUMBER", parser=options.whole_number, help="How many of the past.")
    ] = 20,
) -> int | None:
    """Show the changes of all procedures: the newest of the past, oldest first, and with --follow each new one.

    Exit status: 0 done, 5 unreachable, 130 left by Ctrl-C.
    """
    from ._reach import events_after, newest_sequence

    last = newest_sequence(shell.client)
    if not follow:
        for event in events_after(shell.client, max(0, last - limit)):
            write_event(shell, event)
        return None
    return _follow_events(shell, limit)


def write_event(shell: Shell, event: LifecycleEvent) -> None:
    """Write a lifecycle event: in JSON as the contract has it, else as a line."""
    if shell.as_json:
        shell.data(event_data(event))
        return
    state = f"{shell.coloured(f'{event.state:<12}')}  {one_line(event.reason or '')}".rstrip()
    shell.line(f"{shell.time(event.time)}  {event.sequence:>6}  {event.process_uid:>4}  {state}")


def event_data(event: LifecycleEvent) -> dict[str, Any]:
    """Return a lifecycle event as the contract writes it."""
    return {
        "sequence": event.sequence,
        "process_uid": event.process_uid,
        "run_id": event.run_id,
        "previous": event.previous and str(event.previous),
        "state": str(event.state),
        "time": event.time,
        "reason": event.reason,
    }


def _reader(shell: Shell, uid: int, *, raw: bool) -> Any:
    from ._output import Output

    return Output(shell, uid, raw=raw or shell.as_json)


def _write_output(shell: Shell, uid: int, reader: Any) -> None:
    """Write what is there; in JSON as objects with a text each."""
    while text := reader.more():
        if shell.as_json:
            shell.data({"process_uid": uid, "output": text})
        else:
            shell.write(text)
    shell.write(reader.end())


def _follow_output(shell: Shell, uid: int, *, raw: bool) -> int | None:
    from ._attention import Interrupt, attention

    reader = _reader(shell, uid, raw=raw)
    with attention(shell, "scriptOutput") as items:
        _write_output(shell, uid, reader)
        while not reader.is_complete:
            item = items.get()
            if isinstance(item, Interrupt) and item.ends:
                return item.status
            _write_output(shell, uid, reader)
    return None


def _follow_events(shell: Shell, limit: int) -> int:
    from ..client import LifecycleEvent
    from ._attention import Interrupt, attention
    from ._reach import events_after, newest_sequence

    with attention(shell) as items:
        last = max(0, newest_sequence(shell.client) - limit)
        for event in events_after(shell.client, last):
            write_event(shell, event)
            last = event.sequence
        while True:
            item = items.get()
            if isinstance(item, Interrupt) and item.ends:
                return item.status
            if isinstance(item, LifecycleEvent) and item.sequence > last:
                write_event(shell, item)
