"""A history that ends with the process, and what every history has in common."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ..ownership import Owner
from ..state import ProcedureState
from ._filter import Found, ProcedureFilter
from ._numbers import Counts, Numbers, counts_of_now
from ._records import LARGEST_NUMBER, LifecycleEvent, StoredCall, StoredProcedure, StoredRequest, readable

_log = logging.getLogger(__name__)

EVENTS_KEPT = 5_000
_REQUESTS_KEPT = 1_000
_MOST_AHEAD = 1_000_000
"""How far files may be ahead of a history: one that was taken back from a copy of yesterday knows less than they."""

Then = Callable[[], None]


class MemoryHistory:
    """Ids, events and requests of one device, kept in memory.

    Methods may be called by any thread.  What is given as `then` is called, perhaps in another
    thread, once the thing is kept or cannot be waited for any longer; what is given as `kept`
    once it is really kept, or lost for good.
    """

    def __init__(self, device: str = "", problem: str = "", numbers: Numbers | None = None) -> None:
        """Begin a history.

        :param device: what the device's state is called
        :param problem: why there is none that lasts, in one sentence; empty if none is wanted
        :param numbers: where the highest numbers are kept, and are known from
        """
        self.device = device
        self.previous: Owner | None = None
        """Who wrote to it before this server, if that was another one and is known."""
        self._problem = problem
        self._numbers = numbers or Numbers(None)
        self._lock = threading.Lock()
        counts = self._numbers.known or Counts()
        self._last_id, self._sequence, self._last_request = counts.ids, counts.sequence, counts.requests
        self._newest_kept = self._sequence
        self._events: deque[LifecycleEvent] = deque(maxlen=EVENTS_KEPT)
        self._requests: deque[StoredRequest] = deque(maxlen=_REQUESTS_KEPT)

    # -- what is said

    def next_id(self) -> int:
        """Return an id that was never given before on this device."""
        with self._lock:
            self._last_id += 1
            self._numbers.note(ids=self._last_id)
            return self._last_id

    def next_event(
        self,
        process_uid: int,
        run_id: str,
        previous: ProcedureState | None,
        state: ProcedureState,
        time: float,
        reason: str | None,
    ) -> LifecycleEvent:
        """Give a change its sequence number; it is kept by `add_procedure` or `keep`, in the same order."""
        with self._lock:
            self._sequence += 1
            event = LifecycleEvent(self._sequence, process_uid, run_id, previous, state, time, readable(reason))
            self._events.append(event)
            return event

    def add_procedure(self, procedure: StoredProcedure, event: LifecycleEvent, then: Then) -> None:
        """Keep a new procedure and the event of its creation."""
        self._kept(event, then)

    def keep(
        self,
        event: LifecycleEvent,
        values: Mapping[str, Any],
        then: Then,
        number: int = 0,
        kept: Then | None = None,
    ) -> None:
        """Keep a change; `values` are fields of StoredProcedure, `number` is main's of the announcement."""
        self._kept(event, then)
        if kept is not None:
            kept()

    def _kept(self, event: LifecycleEvent, then: Then) -> None:
        """Note that an event is kept, or cannot be waited for; called in the order of the sequence."""
        self._newest_kept = event.sequence
        self._numbers.note(sequence=event.sequence)  # before anybody is told of it
        then()

    def update(self, process_uid: int, values: Mapping[str, Any], number: int = 0, kept: Then | None = None) -> None:
        """Keep fields of a procedure that are no lifecycle change."""
        if kept is not None:
            kept()

    def add_call(self, process_uid: int, call: StoredCall) -> None:
        """Keep a call that was asked for."""

    def add_request(
        self, command: str, client: str, user: str | None, process_uid: int, time: float, answer: str
    ) -> StoredRequest:
        """Keep a request and its answer; returns it with its number."""
        with self._lock:
            self._last_request += 1
            self._numbers.note(requests=self._last_request)
            request = StoredRequest(self._last_request, time, command, client, user, process_uid, answer)
            self._requests.append(request)
            return request

    def forget_before(self, time: float) -> None:
        """Delete what ended before `time` (Unix seconds), and the requests of that age."""

    def probe(self) -> None:
        """Find out whether the history can be written, by writing; `problem` tells."""

    def wait(self, seconds: float) -> bool:
        """Wait until everything said so far is kept; False if that takes longer."""
        return True

    def adopt(self, procedure: StoredProcedure) -> None:
        """Keep a procedure that was begun by an earlier server, of which perhaps nothing was kept."""

    def acknowledge(self) -> None:
        """Somebody has seen what `problem` says of changes that are lost: it need not say so any more."""

    @property
    def is_there(self) -> bool:
        """Whether it can tell what happened before this server; False while its database has not answered yet."""
        return True

    def has_arrived(self) -> bool:
        """Say, once, that a database which was not there at the start has come, with what it knows of earlier days."""
        return False

    def close(self) -> None:
        """Let go of it: another server may go on with it.  Waits for nothing."""
        self._numbers.close()

    def reserve_ids(self, highest: int) -> None:
        """Give no id up to `highest` from now on."""
        with self._lock:
            self._last_id = max(self._last_id, highest)

    def reserve_ids_of_files(self, highest: int) -> None:
        """Give no id up to `highest`, of which there is a file, from now on; unless no such id can have been given."""
        if highest > (self._last_id or counts_of_now().ids) + _MOST_AHEAD:
            _log.error("a file has the name of procedure %d, but the newest is %d: ignored", highest, self._last_id)
            return
        self.reserve_ids(highest)

    # -- what is asked

    @property
    def last_sequence(self) -> int:
        """The sequence number of the newest event; 0 before the first."""
        return self._sequence

    @property
    def problem(self) -> str:
        """What keeps the history from being written, in one sentence; empty when all is well."""
        return self._problem

    def events_after(self, sequence: int, limit: int) -> list[LifecycleEvent]:
        """Return at most `limit` events with a higher sequence number, oldest first.

        What is not kept yet is not told: a crash could give its number to another event.
        """
        with self._lock:
            return _slice_after(self._events, sequence, min(limit, self._newest_kept - sequence))

    def requests_before(self, number: int, limit: int) -> list[StoredRequest]:
        """Return at most `limit` requests with a lower number (0: the newest), newest first."""
        with self._lock:
            found = [request for request in reversed(self._requests) if not number or request.number < number]
        return found[:limit]

    def procedures(self, ids: Iterable[int], longest: int = LARGEST_NUMBER) -> dict[int, StoredProcedure]:
        """Return those of the procedures that are kept.

        :param longest: bytes of arguments of a call; of longer ones their size is told; of a single procedure no more
            are read in all, the newest
        :raises TooLargeError: they have too many states, calls and requests to be read at once
        """
        return {}

    def find(self, wanted: ProcedureFilter, before: int, limit: int, skip: Collection[int] = ()) -> Found:
        """Return the ids of the newest procedures that are kept and fit, at most `limit` of them.

        A search ends after 0.1 s, perhaps before it has come to the oldest.

        :param before: only those with a lower id
        :param skip: ids that are not to be told
        :raises HistoryError: it cannot be read now
        """
        return Found()

    def unfinished(self, room: int = LARGEST_NUMBER) -> list[StoredProcedure]:
        """Return the procedures that have not ended, as far as is known.

        :param room: bytes of arguments that are read of each: the newest; of others their size is told
        """
        return []

    def newest_ended(self, count: int, room: int = LARGEST_NUMBER) -> list[StoredProcedure]:
        """Return the newest procedures that have ended, oldest first; `room` as `unfinished` has it."""
        return []

    def last_number(self, boot: str) -> int:
        """Return the number of main's newest announcement that is kept; 0 if that was another main."""
        return 0


def _slice_after(events: deque[LifecycleEvent], sequence: int, limit: int) -> list[LifecycleEvent]:
    if not events:
        return []
    first = max(0, sequence + 1 - events[0].sequence)
    return [events[i] for i in range(first, min(first + limit, len(events)))]
