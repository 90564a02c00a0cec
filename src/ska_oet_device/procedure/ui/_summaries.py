"""Summaries as JSON text, at a cost that does not grow with what a procedure has been through.

A summary tells every state that its procedure has entered, every call and every request.  A script
that a sequencer calls step by step comes to thousands of them, and each command is answered with all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..application import ProcedureSummary
from ._answers import capture_data, request_record_data, state_data, summary_data
from ._devstring import to_json

_LONG = 32  # entries from which on their text is kept
_MOST_KEPT = 64  # procedures


class _GrownList:
    """The JSON of tuples that grow at their ends, by the run that each belongs to.  Any thread."""

    def __init__(self, data_of: Callable[[Any], Any]) -> None:
        self._data_of = data_of
        self._known: OrderedDict[str, tuple[tuple[Any, ...], str]] = OrderedDict()

    def json(self, run_id: str, items: tuple[Any, ...]) -> str:
        """Return the items as a JSON list; only those that were not there before are encoded."""
        if len(items) < _LONG:
            return to_json([self._data_of(item) for item in items])
        known, text = self._known.get(run_id, ((), ""))
        if items[: len(known)] != known:
            known, text = (), ""
        new = [to_json(self._data_of(item)) for item in items[len(known) :]]
        text = ", ".join([text, *new] if text else new)
        self._known[run_id] = items, text
        while len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)
        return f"[{text}]"


_STATES = _GrownList(state_data)
_CAPTURES = _GrownList(capture_data)
_REQUESTS = _GrownList(request_record_data)


def summary_json(summary: ProcedureSummary) -> str:
    """Return a ProcedureSummary as the contract writes it."""
    states, captures, requests = summary.history.process_states, summary.script_args, summary.requested_by
    if max(len(states), len(captures), len(requests)) < _LONG:
        return to_json(summary_data(summary))
    short = replace(summary, script_args=(), requested_by=(), history=replace(summary.history, process_states=()))
    data = summary_data(short)
    history = _texts(data["history"]) | {"process_states": _STATES.json(summary.run_id, states)}
    parts = {
        "script_args": _CAPTURES.json(summary.run_id, captures),
        "history": _object(history),
        "requested_by": _REQUESTS.json(summary.run_id, requests),
    }
    return _object(_texts(data) | parts)


def summaries_json(summaries: Iterable[ProcedureSummary]) -> str:
    """Return a JSON list of summaries, stack traces included."""
    return f"[{', '.join(summary_json(summary) for summary in summaries)}]"


def _texts(data: Mapping[str, Any]) -> dict[str, str]:
    return {name: to_json(value) for name, value in data.items()}


def _object(texts: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{to_json(name)}: {text}' for name, text in texts.items())}}}"


class SummaryViews:
    """The current summaries as JSON, each of them written once.  Any thread."""

    def __init__(self, text_of: Callable[[ProcedureSummary], str] = summary_json) -> None:
        """Begin without any.

        :param text_of: writes a summary
        """
        self._text_of = text_of
        self._texts: dict[int, tuple[ProcedureSummary, str]] = {}

    def text(self, summary: ProcedureSummary) -> str:
        """Return a summary as JSON."""
        known = self._texts.get(summary.id)
        if known is None or known[0] is not summary:
            known = self._texts[summary.id] = (summary, self._text_of(summary))
        return known[1]

    def keep(self, summaries: Collection[ProcedureSummary]) -> None:
        """Forget all others, now and then."""
        if len(self._texts) > 2 * len(summaries) + 16:
            current = {summary.id for summary in summaries}
            self._texts = {uid: known for uid, known in list(self._texts.items()) if uid in current}
