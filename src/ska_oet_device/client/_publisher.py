"""Having Tango's client connect to the events of a server, of which it may believe wrongly that it is connected.

It keeps the addresses from which a server publishes its events that it has connected to, and connects to none of them
twice.  Of a server that it has found again by itself, behind a restart, it keeps the address for ever, also when
nothing is subscribed to there any more and the server has gone; of one that has gone while something is subscribed
to, until it is found again (cppTango 10.3, tried).  Another server that gets that address, which is a port that the
system chooses, or a pod's with a fixed port, is subscribed to without an error, answers with the first value, and is
never heard.  When the last subscription to a server is given up, its address is forgotten.
"""

from __future__ import annotations

import threading
import weakref

import tango

_lock = threading.Lock()
_turns: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()


def forget_former(proxy: tango.DeviceProxy, attribute: str) -> None:
    """Have what is subscribed to next at a device's server be heard; called by the thread that subscribes, before.

    Costs three calls of the server.  Changes nothing if somebody in this process listens to that server.

    :param attribute: one that can be subscribed to
    :raises DevFailed: it cannot, or the device cannot be reached
    """
    server = str(proxy.adm_name()).lower()  # all devices of a server share its address
    with _lock:
        turn = _turns.setdefault(server, threading.Lock())
    with turn:
        proxy.unsubscribe_event(proxy.subscribe_event(attribute, tango.EventType.CHANGE_EVENT, _ignore))


def _ignore(_: object) -> None: ...
