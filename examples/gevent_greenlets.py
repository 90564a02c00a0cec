"""gevent: a Stop kills the group's greenlets, and each one cleans up."""

import signal

import gevent
from gevent.event import Event
from gevent.pool import Group

from ska_oet_device.scripting import report_progress


def main(places=("M31", "M33"), dwell=1.0):
    group, stop = Group(), Event()
    gevent.signal_handler(signal.SIGTERM, stop.set)  # may be called more than once
    for place in places:
        group.spawn(observe, place, dwell)
    gevent.wait([stop, gevent.spawn(group.join)], count=1)
    group.kill()


def observe(place, dwell):
    try:
        report_progress(0, f"observing {place}")
        gevent.sleep(dwell)
        print(f"{place} observed")
    finally:
        gevent.sleep(0.01)  # a clean-up may wait
        print(f"{place} parked")
