"""Who listens to a feed, and what each of them is told; any thread may join and leave."""

from __future__ import annotations

import collections
import logging
import threading

from ._answers import LifecycleEvent
from ._items import Item, Put, Reconnected, Value

_LOG = logging.getLogger(__name__)

_RECENT = 200  # lifecycle events that are kept for those who begin to listen a moment later


class Listeners:
    """Those who listen, and the newest lifecycle events.

    Whoever joins misses none: an event is told, and counted as known, in one step.
    """

    def __init__(self) -> None:
        self.last: int | None = None
        """The number of the newest lifecycle event that is known."""
        self._lock = threading.RLock()  # again: the garbage collector closes feeds, in whatever thread it runs
        self._puts: dict[int, tuple[frozenset[str], Put]] = {}
        self._next_key = 0
        self._recent: collections.deque[LifecycleEvent] = collections.deque(maxlen=_RECENT)

    def __len__(self) -> int:
        return len(self._puts)

    def join(self, put: Put, attributes: frozenset[str], since: int | None) -> int:
        """Have `put` called from now on, and return a key for `leave`.

        :param since: the number of a lifecycle event: those after it that are known are told at once, or Reconnected,
            if not all of them are known any more
        """
        with self._lock:
            if since is not None:
                known = [event for event in self._recent if event.sequence > since]
                if self.last is None or self.last - since != len(known):
                    put(Reconnected())
                for event in known:
                    put(event)
            key = self._next_key
            self._next_key += 1
            self._puts[key] = (attributes, put)
        return key

    def leave(self, key: int) -> None:
        """Call it no more."""
        with self._lock:
            del self._puts[key]

    def begin(self, last: int | None, *, anew: bool = False) -> None:
        """Count lifecycle events from behind this number on, if none is known yet, or `anew`."""
        with self._lock:
            if anew or self.last is None:
                self.last = last
                self._recent.clear()

    def wanted(self) -> set[str]:
        """Return the attributes of which somebody wants values."""
        with self._lock:
            return set().union(*(attributes for attributes, _ in self._puts.values()))

    def tell_event(self, event: LifecycleEvent) -> None:
        """Tell the next lifecycle event."""
        with self._lock:
            self.last = event.sequence
            self._recent.append(event)
            self.tell(event)

    def tell(self, item: Item) -> None:
        """Tell something to all, or a value to those who want it."""
        with self._lock:
            puts = list(self._puts.values())
        for attributes, put in puts:
            if isinstance(item, Value) and item.attribute not in attributes:
                continue
            try:
                put(item)
            except Exception:  # a listener harms neither the feed nor the others
                _LOG.exception("a listener of the device's events has failed")
