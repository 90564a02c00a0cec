"""What any client may do to a device by Tango's own means, and what that does to others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import tango
from support.tango_server import Oet
from support.waiting import wait_until

LOCK = """
import sys, tango
proxy = tango.DeviceProxy(sys.argv[1])
proxy.lock()
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def locked_by_another(oet: Oet) -> Iterator[None]:
    """Have the device locked by a client in another process."""
    client = subprocess.Popen(
        [sys.executable, "-c", LOCK, oet.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    try:
        assert client.stdout.readline() == "locked\n"
        yield
    finally:
        client.communicate("\n", timeout=30)


@pytest.mark.long
def test_a_device_that_is_locked_stops_for_its_own_user_once_the_class_says_so(own_server, database):
    oet = own_server()
    uid = oet.ready("good.py")
    with locked_by_another(oet):
        with pytest.raises(tango.DevFailed, match="API_DeviceLocked"):
            oet.stop(uid)
        oet.proxy.unlock(True)  # anybody may take the lock away
        oet.stop(uid)
    database.tango.put_class_property("OetDevice", {"AllowedAccessCmd": ["Stop", "Summarise", "LifecycleEvents"]})
    try:
        oet = own_server()
        uid = oet.ready("good.py")
        with locked_by_another(oet):
            with pytest.raises(tango.DevFailed, match="API_DeviceLocked"):
                oet.prepare("good.py")
            oet.stop(uid)
            oet.recorder.wait_for_state(uid, "STOPPED")
    finally:
        database.tango.delete_class_property("OetDevice", ["AllowedAccessCmd"])


@pytest.mark.long
def test_polling_that_somebody_has_put_on_attributes_keeps_neither_events_nor_reads_of_the_device_back(own_server):
    oet = own_server()
    oet.proxy.poll_attribute("lifecycleSequence", 3000)
    wait_until(lambda: "No data" not in str(oet.proxy.polling_status()), 30, "it has been polled")
    uid = oet.ready("good.py")  # READY arrives as an event
    newest = oet.recorder.lifecycle(uid)[-1]["sequence"]
    oet.proxy.set_source(tango.DevSource.DEV)
    assert oet.proxy.lifecycleSequence == newest
