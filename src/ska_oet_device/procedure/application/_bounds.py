"""How much is remembered of one procedure in the memory of the device server, and shown at once of several.

A script that is called step by step has thousands of calls, states and requests, and a call up to a megabyte of
arguments: the newest are what anybody wants to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ..history import MOST_ENTRIES
from ._model import ArgCapture, ProcedureSummary

MOST_SUMMARISED = 250
"""Procedures that are told of at once, beside all that are in the attributes: more take longer than a command may."""

MOST_TOLD = 5000
"""Procedures in the attributes beyond which they are told in parts alone."""

_SPARE = 250  # entries; to make room for each new one would cost more than it is worth
_ANSWER = 4 * 1024 * 1024  # bytes of arguments
ALIVE, ENDED = 1024 * 1024, 256 * 1024
"""Bytes of arguments that are kept here of a procedure that lives, and of one that has ended."""

_T = TypeVar("_T")


def appended(items: tuple[_T, ...], item: _T) -> tuple[_T, ...]:
    """Return `items` and one more; of too many the first and the newest."""
    items = (*items, item)
    return items if len(items) <= MOST_ENTRIES + _SPARE else (items[0], *items[1 - MOST_ENTRIES :])


def with_call(calls: tuple[ArgCapture, ...], call: ArgCapture) -> tuple[ArgCapture, ...]:
    """Return the calls of a procedure that lives, and one more: the newest megabyte of arguments is whole."""
    calls = appended(calls, call)
    # Half as much once it is too much: calls that stay the same need not be written anew.
    return calls if sum(each.kept for each in calls) <= ALIVE else _newest_whole(calls, max(call.size, ALIVE // 2))


def of_ended(calls: tuple[ArgCapture, ...]) -> tuple[ArgCapture, ...]:
    """Return the calls of a procedure that has ended."""
    return calls if sum(each.kept for each in calls) <= ENDED else _newest_whole(calls, ENDED)


def _newest_whole(calls: tuple[ArgCapture, ...], most: int) -> tuple[ArgCapture, ...]:
    shown = []
    for call in reversed(calls):
        fits = call.kept <= most
        most -= call.kept if fits else 0
        shown.append(call if fits else call.without_arguments)
    return tuple(reversed(shown))


def room_for(count: int) -> int:
    """Return how many bytes the arguments of a call may have where `count` procedures are told of at once."""
    return _ANSWER // max(1, count)


def share_room(summaries: Sequence[ProcedureSummary]) -> list[ProcedureSummary]:
    """Return summaries whose arguments have room beside each other; each that need not change is the very same."""
    longest = room_for(len(summaries))
    return [_with_short_calls(summary, longest) for summary in summaries]


def _with_short_calls(summary: ProcedureSummary, longest: int) -> ProcedureSummary:
    if all(call.kept <= longest for call in summary.script_args):
        return summary
    calls = (call if call.kept <= longest else call.without_arguments for call in summary.script_args)
    return replace(summary, script_args=tuple(calls))
