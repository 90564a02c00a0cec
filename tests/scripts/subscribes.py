"""Is stopped in the callback that a subscription calls at once: Tango lets nothing out of that."""

import time

import tango

from ska_oet_device import scripting


def main(device):
    proxy = tango.DeviceProxy(device)
    is_first = True

    def callback(_):
        nonlocal is_first
        if is_first:
            is_first = False
            scripting.report_progress(50, "in the callback")
            time.sleep(30)

    subscription = None
    try:
        subscription = proxy.subscribe_event("waitForQaReady", tango.EventType.CHANGE_EVENT, callback)
        time.sleep(30)
    finally:
        print("parked", flush=True)
        if subscription is not None:
            proxy.unsubscribe_event(subscription)
