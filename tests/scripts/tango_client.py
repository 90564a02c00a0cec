"""A client of another Tango device: calls it, reads it, and waits for an event of it."""

import queue

import tango


def main(device):
    proxy = tango.DeviceProxy(device)
    events = queue.Queue()
    subscription = proxy.subscribe_event("waitForQaReady", tango.EventType.CHANGE_EVENT, events.put)
    try:
        first = events.get(timeout=10)
        if first.err:
            raise RuntimeError(first.errors[0].desc)
        proxy.LifecycleEvents(0)
        proxy.waitForQaReady = not first.attr_value.value
        while True:
            event = events.get(timeout=10)
            if not event.err and event.attr_value.value != first.attr_value.value:
                return
    finally:
        proxy.unsubscribe_event(subscription)
