"""Waits until the Tango database has a device in a server; the init container of the server's pod.

Needs nothing of Kubernetes: no service account, no kubectl.
"""

import signal
import sys
import time

import tango

PAUSE = 2.0  # seconds between two looks
REMINDER = 60.0  # seconds after which what is waited for is told once more


def what_is_missing(device, server):
    """Return why the device cannot be found, as a sentence; empty if it can."""
    try:
        known = tango.Database().get_device_info(device).ds_full_name
    except tango.DevFailed as error:
        return error.args[0].desc.strip()
    return "" if known.lower() == server.lower() else f"{device} is registered in {known}, not in {server}"


def main(device, server):
    """Return when the device is registered."""
    told, told_at = "", 0.0
    while missing := what_is_missing(device, server):
        if missing != told or time.monotonic() - told_at > REMINDER:
            told, told_at = missing, time.monotonic()
            print(f"waiting until {device} is registered in {server}: {missing}", flush=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    # Process 1 of a container is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    main(*sys.argv[1:])
