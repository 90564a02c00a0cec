"""What scripts publish: numbered, kept for those who ask later, and thinned for those who listen.

The link's thread puts messages in, the thread of events takes out what is to be pushed, and commands ask for
what is kept.  A flood is thinned where it comes in: what is skipped is not turned into JSON.
"""

from __future__ import annotations

import threading
import time as clock
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ...errors import InvalidArgumentError
from ...mptools import NotPlainError, dumps
from ..application import ProcedureSummary, Progress
from ..script_message import LARGEST_KWARGS, kwargs_in
from ._devstring import LARGEST_EVENT, to_json

BURST = 200
"""Events that may follow each other without a pause; as many a second may follow for ever."""

TOKEN_BYTES = 16 * 1024
"""Bytes that are pushed for one token: to make JSON of a large message keeps all other threads waiting."""

_MOST_READY = 1000  # events; ZMQ's queue for a subscriber holds no more
_MOST_READY_BYTES = 16 * 1024 * 1024
_MOST_KEPT = 10_000
_MOST_KEPT_BYTES = 32 * 1024 * 1024
_MOST_ANSWERED = 1000
_LARGEST_ANSWER = 1024 * 1024  # characters, beyond which no further message is added
_NOT_FOR_CLIENTS = (b'"!', b"NaN", b"Infinity")  # what only `loads` understands, or what looks like that
_ANSWER_TIME = 0.05  # seconds, after which no further message is added
_LONGEST_TOPIC = 1000  # characters


class Pushable(Protocol):
    """Something of a procedure that is to be pushed once its lifecycle event number `after` has been."""

    @property
    def process_uid(self) -> int: ...

    @property
    def after(self) -> int: ...

    @property
    def size(self) -> int:
        """How many bytes it takes, about."""


T = TypeVar("T", bound=Pushable)


class Thinner(Generic[T]):
    """What waits to be pushed: all there is while tokens last, then the newest at the rate of new tokens.

    The bucket holds `BURST` tokens, and gets as many a second.  A token is taken when a thing comes in, and more for a
    large one, so that what is skipped depends on when things came, and not on how busy this process is.  A thing that
    finds no token stands at the door: it is let in with the next one, unless a newer thing comes before that and takes
    its place.
    """

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._tokens, self._refilled = float(BURST), now()
        self._closed_until = 0.0
        self._ready: deque[tuple[T, int]] = deque()
        self._ready_bytes = 0
        self._door: T | None = None
        self._skipped = 0

    def put(self, item: T) -> bool:
        """Take something in; True if nothing waited before, so that whoever pushes must be woken."""
        with self._lock:
            if self._door is not None and (self._now() < self._closed_until or not self._let_in()):
                self._door = item
                self._skipped += 1
                return False
            waited = bool(self._ready)
            self._door = item
            self._let_in()
            return not waited

    def take(self, told: int) -> tuple[T, int] | None:
        """Return what is to be pushed next, if anything is, and how many were skipped for it.

        :param told: sequence number of the newest lifecycle event that has been pushed
        """
        with self._lock:
            self._let_in()
            if not self._ready or self._ready[0][0].after > told:
                return None
            first = self._ready.popleft()
            self._ready_bytes -= first[0].size
            self._closed_until = 0.0  # there is room
            return first

    def due(self, told: int) -> float | None:
        """Return in how many seconds `take` will have something; None: not before something happens."""
        with self._lock:
            self._let_in()
            first = self._ready[0][0] if self._ready else self._door
            if first is None or first.after > told:
                return None
            return 0.0 if self._ready else max(0.0, self._closed_until - self._now())

    def count_before(self, process_uid: int, sequence: int) -> int:
        """Return how many must be pushed before a procedure's lifecycle event is, which came in behind them.

        What stands at the door is let in: the token is owed.
        """
        with self._lock:
            door = self._door
            if door is not None and door.process_uid == process_uid and door.after < sequence:
                self._admit(door)
            last = 0
            for position, (item, _) in enumerate(self._ready, 1):
                if item.process_uid == process_uid and item.after < sequence:
                    last = position
            return last

    def _let_in(self) -> bool:
        """Let in what stands at the door, if there are a token and room; the lock is held."""
        door = self._door
        if door is None or not self._is_open():
            return False
        self._admit(door)
        return True

    def _is_open(self) -> bool:
        now = self._now()
        if now < self._closed_until:
            return False
        self._tokens = min(float(BURST), self._tokens + (now - self._refilled) * BURST)
        self._refilled = now
        if self._tokens < 1.0:
            self._closed_until = now + (1.0 - self._tokens) / BURST
        elif len(self._ready) >= _MOST_READY or self._ready_bytes > _MOST_READY_BYTES:
            self._closed_until = now + 1.0 / BURST
        else:
            self._closed_until = 0.0
        return not self._closed_until

    def _admit(self, item: T) -> None:
        self._tokens -= 1.0 + min(item.size, LARGEST_EVENT) // TOKEN_BYTES  # a larger one is told in few words
        self._ready.append((item, self._skipped))
        self._ready_bytes += item.size
        self._door, self._skipped = None, 0


class Message(NamedTuple):
    """One message of a script, with what it carries as it came over the pipe; `after` as in `Pushable`."""

    sequence: int
    process_uid: int
    after: int
    topic: str
    time: float
    payload: bytes

    @property
    def size(self) -> int:
        return len(self.payload)


