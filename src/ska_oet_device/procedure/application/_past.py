"""Looking for procedures, those that live and those of long ago: the truth of the former comes first.

The history may lag while its database is slow or away.  So what is known here is looked at here, and the history is
asked for the others alone.
"""

from __future__ import annotations

import itertools
import json
import time as clock
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...errors import TooLargeError, UnknownProcedureError
from ..history import LARGEST_NUMBER, MemoryHistory, ProcedureFilter, StoredProcedure, arguments_hold, holds, in_json
from ..script import GitScript
from ._bounds import MOST_SUMMARISED, MOST_TOLD, room_for, share_room
from ._model import ProcedureSummary
from ._procedure import Procedure
from ._procedures import Procedures
from ._stored import summary_of

_BUDGET = 0.14  # seconds until no more is read: what was read becomes JSON then, and a command has 0.2 s
_LOADED_TOGETHER = 25  # procedures
_LOOKED_AT_TOGETHER = 100


@dataclass(frozen=True)
class HistoryQuery:
    """The newest `limit` procedures that fit, with an id below `before` (0: any)."""

    wanted: ProcedureFilter
    before: int = 0
    limit: int = 100


class Past:
    """All procedures of a device that are known, here or in the history.  Any thread."""

    def __init__(self, procedures: Procedures, history: MemoryHistory, device: str) -> None:
        self._procedures = procedures
        self._history = history
        self._device = device

    def one_here(self, pid: int) -> Procedure:
        """Return a procedure that lives, or is one of the newest that have ended.

        :raises UnknownProcedureError: there is none
        """
        procedure = self._procedures.get(pid)
        if procedure is None:
            raise self._unknown(pid)
        return procedure

    def has_left(self, pid: int) -> bool:
        """Say whether a procedure has left the attributes for the durable history; the lock is not held.

        :raises UnknownProcedureError: it is nowhere
        """
        if self._procedures.get(pid) is not None:
            return False
        if not self._history.procedures([pid], 0):
            raise self._unknown(pid)
        return True

    def summarise(self, pids: Iterable[int] | None) -> list[ProcedureSummary]:
        """Return summaries: see `ScriptExecutionService.summarise`."""
        with self._procedures.lock:
            if pids is None:
                current = self._procedures.summaries
                if len(current) > MOST_TOLD:
                    raise TooLargeError(f"{len(current)} procedures are in the attributes: ask for some at a time")
                return share_room(current)
            wanted = list(itertools.islice(pids, MOST_SUMMARISED + 1))
            if len(wanted) > MOST_SUMMARISED:
                raise TooLargeError(f"more than {MOST_SUMMARISED} procedures are asked for: ask for fewer at a time")
            known = {pid: self._procedures.get(pid) for pid in wanted}
            found = {pid: procedure.summary for pid, procedure in known.items() if procedure is not None}
        older = [pid for pid in wanted if pid not in found]
        if older:
            stored = self._history.procedures(older, room_for(len(wanted)))
            found.update((pid, summary_of(each)) for pid, each in stored.items())
        for pid in wanted:
            if pid not in found:
                raise self._unknown(pid)
        return share_room([found[pid] for pid in wanted])

    def find(self, query: HistoryQuery) -> list[ProcedureSummary]:
        """Return summaries, newest first; perhaps fewer than asked for, though there are more: go on behind the last.

        :raises TooLargeError: nothing was found in the time for it; says how to go on
        :raises HistoryError: the history cannot be read, and what is known here is not all
        """
        deadline = clock.monotonic() + _BUDGET
        before = query.before or LARGEST_NUMBER
        with self._procedures.lock:
            known = {procedure.id: procedure.summary for procedure in self._procedures}
        here, looked_to = _fitting((known[pid] for pid in sorted(known, reverse=True) if pid < before), query, deadline)
        if query.wanted.run_id and here:
            return here
        stored = self._history.find(query.wanted, before, query.limit, known.keys())
        looked_to = max(looked_to, stored.looked_to)
        found = sorted((*(summary.id for summary in here), *stored.ids), reverse=True)
        ids = [pid for pid in found if pid >= looked_to][: query.limit]
        if not ids and looked_to:
            raise TooLargeError(
                f"nothing was found among the procedures from {looked_to} on, and to look at all takes longer than a"
                f' command may: go on with "before": {looked_to}, or say since, until or more'
            )
        return self._summaries(ids, {summary.id: summary for summary in here}, deadline)

    def _unknown(self, pid: int) -> UnknownProcedureError:
        return UnknownProcedureError(f"there is no procedure {pid} on {self._device or 'this device'}")

    def _summaries(
        self, ids: Sequence[int], here: dict[int, ProcedureSummary], deadline: float
    ) -> list[ProcedureSummary]:
        """Return the summaries of the first ids, of one at least: as many as can be read in the time for it."""
        found: list[ProcedureSummary] = []
        for first in range(0, len(ids), _LOADED_TOGETHER):
            part = ids[first : first + _LOADED_TOGETHER]
            older = [pid for pid in part if pid not in here]
            if older and found and clock.monotonic() > deadline:
                break
            read, stored = self._load(older, room_for(len(ids)))
            last = read[-1] if len(read) < len(older) else 0
            summaries = {**here, **{pid: summary_of(each) for pid, each in stored.items()}}
            found.extend(summaries[pid] for pid in part if pid in summaries and pid >= last)
            if last:
                break
        return share_room(found)

    def _load(self, ids: Sequence[int], longest: int) -> tuple[Sequence[int], dict[int, StoredProcedure]]:
        """Return as many of the first ids as the history reads together, one at least, and what it has of them."""
        while True:
            try:
                return ids, self._history.procedures(ids, longest)
            except TooLargeError:
                ids = ids[: len(ids) // 2]


def _fitting(
    summaries: Iterable[ProcedureSummary], query: HistoryQuery, deadline: float
) -> tuple[list[ProcedureSummary], int]:
    """Return those that fit, and the id below which none has been looked at; 0: all have been."""
    found: list[ProcedureSummary] = []
    for count, summary in enumerate(summaries):
        if count and count % _LOOKED_AT_TOGETHER == 0 and clock.monotonic() > deadline:
            return found, summary.id + 1
        if _fits(summary, query.wanted):
            found.append(summary)
            if len(found) == query.limit:
                return found, summary.id
    return found, 0


def _fits(summary: ProcedureSummary, wanted: ProcedureFilter) -> bool:
    states = summary.history.process_states
    created = states[0][1] if states else 0.0
    return (
        (wanted.since is None or created >= wanted.since)
        and (wanted.until is None or created < wanted.until)
        and (not wanted.run_id or summary.run_id == wanted.run_id)
        and (wanted.state is None or summary.state is wanted.state)
        and holds(summary.script.script_uri, wanted.script)
        and (not wanted.user or _asked_by(summary, wanted.user))
        and (not wanted.text or any(_texts_hold(summary, wanted.text)))
    )


def _asked_by(summary: ProcedureSummary, user: str) -> bool:
    return any(holds(request.user, user) or holds(request.client, user) for request in summary.requested_by)


def _texts_hold(summary: ProcedureSummary, text: str) -> Iterator[bool]:
    """Yield of each thing that is looked through whether it holds a text, as the history does in a database."""
    history, exit_ = summary.history, summary.history.exit or {}
    reasons = (reason for _, reason in history.dropped_starts)
    for each in (
        summary.script.script_uri,
        history.stacktrace,
        exit_.get("reason"),
        exit_.get("stop_reason"),
        *reasons,
    ):
        yield holds(each, text)
    if isinstance(summary.script, GitScript):
        yield holds(json.dumps(summary.script.as_data()), in_json(text))
    for call in summary.script_args:
        yield holds(call.fn, text) or arguments_hold(json.dumps(call.fn_args.as_data(), default=repr), text)
    yield _asked_by(summary, text)
