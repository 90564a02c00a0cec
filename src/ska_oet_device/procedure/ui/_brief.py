"""Summaries as the attribute `procedures` has them: what is long is shortened, and says so; none is ever large.

The attribute is pushed after each change, and up to 1,000 events wait for a subscriber that does not read: its size
is what a subscriber costs that was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ..application import ArgCapture, ProcedureHistory, ProcedureSummary, Snapshot
from ._answers import brief_summary_data, capture_data
from ._devstring import to_json
from ._summaries import SummaryViews

LARGEST_SUMMARY = 2048  # bytes
LARGEST_LIST = 128 * 1024  # bytes: 64 of the largest summaries, or some 120 as scripts usually come to

_BRACKETS, _SEPARATOR = "[]", ", "


@dataclass(frozen=True)
class _Limits:
    """How much of a summary is left.

    :param entries: the newest entries of each list
    :param text: bytes of the JSON of each text
    :param arguments: bytes of the JSON of each call's arguments
    """

    entries: int
    text: int
    arguments: int


# The first that leaves at most LARGEST_SUMMARY is taken; the last one always does.
_STEPS = (_Limits(32, 1024, 1024), _Limits(16, 256, 256), _Limits(8, 128, 128), _Limits(4, 64, 64), _Limits(1, 24, 0))
_MOST_VALUES = 8  # of the arguments of a call, and of any object
_DEEPEST = 3


class BriefSummaries:
    """The current summaries as the attribute `procedures`, each of them written once.  Any thread."""

    def __init__(self) -> None:
        self._views = SummaryViews(brief_json)

    def json(self, snapshot: Snapshot) -> str:
        """Return the living, and the newest of the others, as a JSON list in their order.

        It has at most LARGEST_LIST bytes, unless those that live alone have more.
        """
        shown = self._shown(snapshot)
        self._views.keep(shown)
        return f"[{_SEPARATOR.join(map(self._views.text, shown))}]"

    def _shown(self, snapshot: Snapshot) -> list[ProcedureSummary]:
        """Return those that there is room for; no other is looked at, since HistoryLength may be 100,000."""
        living = {summary.id for summary in snapshot.living}
        room = LARGEST_LIST - len(_BRACKETS) - sum(map(self._size, snapshot.living))
        shown: list[ProcedureSummary] = []
        for summary in reversed(snapshot.summaries):
            if summary.id in living:
                living.remove(summary.id)
                shown.append(summary)
            elif room > 0:
                room -= self._size(summary)
                if room >= 0:
                    shown.append(summary)
            elif not living:
                break
        return shown[::-1]

    def _size(self, summary: ProcedureSummary) -> int:
        return len(self._views.text(summary)) + len(_SEPARATOR)


def brief_json(summary: ProcedureSummary) -> str:
    """Return a summary of at most LARGEST_SUMMARY bytes, without its stack trace."""
    text = ""
    for limits in _STEPS:
        text = to_json(_Shortener(limits).data(summary))
        if len(text) <= LARGEST_SUMMARY:
            break
    return text


class _Shortener:
    """Shortens one summary, and counts what it leaves out."""

    def __init__(self, limits: _Limits) -> None:
        self._limits = limits
        self._left_out: dict[str, int] = {}

    def data(self, summary: ProcedureSummary) -> dict[str, Any]:
        """Return the data of a summary; `left_out` says how many entries are missing from which list, if any are."""
        calls = self._newest("script_args", summary.script_args)
        requests = self._newest("requested_by", summary.requested_by)
        few = replace(summary, script_args=(), requested_by=requests, history=self._history(summary.history))
        data: dict[str, Any] = self._short(brief_summary_data(few), 0)
        data["provenance"] = self._if_small("provenance", data["provenance"])
        data["history"]["exit"] = self._ending(summary.history.exit, data["history"]["exit"])
        data["script_args"] = [self._call(call) for call in calls]
        return data | ({"left_out": self._left_out} if self._left_out else {})

    def _history(self, history: ProcedureHistory) -> ProcedureHistory:
        ending = {
            _text(name, self._limits.text): self._of_ending(name, value)
            for name, value in list((history.exit or {}).items())[:_MOST_VALUES]
        }
        return replace(
            history,
            process_states=self._newest("process_states", history.process_states),
            dropped_starts=self._newest("dropped_starts", history.dropped_starts),
            exit=ending or history.exit,
        )

    def _of_ending(self, name: str, value: Any) -> Any:
        if name == "result":  # see `_ending`
            return None
        return self._newest(name, value) if isinstance(value, (list, tuple)) else value

    def _ending(self, whole: dict[str, Any] | None, short: Any) -> Any:
        """Return how the process ended; of what `main` has returned, what is to be said of it."""
        if short is not None and whole is not None and "result" in whole:
            short["result"] = _value(whole["result"], self._limits.text)
        return self._if_small("exit", short)

    def _newest(self, name: str, items: Any) -> Any:
        more = len(items) - self._limits.entries
        if more <= 0:
            return items
        self._left_out[_text(name, self._limits.text)] = more
        return items[more:]

    def _if_small(self, name: str, value: Any) -> Any:
        """Return an object, or None where it is none of ours: they are small once their texts have been cut."""
        if len(to_json(value)) <= _MOST_VALUES * self._limits.text:
            return value
        self._left_out[name] = len(value)
        return None

    def _short(self, value: Any, depth: int) -> Any:
        """Return a part of a summary with its texts cut; what is deeper than anything of ours is left out."""
        if isinstance(value, str):
            return _text(value, self._limits.text)
        if not isinstance(value, (dict, list, tuple)):
            return value
        if depth > _DEEPEST:
            return None
        if isinstance(value, dict):
            items = list(value.items()) if depth == 0 else list(value.items())[:_MOST_VALUES]
            return {_text(str(key), self._limits.text): self._short(item, depth + 1) for key, item in items}
        return [self._short(item, depth + 1) for item in value]

    def _call(self, call: ArgCapture) -> dict[str, Any]:
        """Return a call; arguments that are too long are told by their beginnings, and their size."""
        if call.kept <= self._limits.arguments:
            return {**capture_data(call), "fn": _text(call.fn, self._limits.text)}
        shown = {**self._beginnings(call), "shortened": call.size}
        return {"fn": _text(call.fn, self._limits.text), "fn_args": shown, "time": call.time}

    def _beginnings(self, call: ArgCapture) -> dict[str, Any]:
        each, given = self._limits.arguments // _MOST_VALUES, call.fn_args
        named = list(given.kwargs.items())[:_MOST_VALUES]
        shown = {
            "args": [_value(value, each) for value in given.args[:_MOST_VALUES]],
            "kwargs": {_text(key, each): _value(value, each) for key, value in named},
        }
        return shown if len(to_json(shown)) <= self._limits.arguments else {"args": [], "kwargs": {}}


def _text(text: str, most: int) -> str:
    """Return a text, or its beginning and "…": at most `most` bytes of JSON, or hardly more."""
    kept = text[:most]
    while len(to_json(kept)) > most + len('""'):
        kept = kept[: len(kept) * 3 // 4]
    return text if len(kept) == len(text) else f"{kept}…"


def _value(value: Any, most: int) -> Any:
    """Return an argument, or what is to be said of one that has more than `most` bytes of JSON."""
    if isinstance(value, str):
        return _text(value, most)
    if _may_fit(value, most) and len(to_json(value)) <= most:
        return value
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return f"a list of {len(value)}" if isinstance(value, (list, tuple)) else "…"


def _may_fit(value: Any, most: int) -> bool:
    """Say whether a value may have `most` bytes of JSON; one that is too large is not looked through."""
    stack, least = [value], 0
    while stack and least <= most:
        item = stack.pop()
        least += len(item) if isinstance(item, (str, dict, list, tuple)) else 1
        if isinstance(item, dict):
            stack += islice(item.values(), most)
        elif isinstance(item, (list, tuple)):
            stack += item[:most]
    return least <= most
