"""The subscriptions of a feed at one device, as long as that is the same process: made, ended and made anew."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import tango

from ._publisher import forget_former
from ._vigil import Vigil, endpoint_of

_LOG = logging.getLogger(__name__)

LIFECYCLE = ("lifecycleEvent", "lifecycleSequence")


@dataclass(frozen=True)
class Pushed:
    """An event as Tango's threads bring it; `is_answer` if it is what a subscription answers."""

    by: Subscriptions
    attribute: str
    data: Any  # tango.EventData
    is_answer: bool


@dataclass(frozen=True)
class Gone:
    """The process at which these subscriptions are has ended."""

    by: Subscriptions


class Subscriptions:
    """What is subscribed to at one process of a device server; used by the feed's thread.

    :param put: takes Pushed and Gone, in any thread, and returns at once
    :raises DevFailed: the device, or what it needs, cannot be reached
    """

    def __init__(self, proxy: tango.DeviceProxy, put: Callable[[Any], None]) -> None:
        self.proxy = proxy
        self._put = put
        self._ids: dict[str, int] = {}
        self._refused: set[str] = set()
        self._vigil: Vigil | None = None
        try:
            forget_former(proxy, LIFECYCLE[0])
            for name in LIFECYCLE:
                self._subscribe(name)
            self._begin_vigil()
        except BaseException:
            self.close()
            raise

    def _begin_vigil(self) -> None:
        endpoint = None
        with contextlib.suppress(tango.DevFailed):  # the database is away, the device is not
            endpoint = endpoint_of(self.proxy)
        if endpoint is not None:
            self._vigil = Vigil(endpoint, lambda: self._put(Gone(self)))

    def want(self, attributes: Iterable[str]) -> bool:
        """Subscribe to those that are not subscribed to yet; say whether there were any."""
        new = sorted(set(attributes) - self._ids.keys() - self._refused)
        for name in new:
            try:
                self._subscribe(name)
            except tango.DevFailed as failure:
                self.proxy.ping()
                self._refused.add(name)
                _LOG.warning("%s of %s cannot be followed: %s", name, self.proxy.dev_name(), failure.args[0].desc)
        return bool(new)

    def _subscribe(self, name: str) -> None:
        subscriber = threading.get_ident()
        is_subscribing = True

        def put(data: Any) -> None:
            self._put(Pushed(self, name, data, is_subscribing and threading.get_ident() == subscriber))

        self._ids[name] = self.proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, put)
        is_subscribing = False

    def close(self) -> None:
        """Give up the subscriptions; may be called twice."""
        if self._vigil is not None:
            self._vigil.close()
        while self._ids:
            _, subscription = self._ids.popitem()
            with contextlib.suppress(tango.DevFailed, KeyError):
                self.proxy.unsubscribe_event(subscription)
