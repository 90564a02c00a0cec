"""Whether clients can subscribe at a server that has started, and are told to keep enough events.

Two flaws of cppTango 10 spoil a server for as long as it lives:

- It exports its admin device before it has noted which object that is.  A client that subscribes in between makes it
  give up half-way through the making of its event socket ("Class DServer is not initialised!"), and it never takes that
  up again: every client is sent to an address without a port (API_ZmqFailed, "Invalid argument").
- It reads from the database how many events clients are to keep.  If the database does not answer just then, it says
  so on its standard error and goes on with whatever stands in its memory: clients are told to keep 38 events, say, and
  lose those beyond.
"""

from __future__ import annotations

import tango

from ...giop import reference_of
from ._database import free_property

_TANGOS_OWN = 1000  # events that are kept where the database says nothing: SUB_HWM of cppTango
_PROPERTY = "EventBufferHwm"  # of the free object CtrlSystem
_KEPT, _EVENTS_FROM = 2, 1  # places among the numbers and the texts that ZmqEventSubscriptionChange answers


def fault_of_start(device: str) -> str:
    """Return what is wrong with what clients that subscribe are told; empty if nothing is.

    For a thread of the device server process, once the server has started.  Only the start of another server mends it.

    :param device: the name of any device of this server
    :raises tango.DevFailed: the server is still starting, or the database does not answer
    """
    util = tango.Util.instance()
    # "info" notes no subscription; it makes the event socket as any subscription does, if none was made before.
    numbers, texts = _admin(util).ZmqEventSubscriptionChange([device, "State", "info", "change", "6"])
    if not texts[_EVENTS_FROM].rpartition(":")[2].isdecimal():
        return f"clients would look for events at {texts[_EVENTS_FROM]!r}"
    kept = int(numbers[_KEPT])
    values = free_property(_PROPERTY, "CtrlSystem")
    try:
        right = int(values[0]) if values else _TANGOS_OWN
    except ValueError:
        return ""  # nobody can tell what was meant, and a restart would change nothing
    return "" if kept == right else f"clients would be told to keep {kept} events instead of {right}"


def _admin(util: tango.Util) -> tango.DeviceProxy:
    device = util.get_dserver_device()
    if tango.Util._UseDb:
        return tango.DeviceProxy(device.get_name())
    return tango.DeviceProxy(f"tango://{own_address()}/{device.get_name()}#dbase=no")


def own_address() -> str:
    """Return host:port of this server; "" while Tango is still starting."""
    util = tango.Util.instance()
    try:
        reference = reference_of(util.get_dserver_ior(util.get_dserver_device()))
    except tango.DevFailed:
        return ""
    return reference.address if reference is not None else ""
