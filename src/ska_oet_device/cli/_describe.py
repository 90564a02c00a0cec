"""All that is known of a procedure, for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._text import lines_of, one_line

if TYPE_CHECKING:
    from ..client import Summary
    from ._shell import Shell


def write_description(shell: Shell, summary: Summary) -> None:
    """Write it to standard output: nothing is left out but what a JSON reader alone needs."""
    for name, text in _facts(shell, summary):
        shell.line(f"{name and f'{name}:':<13}{text}".rstrip())
    if summary.stacktrace:
        shell.line("traceback:")
        for line in lines_of(summary.stacktrace).rstrip().split("\n"):
            shell.line(f"  {line}")


def _facts(shell: Shell, summary: Summary) -> Iterator[tuple[str, str]]:
    yield "procedure", str(summary.id)
    yield "run id", one_line(summary.run_id)
    yield "script", one_line(summary.script)
    yield from _source(summary.data)
    yield "state", shell.coloured(str(summary.state))
    if summary.reason:
        yield "reason", one_line(summary.reason)
    if summary.result is not None:
        yield "result", one_line(json.dumps(summary.result, ensure_ascii=False))
    for number, call in enumerate(summary.calls):
        words = [*map(_value, call.args), *(f"{name}={_value(value)}" for name, value in call.kwargs.items())]
        yield "calls" if not number else "", f"{shell.time(call.time)}  {one_line(call.function)}({', '.join(words)})"
    for number, (state, time) in enumerate(summary.states):
        yield "states" if not number else "", f"{shell.time(time)}  {shell.coloured(str(state))}"
    for number, by in enumerate(summary.requested_by):
        who = f"{by.user} ({by.client})" if by.user else by.client
        yield "requests" if not number else "", f"{shell.time(by.time)}  {by.command} by {one_line(who)}"
    for number, dropped in enumerate(summary.data["history"].get("dropped_starts") or ()):
        yield "dropped" if not number else "", one_line(json.dumps(dropped, ensure_ascii=False))


def _source(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    provenance = data.get("provenance") or {}
    git = data["script"].get("git_args") or {}
    if git.get("git_repo"):
        yield "repository", one_line(git["git_repo"])
    for name, key in (("path", "path"), ("sha256", "sha256"), ("commit", "git_commit"), ("environment", "environment")):
        if provenance.get(key):
            yield name, one_line(provenance[key])


def _value(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False))
