"""Waiting until subscriptions reach the server, of which Tango says nothing.

What is pushed right behind a subscription may reach nobody (the contract, lifecycle events, 6): of a hundred values one
was lost at a load of 9, and once, on a busy machine, one that was pushed 50 ms later.  A client's process has one
connection to each server, on which subscriptions go in the order in which they were made, so that the first event of
the last of them says that all are known there.  A change of an attribute's configuration is an event that any client
can have pushed, and one to what it is already changes nothing.

It imports nothing of ours: `host_client.py` runs as a program.
"""

from __future__ import annotations

import threading

import tango

_ONE_EVENT = 0.1  # seconds; more than a hundred times what one takes


def until_connected(proxy: tango.DeviceProxy, seconds: float = 20.0) -> None:
    """Return once all subscriptions that this process has made to the server of a device are known to it.

    :raises AssertionError: they are not within so many seconds
    """
    name = next(each for each in proxy.get_attribute_list() if each not in ("State", "Status"))
    is_pushed = threading.Event()
    is_read = threading.Event()

    def note(_: tango.AttrConfEventData) -> None:
        (is_pushed if is_read.is_set() else is_read).set()

    subscription = proxy.subscribe_event(name, tango.EventType.ATTR_CONF_EVENT, note)
    try:
        assert is_read.wait(seconds), "the configuration that is read when it is subscribed to"
        configuration = proxy.get_attribute_config_ex([name])
        for _ in range(int(seconds / _ONE_EVENT)):
            proxy.set_attribute_config(configuration)
            if is_pushed.wait(_ONE_EVENT):
                return
        raise AssertionError(f"no subscription has reached {proxy.dev_name()} within {seconds:g} s")
    finally:
        proxy.unsubscribe_event(subscription)


__all__ = ["until_connected"]
