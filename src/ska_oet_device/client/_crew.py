"""Many calls at once, each in a thread of its own with a time limit: one that hangs is left, and delays no other."""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..inbox import Inbox

T = TypeVar("T")
Call = Callable[[], Any]


@dataclass(frozen=True)
class Done(Generic[T]):
    """What became of a call: what it has returned, or raised; a TimeoutError if it took too long."""

    key: str
    result: T | None
    error: Exception | None


@dataclass
class _Running:
    key: str
    deadline: float


class Crew:
    """Does what it is asked, `slots` calls at once, in the order in which it is asked; for one thread that asks.

    Nothing is done twice at a time for one key: what is asked of it meanwhile is done behind.

    :param slots: how many calls run at once; one that was given up counts no more
    :param put: takes `Returned`, in any thread, and hands it to `take` in the thread that asks
    """

    def __init__(self, slots: int, put: Callable[[Returned], None]) -> None:
        self._slots = slots
        self._put = put
        self._waiting: collections.deque[tuple[str, Call, float]] = collections.deque()
        self._running: dict[int, _Running] = {}
        self._number = 0

    def ask(self, key: str, call: Call, timeout: float) -> None:
        """Have a call made as soon as there is a slot; `timeout` in seconds from then on."""
        self._waiting.append((key, call, timeout))
        self._fill()

    def is_busy_with(self, key: str) -> bool:
        """Say whether something is being done for this key, or will be."""
        return any(key == each.key for each in self._running.values()) or any(key == each[0] for each in self._waiting)

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    @property
    def expiry(self) -> float:
        """When the next call has taken too long, by the monotonic clock; infinity if none runs."""
        return min((each.deadline for each in self._running.values()), default=float("inf"))

    def take(self, returned: Returned) -> Done[Any] | None:
        """Take what a call has returned; None if it was given up before, or is another crew's."""
        running = self._running.pop(returned.number, None) if returned.by is self else None
        self._fill()
        return None if running is None else Done(running.key, returned.result, returned.error)

    def expire(self) -> list[Done[Any]]:
        """Give up the calls that have taken too long, and return them."""
        now = time.monotonic()
        late = [number for number, each in self._running.items() if each.deadline <= now]
        gone = [Done[Any](self._running.pop(number).key, None, TimeoutError()) for number in late]
        self._fill()
        return gone

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._slots:
            key, call, timeout = self._waiting.popleft()
            self._number += 1
            number = self._number
            self._running[number] = _Running(key, time.monotonic() + timeout)
            threading.Thread(target=self._call, args=(number, call), name=f"oet-fleet {key}", daemon=True).start()

    def _call(self, number: int, call: Call) -> None:
        try:
            self._put(Returned(self, number, call(), None))
        except Exception as error:  # whatever it was, it is the answer
            self._put(Returned(self, number, None, error))


@dataclass(frozen=True)
class Returned:
    """What a thread of a crew hands back."""

    by: Crew
    number: int
    result: Any
    error: Exception | None


def all_done(calls: Mapping[str, Call], timeout: float, slots: int) -> dict[str, Done[Any]]:
    """Make calls, and return what became of each.

    :param timeout: seconds for each of them
    """
    inbox: Inbox[Returned] = Inbox()
    crew = Crew(slots, inbox.put)
    for key, call in calls.items():
        crew.ask(key, call, timeout)
    done: dict[str, Done[Any]] = {}
    while crew:
        try:
            found = crew.take(inbox.get(timeout=max(0.0, crew.expiry - time.monotonic())))
        except queue.Empty:
            done.update({each.key: each for each in crew.expire()})
        else:
            done.update({found.key: found} if found is not None else {})
    return done
