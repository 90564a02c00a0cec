"""Whether Tango tells the clients that subscribe how long a queue of events they are to keep.

cppTango 10 reads that length from the database when a server starts.  If the database does not answer just then, it
says so on its standard error and goes on with whatever stands in its memory: clients are told to keep 38 events, say,
and lose those beyond; or fewer than none, and cannot subscribe at all (API_ZmqFailed, "Invalid argument").
"""

from __future__ import annotations

import tango

_TANGOS_OWN = 1000  # where the database says nothing: SUB_HWM of cppTango
_PROPERTY = "EventBufferHwm"  # of the free object CtrlSystem
_PLACE = 2  # in the numbers that ZmqEventSubscriptionChange answers


def wrong_queue_length(device: str) -> str:
    """Return how the length that clients are told differs from what it ought to be; empty if it is right.

    For a thread of the device server process, once the server has started.  Only the start of another server mends it.

    :raises tango.DevFailed: the server is still starting, or the database does not answer
    """
    if not tango.Util._UseDb:
        return ""
    util = tango.Util.instance()
    # "info" notes no subscription.
    admin = tango.DeviceProxy(util.get_dserver_device().get_name())
    told = int(admin.ZmqEventSubscriptionChange([device, "State", "info", "change", "6"])[0][_PLACE])
    values = util.get_database().get_property("CtrlSystem", _PROPERTY)[_PROPERTY]
    try:
        right = int(values[0]) if values else _TANGOS_OWN
    except ValueError:
        return ""  # nobody can tell what was meant, and a restart would change nothing
    return "" if told == right else f"clients would be told to keep {told} events instead of {right}"
