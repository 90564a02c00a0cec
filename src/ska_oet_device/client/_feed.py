"""What a device pushes, made whole: one thread subscribes, notices gaps, fetches what was missed, and tells it.

Tango's threads put what arrives into a queue; the feed's own thread does all the rest, so that a listener may take its
time, and no call to the device is made from a callback.  Nothing is asked of the device again and again: while it
cannot be reached, and only then, the feed tries, at growing intervals.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tango

from ._answers import LifecycleEvent
from ._errors import ForkedError, OetError, UnreachableError, translate

_LOG = logging.getLogger(__name__)

LIFECYCLE = ("lifecycleEvent", "lifecycleSequence")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds between attempts to reach a device that is away
_LOOKS_AFTER = (0.05, 0.2, 0.5, 1.0)  # seconds behind a subscription: Tango may connect only after it has returned


@dataclass(frozen=True)
class Value:
    """A value of an attribute that was pushed; `time` in Unix seconds, None for a value of quality INVALID."""

    attribute: str
    value: Any
    time: float


@dataclass(frozen=True)
class Reconnected:
    """The device could not be reached for a while, and can again: what stood there may be out of date."""


Item = LifecycleEvent | Value | Reconnected
Put = Callable[[Item], None]


@dataclass(frozen=True)
class _Pushed:
    attribute: str
    data: Any  # tango.EventData


@dataclass(frozen=True)
class _Wanted:
    """Somebody listens to attributes from now on."""


class Feed:
    """Hands on what a device pushes, from the first listener until `close`; any thread may call it.

    Lifecycle events reach each listener in order, each once, without gaps, from the moment it began to listen.
    """

    def __init__(self, proxy: Callable[[], tango.DeviceProxy]) -> None:
        self._make_proxy = proxy
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._listeners: dict[int, tuple[frozenset[str], Put]] = {}
        self._next_key = 0
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._closed = False
        self._is_up = threading.Event()
        # The thread's own:
        self._proxy: tango.DeviceProxy | None = None
        self._subscriptions: dict[str, int] = {}
        self._last: int | None = None
        self._looks: list[float] = []

    # -- for any thread

    def begin(self) -> None:
        """Start the thread, if it does not run; does not wait.

        :raises ForkedError: this process is a fork of the one that made the client
        """
        if os.getpid() != self._pid:
            raise ForkedError(f"this client belongs to process {self._pid}; a process that was forked must not use it")
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="oet-client", daemon=True)
                self._thread.start()

    def wait_until_up(self, timeout: float | None) -> bool:
        """Wait until the device's events are subscribed to; say whether they are."""
        self.begin()
        return self._is_up.wait(timeout)

    @contextlib.contextmanager
    def listening(self, put: Put, *attributes: str) -> Iterator[None]:
        """Have `put` called with what is pushed while the context lasts, in the feed's thread.

        :param attributes: of which values are wanted, beside the lifecycle events
        """
        self.begin()
        with self._lock:
            key = self._next_key
            self._next_key += 1
            self._listeners[key] = (frozenset(attributes), put)
        if attributes:
            self._inbox.put(_Wanted())
        try:
            yield
        finally:
            with self._lock:
                del self._listeners[key]

    def close(self) -> None:
        """End the thread, and the subscriptions; may be called twice, also at the end of the interpreter."""
        with self._lock:
            thread, self._closed = self._thread, True
        if thread is not None and os.getpid() == self._pid:
            self._inbox.put(None)
            if thread is not threading.current_thread():
                thread.join(5.0)

    # -- the feed's thread

    def _run(self) -> None:
        with tango.EnsureOmniThread():
            while not self._closed:
                try:
                    self._serve()
                except Exception:  # a thread that ends would leave everybody waiting
                    _LOG.exception("the events of the device cannot be followed; trying again")
                    time.sleep(_LONGEST_PAUSE)
            self._unsubscribe()

    def _serve(self) -> None:
        """Connect, and hand on what arrives, until the device is lost or the feed is closed."""
        is_first = self._last is None
        if not self._connect():
            return
        self._is_up.set()
        if not is_first:
            self._tell(Reconnected())
        while not self._closed:
            item = self._next()
            try:
                if isinstance(item, _Pushed):
                    self._take(item)
                elif isinstance(item, _Wanted):
                    self._subscribe_wanted()
                elif item is _LOOK:
                    self._catch_up()
            except (tango.DevFailed, OetError) as failure:
                _LOG.info("the device cannot be reached any more: %s", failure)
                return

    def _next(self) -> Any:
        """Return the next item: None at the end, _LOOK when it is time to look whether something was missed."""
        pause = max(0.0, self._looks[0] - time.monotonic()) if self._looks else None
        try:
            return self._inbox.get(timeout=pause)
        except queue.Empty:
            self._looks.pop(0)
            return _LOOK

    def _connect(self) -> bool:
        """Subscribe, and fetch what was missed; tries until it can, and says False if the feed is closed."""
        pause = _FIRST_PAUSE
        while not self._closed:
            try:
                self._unsubscribe()
                self._proxy = self._make_proxy()
                if self._last is None:
                    self._last = int(self._proxy.read_attribute("lifecycleSequence").value)
                for name in LIFECYCLE:
                    self._subscribe(name)
                self._subscribe_wanted()
                self._catch_up()
                self._looks = [time.monotonic() + seconds for seconds in _LOOKS_AFTER]
                return True
            except (tango.DevFailed, OetError):
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        return False

    def _subscribe(self, name: str) -> None:
        assert self._proxy is not None

        def put(data: Any) -> None:
            self._inbox.put(_Pushed(name, data))

        self._subscriptions[name] = self._proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, put)

    def _subscribe_wanted(self) -> None:
        with self._lock:
            wanted = set().union(*(attributes for attributes, _ in self._listeners.values()))
        for name in sorted(wanted - self._subscriptions.keys()):
            self._subscribe(name)

    def _unsubscribe(self) -> None:
        for subscription in self._subscriptions.values():
            with contextlib.suppress(tango.DevFailed):
                assert self._proxy is not None
                self._proxy.unsubscribe_event(subscription)
        self._subscriptions.clear()

    def _take(self, pushed: _Pushed) -> None:
        data = pushed.data
        if data.err:
            error = translate(tango.DevFailed(*data.errors))
            raise error if isinstance(error, UnreachableError) else UnreachableError(str(error))
        value = data.attr_value.value
        if pushed.attribute == "lifecycleSequence":
            if self._last is None or value > self._last:
                self._catch_up()
        elif pushed.attribute == "lifecycleEvent":
            change = json.loads(value)
            if change:
                self._lifecycle(LifecycleEvent.of(change))
        else:
            self._tell(Value(pushed.attribute, value, data.attr_value.time.totime()))

    def _lifecycle(self, event: LifecycleEvent) -> None:
        assert self._last is not None
        if event.sequence > self._last + 1:
            self._catch_up()
        if event.sequence == self._last + 1:
            self._last = event.sequence
            self._tell(event)

    def _catch_up(self) -> None:
        """Fetch the events that did not arrive, and tell them."""
        assert self._proxy is not None
        assert self._last is not None
        while True:
            missed = json.loads(self._proxy.command_inout("LifecycleEvents", self._last))
            if not missed:
                return
            for change in missed:
                self._last = change["sequence"]
                self._tell(LifecycleEvent.of(change))

    def _tell(self, item: Item) -> None:
        with self._lock:
            listeners = list(self._listeners.values())
        for attributes, put in listeners:
            if isinstance(item, Value) and item.attribute not in attributes:
                continue
            try:
                put(item)
            except Exception:  # a listener harms neither the feed nor the others
                _LOG.exception("a listener of the device's events has failed")


_LOOK = object()