class Report(NamedTuple):
    """A procedure's report of its progress; `after` as in `Pushable`."""

    process_uid: int
    after: int
    progress: Progress
    time: float

    @property
    def size(self) -> int:
        return len(self.progress.activity)


class ProgressReports:
    """What procedures report of their progress: what is to be pushed, and what each of them has told last.

    The link's thread puts reports in; all else is the thread of events'.
    """

    def __init__(self) -> None:
        self.waiting: Thinner[Report] = Thinner()
        self._told: dict[int, Progress] = {}

    def put(self, process_uid: int, after: int, progress: Progress, time: float) -> bool:
        """Take a report in; True if whoever pushes must be woken.  The link's thread.

        :param after: sequence number of the lifecycle event that must have been pushed before
        """
        return self.waiting.put(Report(process_uid, after, progress, time))

    def take(self, told: int) -> Report | None:
        """Return the report that is to be told next, if one is; `told` as in `Thinner.take`."""
        waiting = self.waiting.take(told)
        if waiting is None:
            return None
        report = waiting[0]
        self._told[report.process_uid] = report.progress
        return report

    def told_of(self, process_uid: int) -> Progress | None:
        """Return what a procedure has told last."""
        return self._told.get(process_uid)

    def keep(self, summaries: Sequence[ProcedureSummary]) -> None:
        """Forget all other procedures, now and then."""
        if len(self._told) > 2 * len(summaries) + 16:
            current = {summary.id for summary in summaries}
            self._told = {uid: progress for uid, progress in self._told.items() if uid in current}


class ScriptMessages:
    """The messages of a device's scripts: their numbers, the newest of them, and those that are to be pushed.

    Numbers count up by one.  They begin at the microseconds since the machine was started, so that a device server
    that is started anew goes on with higher ones: nobody publishes a million messages a second.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sequence = clock.clock_gettime_ns(clock.CLOCK_BOOTTIME) // 1000
        self._kept: deque[Message] = deque()
        self._kept_bytes = 0
        self.waiting: Thinner[Message] = Thinner()

    def put(
        self, process_uid: int, after: int, topic: str, data: Mapping[str, Any], time: float, payload: bytes
    ) -> bool:
        """Number and keep a message; True if whoever pushes must be woken.  The link's thread.

        :param after: sequence number of the lifecycle event that must have been pushed before
        :param payload: what it carries as it came, in JSON; empty if it did not come over a pipe
        """
        payload = payload or dumps(dict(data))
        with self._lock:
            self._sequence += 1
            message = Message(self._sequence, process_uid, after, topic, time, payload)
            self._kept.append(message)
            self._kept_bytes += len(payload)
            while len(self._kept) > _MOST_KEPT or (self._kept_bytes > _MOST_KEPT_BYTES and len(self._kept) > 1):
                self._kept_bytes -= len(self._kept.popleft().payload)
        return self.waiting.put(message)

    def after(self, sequence: int) -> str:
        """Return later messages as a JSON list, oldest first: what one answer holds.  Any thread.

        :param sequence: a number that was told before; 0, or one that was never given, for all that are kept
        :raises InvalidArgumentError: a negative sequence
        """
        if sequence < 0:
            raise InvalidArgumentError(f"sequence {sequence}: 0 asks for all that are kept")
        return _answer(self._later(sequence))

    def _later(self, sequence: int) -> list[Message]:
        with self._lock:
            if not self._kept:
                return []
            first = sequence + 1 - self._kept[0].sequence if sequence <= self._sequence else 0
            return list(islice(self._kept, max(0, first), max(0, first) + _MOST_ANSWERED))


def _answer(messages: list[Message]) -> str:
    """Return as many of the messages as a JSON list as one answer may hold, and one at least."""
    deadline = clock.monotonic() + _ANSWER_TIME
    texts: list[str] = []
    size = 0
    for message in messages:
        text = message_json(message)
        size += len(text)
        if texts and (size > _LARGEST_ANSWER or clock.monotonic() > deadline):
            break
        texts.append(text)
    return f"[{', '.join(texts)}]"


def message_json(message: Message) -> str:
    """Return a message as `ScriptEvents` has it; one that is too large is told without what it carries."""
    return _written(message, _kwargs_json(message.payload), {"skipped": 0})


def pushed_json(message: Message, skipped: int) -> str:
    """Return a message as it is pushed; of what is too large for an event `ScriptEvents` has the whole."""
    size = len(message.payload)
    if size <= LARGEST_EVENT:
        text = _written(message, _kwargs_json(message.payload), {"skipped": skipped})
        if len(text) <= LARGEST_EVENT:
            return text
    return _written(message, "null", {"skipped": skipped, "size": size})


def _written(message: Message, kwargs: str, more: dict[str, int]) -> str:
    head = {"sequence": message.sequence, "process_uid": message.process_uid, "topic": message.topic[:_LONGEST_TOPIC]}
    tail = {"time": message.time, **more}
    return f'{to_json(head)[:-1]}, "kwargs": {kwargs}, {to_json(tail)[1:]}'


def _kwargs_json(payload: bytes) -> str:
    """Return what a message carries as JSON for clients: as it came, if it is that already."""
    try:
        kwargs = kwargs_in(payload)
    except NotPlainError:  # a script may write to its pipe what it likes
        return "null"
    if kwargs is None:
        return "null"
    text = to_json(kwargs) if any(mark in payload for mark in _NOT_FOR_CLIENTS) else payload.decode()
    return text if len(text) <= LARGEST_KWARGS else "null"
