"""What a device pushes, made whole: one thread subscribes, notices gaps, fetches what was missed, and tells it.

Tango's threads put what arrives into a queue; the feed's own thread does all the rest, so that a listener may take its
time, and no call to the device is made from a callback.  Nothing is asked of the device again and again: while it
cannot be reached the feed tries, and behind each connection it looks a few times, since Tango may connect later than it
says.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import json
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import tango

from . import _gate
from ._answers import LifecycleEvent
from ._connection import check_process, this_process
from ._errors import ClosedError, OetError
from ._items import Closed, Look, Put, Reconnected, Value
from ._listeners import Listeners
from ._subscriptions import Gone, Pushed, Subscriptions

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between attempts to reach a device that is away
_LOOKS_AFTER = (0.05, 0.2, 0.5, 1.0)  # seconds behind a subscription: Tango may connect only after it has returned
# And behind a restart, until something is pushed: Tango's client may hold on to the server that has gone until its own
# heartbeat tells, if somebody else in this process has subscribed there, too.
_LOOKS_AFTER_RESTART = (*_LOOKS_AFTER, 2.0, 4.0, 8.0, 12.0)
_JOIN = 5.0  # seconds


_running: weakref.WeakSet[Feed] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End the threads of all clients: none may be in Tango when the interpreter ends."""
    _gate.shut(_JOIN)
    for feed in list(_running):
        feed.close(tells=False)  # threads that wait are no longer there to be told


class _Wanted:
    """Somebody listens to attributes from now on."""


class _Doubted:
    """Somebody has not reached the device."""


class _Due:
    """It is time to look."""


