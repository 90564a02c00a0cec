"""All that is known of a procedure, for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from ._table import folded
from ._text import lines_of, one_line

if TYPE_CHECKING:
    from ..client import Call, Summary
    from ._shell import Shell


_NAMES = 13  # columns
_NARROW = 60  # columns, below which a name has a line of its own
_INDENT = 2
Fact = tuple[str, str, str]
"""Name (empty: as before), text, and what of the text is a state, for its colour."""


def write_description(shell: Shell, summary: Summary) -> None:
    """Write it to standard output: nothing is left out but what a JSON reader alone needs."""
    for fact in _facts(shell, summary):
        _write(shell, *fact)
    if summary.stacktrace:
        shell.line("traceback:")
        for line in lines_of(summary.stacktrace).rstrip().split("\n"):
            shell.line(f"  {line}")


def _write(shell: Shell, name: str, text: str, state: str) -> None:
    """Write a fact, folded where a terminal is not wide enough."""
    label = f"{name}:" if name else ""
    if shell.width is None or _NAMES + cell_len(text) <= shell.width:
        lines, indent = [text], _NAMES
    else:
        indent = _NAMES if shell.width >= _NARROW else _INDENT
        lines = folded(text, max(1, shell.width - indent))
    if indent == _INDENT and label:
        shell.line(label)
        label = ""
    for line in lines:
        shell.line(f"{label:<{indent}}{line.replace(state, shell.coloured(state)) if state else line}".rstrip())
        label = ""


def _facts(shell: Shell, summary: Summary) -> Iterator[Fact]:
    yield "procedure", str(summary.id), ""
    yield "run id", one_line(summary.run_id), ""
    yield "script", one_line(summary.script), ""
    yield from _source(summary.data)
    yield "state", str(summary.state), str(summary.state)
    if summary.reason:
        yield "reason", one_line(summary.reason), ""
    if summary.result is not None:
        yield "result", _value(summary.result), ""
    yield from _listed("calls", [(_call(shell, summary, call), "") for call in summary.calls])
    yield from _listed("states", list(_states(shell, summary)))
    requests = []
    for by in summary.requested_by:
        who = f"{by.user} ({by.client})" if by.user else by.client
        requests.append((f"{shell.time(by.time)}  {by.command} by {one_line(who)}", ""))
    yield from _listed("requests", requests)


def _listed(name: str, texts: Sequence[tuple[str, str]]) -> Iterator[Fact]:
    for number, (text, state) in enumerate(texts):
        yield name if not number else "", text, state


def _call(shell: Shell, summary: Summary, call: Call) -> str:
    """Return a call as Python would write it; what nobody has given is said to be filled in."""
    filled_in = ((summary.data.get("provenance") or {}).get("filled_in") or {}).get(call.function) or {}
    words = [*map(_value, call.args), *(f"{name}={_value(value)}" for name, value in call.kwargs.items())]
    words += [f"{name}={_value(value)} filled in" for name, value in filled_in.items() if name not in call.kwargs]
    return f"{shell.time(call.time)}  {one_line(call.function)}({one_line(', '.join(words))})"


def _states(shell: Shell, summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield the states that were entered; the READY of a start that was dropped says why."""
    dropped = list(summary.data["history"].get("dropped_starts") or ())
    for state, time in summary.states:
        text = f"{shell.time(time)}  {state}"
        if dropped and state == "READY" and dropped[0]["time"] == time:
            text += f"  start dropped: {one_line(dropped.pop(0)['reason'])}"
        yield text, str(state)
    for each in dropped:  # of long lists the device leaves out some
        yield f"{shell.time(each['time'])}  start dropped: {one_line(each['reason'])}", ""


def _source(data: Mapping[str, Any]) -> Iterator[Fact]:
    provenance = data.get("provenance") or {}
    git = data["script"].get("git_args") or {}
    if git.get("git_repo"):
        yield "repository", one_line(git["git_repo"]), ""
    for name, key in (("path", "path"), ("sha256", "sha256"), ("commit", "git_commit"), ("environment", "environment")):
        if provenance.get(key):
            yield name, one_line(provenance[key]), ""


def _value(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False))
