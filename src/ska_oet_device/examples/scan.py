"""Scans: points the mount of the subarray at one position after the other, and stays there a while.

The mount is the simulated one (ska_oet_device.simulators.mount); any Tango device with its
commands and events will do.  Nothing is polled: the script follows the mount's events.  The first of them may reach
nobody, since Tango connects a moment after the subscription: one that shows the mount on its way will do as well as
State MOVING, and before the script gives up it looks for itself.
"""

import math
import queue
import time

import tango

from ska_oet_device.scripting import report_progress

POSITIONS = [(20.0, 60.0), (35.0, 60.0), (35.0, 45.0), (20.0, 45.0)]
FOLLOWED = ("State", "azimuth", "elevation")
PATIENCE = 10.0  # seconds without an event while the mount should be moving

mount = None


def init(subarray_id=1, mount_name=None):
    """Find the mount; called while the procedure is INITIALISING."""
    global mount
    mount = tango.DeviceProxy(mount_name or f"sim/mount/{subarray_id}")
    mount.ping()


def main(positions=POSITIONS, dwell=0.2):
    """Visit all positions (azimuth and elevation, degrees), and stay `dwell` seconds at each."""
    events = queue.SimpleQueue()
    subscriptions = [mount.subscribe_event(name, tango.EventType.CHANGE_EVENT, events.put) for name in FOLLOWED]
    try:
        for number, position in enumerate(positions):
            step = f"position {number + 1} of {len(positions)}"
            for travelled in slew(position, events):
                report_progress(100 * (number + travelled) / len(positions), f"slewing to {step}")
            report_progress(100 * (number + 1) / len(positions), f"observing at {step}")
            time.sleep(dwell)
    finally:
        mount.Halt()  # also when this script is stopped
        for subscription in subscriptions:
            mount.unsubscribe_event(subscription)


def slew(target, events):
    """Point the mount at `target`; yields the travelled part of the way, from 0 to 1."""
    place = {"azimuth": mount.azimuth, "elevation": mount.elevation}
    distance = way_to(target, place)
    mount.Slew(target)
    moving = False
    while True:
        try:
            event = events.get(timeout=PATIENCE)
        except queue.Empty:
            if mount.State() == tango.DevState.ON:  # MOVING since Slew, until it has arrived
                return
            raise TimeoutError(f"{mount.dev_name()} has not moved for {PATIENCE:g} s on its way to {target}") from None
        if event.err:
            raise RuntimeError(f"{mount.dev_name()} cannot be followed: {event.errors[0].desc}")
        name, value = event.attr_value.name.lower(), event.attr_value.value
        if name in place:
            place[name] = value
            travelled = max(0.0, 1 - way_to(target, place) / distance) if distance else 1.0
            moving = moving or 0 < travelled < 1
            yield travelled
        elif value == tango.DevState.MOVING:
            moving = True
        elif moving and value == tango.DevState.ON:
            return
        elif moving:
            raise RuntimeError(f"{mount.dev_name()} was halted on its way to {target}")


def way_to(target, place):
    return math.hypot(target[0] - place["azimuth"], target[1] - place["elevation"])