class Feed:
    """Hands on what a device pushes, from the first listener until `close`; any thread may call it.

    Lifecycle events reach each listener in order, each once, without gaps, from the moment it began to listen, or,
    before there is a connection, from Reconnected on.

    :param lost: called, in the feed's thread, when the process of the device server has gone
    """

    def __init__(self, make_proxy: Callable[[], tango.DeviceProxy], lost: Callable[[], None]) -> None:
        self._make_proxy = make_proxy
        self._lost = lost
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.RLock()  # again: the garbage collector closes feeds, in whatever thread it runs
        self._listeners = Listeners()
        self._thread: threading.Thread | None = None
        self._pid = this_process()
        # The span in which the client was made, if it was: what the thread asks for is a part of that.
        self._context = contextvars.copy_context()
        self._closing = threading.Event()
        self._is_up = threading.Event()
        # The thread's own:
        self._subscriptions: Subscriptions | None = None
        self._looks: list[float] = []
        self._was_up = False

    # -- for any thread

    @property
    def last(self) -> int | None:
        """The number of the newest lifecycle event that is known; None before the first connection."""
        return self._listeners.last

    def begin(self, last: int | None = None) -> None:
        """Start the thread, if it does not run; does not wait.

        :param last: a number of a lifecycle event, behind which all are wanted if none is known yet
        :raises ForkedError: this process is a fork of the one that made the client
        :raises ClosedError: it was closed
        """
        check_process(self._pid)
        with self._lock:
            if self._closing.is_set():
                raise ClosedError("this client was closed")
            self._listeners.begin(last)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._context.run, args=(self._run,), name="oet-client", daemon=True
                )
                self._thread.start()
                _running.add(self)

    def wait_until_up(self, timeout: float | None) -> bool:
        """Wait until the device's events are subscribed to; say whether they are."""
        self.begin()
        return self._is_up.wait(timeout)

    def doubt(self) -> None:
        """Say that the device was not reached: the feed finds out, and tells Reconnected when it can be."""
        self._inbox.put(_Doubted())

    @contextlib.contextmanager
    def listening(self, put: Put, *attributes: str, since: int | None = None) -> Iterator[None]:
        """Have `put` called with what is pushed while the context lasts, in the feed's thread.

        :param attributes: of which values are wanted, beside the lifecycle events
        :param since: the number of a lifecycle event: those after it that are known already are told at once; if they
            are too many to be known any more, Reconnected is
        """
        self.begin()
        key = self._listeners.join(put, frozenset(attributes), since)
        if attributes:
            self._inbox.put(_Wanted())
        try:
            yield
        finally:
            if this_process() == self._pid:  # in a fork the lock may be held by a thread that is not there
                self._listeners.leave(key)

    def close(self, *, waits: bool = True, tells: bool = True) -> None:
        """End the thread, and the subscriptions; may be called twice.

        :param waits: until the thread has ended
        :param tells: those who listen that there is nothing to come
        """
        if this_process() != self._pid:
            return
        with self._lock:
            self._closing.set()
            thread = self._thread
        if tells:
            self._listeners.tell(Closed())
        self._inbox.put(None)
        if waits and thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN)

    # -- the feed's thread

    def _run(self) -> None:
        with tango.EnsureOmniThread():
            while not self._closing.is_set():
                try:
                    self._serve()
                except Exception:  # a thread that ends would leave everybody waiting
                    _LOG.exception("the events of the device cannot be followed; trying again")
                    self._closing.wait(_LONGEST_PAUSE)
            self._unsubscribe()

    def _serve(self) -> None:
        """Connect, and hand on what arrives, until the device is lost or the feed is closed."""
        if not self._connect():
            return
        self._is_up.set()
        while not self._closing.is_set():
            try:
                self._handle(self._next())
            except (tango.DevFailed, OetError) as failure:
                _LOG.info("the device cannot be reached any more: %s", failure)
                return

    def _next(self) -> Any:
        """Return the next item: None at the end, _Due when it is time to look whether something was missed."""
        pause = max(0.0, self._looks[0] - time.monotonic()) if self._looks else None
        try:
            return self._inbox.get(timeout=pause)
        except queue.Empty:
            self._looks.pop(0)
            return _Due()

    def _handle(self, item: Any) -> None:
        assert self._subscriptions is not None
        if isinstance(item, Pushed):
            if item.by is self._subscriptions:
                self._take(item)
        elif isinstance(item, Gone):
            if item.by is self._subscriptions:
                self._lost()
                raise OetError("its process has ended")
        elif isinstance(item, _Wanted):
            if self._subscriptions.want(self._listeners.wanted()):
                self._look_after(_LOOKS_AFTER)
        elif isinstance(item, _Doubted):
            self._catch_up()
            self._listeners.tell(Reconnected())
        elif isinstance(item, _Due):
            self._catch_up()
            self._listeners.tell(Look())

    def _connect(self) -> bool:
        """Subscribe, and fetch what was missed; tries until it can, and says False if the feed is closed."""
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            try:
                self._unsubscribe()
                proxy = self._make_proxy()
                self._subscriptions = Subscriptions(proxy, self._inbox.put)
                self._subscriptions.want(self._listeners.wanted())
                newest = self._newest()
                begins_anew = newest if self._is_another_history(newest) else None
                self._listeners.begin(newest, anew=begins_anew is not None)
                self._catch_up()
            except (tango.DevFailed, OetError):
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._look_after(_LOOKS_AFTER_RESTART if self._was_up else _LOOKS_AFTER)
                self._was_up = True
                self._listeners.tell(Reconnected(begins_anew))
                return True
        return False

    def _unsubscribe(self) -> None:
        if self._subscriptions is not None:
            self._subscriptions.close()
            self._subscriptions = None

    def _look_after(self, seconds: tuple[float, ...]) -> None:
        now = time.monotonic()
        self._looks = sorted({*self._looks, *(now + second for second in seconds)})

    def _newest(self) -> int:
        assert self._subscriptions is not None
        return int(self._subscriptions.proxy.read_attribute("lifecycleSequence").value)

    def _is_another_history(self, newest: int) -> bool:
        """Say whether the device does not know any more what it has told; `newest` alone may be a little behind."""
        last = self.last
        return last is not None and newest < last and not self._events_after(last - 1)

    def _events_after(self, sequence: int) -> list[dict[str, Any]]:
        assert self._subscriptions is not None
        return list(json.loads(self._subscriptions.proxy.command_inout("LifecycleEvents", sequence)))

    def _take(self, pushed: Pushed) -> None:
        data = pushed.data
        if data.err:
            if data.errors[0].reason != "API_MissedEvents":
                raise tango.DevFailed(*data.errors)
            self._catch_up()
            self._listeners.tell(Look())
            return
        value = data.attr_value.value
        if pushed.attribute == "lifecycleSequence":
            if self.last is None or value > self.last:
                self._catch_up()
        elif pushed.attribute == "lifecycleEvent":
            if not pushed.is_answer:
                self._looks = [moment for moment in self._looks if moment < time.monotonic() + 1.0]
            change = json.loads(value)
            if change:
                self._lifecycle(LifecycleEvent.of(change))
        else:
            self._listeners.tell(Value(pushed.attribute, value, data.attr_value.time.totime()))

    def _lifecycle(self, event: LifecycleEvent) -> None:
        assert self.last is not None
        if event.sequence > self.last + 1:
            self._catch_up()
        if event.sequence == self.last + 1:
            self._listeners.tell_event(event)

    def _catch_up(self) -> None:
        """Fetch the events that did not arrive, and tell them."""
        assert self.last is not None
        while missed := self._events_after(self.last):
            for change in missed:
                self._listeners.tell_event(LifecycleEvent.of(change))
