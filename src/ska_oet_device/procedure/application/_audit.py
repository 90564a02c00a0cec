"""What was asked, by whom, and what became of it: kept in the history, which nobody can fill by asking.

Whatever starts or stops something is kept, each by itself.  What changes nothing (refusals, a Stop of what has ended, a
second Stop) or little (the flag) is kept while a bucket of tokens lasts; how much more there was is one entry.
"""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import brief
from ..history import MemoryHistory
from ._model import Caller

MANY = "(many)"
"""The command of an entry that stands for several requests."""

SERVER = "device server"
"""The client of an entry on what the device server has found out itself."""

NOT_FOLLOWED = "not followed: "
"""What begins the entry on an abort script that could not follow; the sentence that Status has of it stands behind."""

_BURST = 100  # requests that may follow each other without a pause; one more each second for ever
_APART = 10.0  # seconds between two entries that stand for several requests
_LONGEST_NAME, _LONGEST_ANSWER = 200, 1000  # characters


@dataclass(frozen=True)
class _LeftOut:
    """How many requests have no entry of their own, since when (Unix seconds), and the last of them."""

    count: int
    since: float
    last: str


class Audit:
    """Keeps requests and their answers.  Any thread."""

    def __init__(self, history: MemoryHistory, now: Callable[[], float] = clock.monotonic) -> None:
        self._history = history
        self._now = now
        self._lock = threading.Lock()
        self._tokens, self._refilled = float(_BURST), now()
        self._left_out: _LeftOut | None = None
        self._told = now()
        self._told_on_request = self._told - _APART

    def keep(self, command: str, caller: Caller, process_uid: int, answer: str, time: float = 0.0) -> None:
        """Keep a request that has done something; time in Unix seconds, 0: now."""
        command = caller.via or command
        user = brief(caller.user, _LONGEST_NAME) if caller.user is not None else None
        client, answer = brief(caller.client, _LONGEST_NAME), brief(answer, _LONGEST_ANSWER)
        self._history.add_request(command, client, user, process_uid, time or clock.time(), answer)

    def note(self, command: str, caller: Caller, process_uid: int, answer: str, time: float = 0.0) -> None:
        """Keep, or at least count, a request that has done nothing, or little; `time` as `keep` has it."""
        with self._lock:
            if not self._take_token():
                known = self._left_out or _LeftOut(0, clock.time(), "")
                last = f"{caller.via or command} of {caller.client or 'an unknown client'}: {answer}"
                self._left_out = _LeftOut(known.count + 1, known.since, brief(last, _LONGEST_ANSWER // 2))
                return
        self.keep(command, caller, process_uid, answer, time)

    def tell_left_out(self, *, at_once: bool = False) -> None:
        """Keep how many requests have no entry of their own, if there are any.  To be called now and then.

        :param at_once: however short ago it was done; at the end of the server
        """
        with self._lock:
            left_out = self._left_out
            if left_out is None or (not at_once and self._now() - self._told < _APART):
                return
            self._left_out, self._told = None, self._now()
        since = clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(left_out.since))
        text = (
            f"{left_out.count} more requests since {since}, which changed little or nothing; the last: {left_out.last}"
        )
        self.keep(MANY, Caller(), 0, text)

    def tell_left_out_on_request(self) -> None:
        """The same for somebody who wants to know now; not so often that asking would fill the history."""
        with self._lock:
            now = self._now()
            if self._left_out is None or now - self._told_on_request < _APART:
                return
            self._told_on_request = now
        self.tell_left_out(at_once=True)

    def _take_token(self) -> bool:
        now = self._now()
        self._tokens, self._refilled = min(_BURST, self._tokens + now - self._refilled), now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
