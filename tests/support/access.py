"""A client that belongs to somebody else: ``access.py DEVICE --as-reader``, by root, is nobody from then on.

It calls each command, reads each attribute, writes those that can be written, subscribes to one, and prints as JSON
what became of that: {"command Stop": "", "write adminMode": "API_ReadOnlyMode", ...}; empty: it was done.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import sys
from collections.abc import Callable

import tango

READER = "nobody"
ARGUMENTS = {"DevString": "0", "DevLong64": 0, "DevVarLong64Array": [0]}


def become(user: str) -> None:
    """Be another user; what is to be imported has been, since that one may not read it."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def outcome(step: Callable[[], object]) -> str:
    """Take a step; returns the reason of a refusal, the client library's own before the device's."""
    try:
        step()
    except tango.DevFailed as failure:
        return next((each.reason for each in failure.args if each.reason.startswith("API_")), failure.args[0].reason)
    return ""


def main(device: str) -> dict[str, str]:
    proxy = tango.DeviceProxy(device)
    found = {}
    for told in proxy.command_list_query():
        argument = ARGUMENTS.get(str(told.in_type))
        given = () if argument is None else (argument,)
        found[f"command {told.cmd_name}"] = outcome(lambda: proxy.command_inout(told.cmd_name, *given))  # noqa: B023
    for config in proxy.attribute_list_query():
        found[f"read {config.name}"] = outcome(lambda: proxy.read_attribute(config.name))  # noqa: B023
        if config.writable != tango.AttrWriteType.READ:
            value = proxy.read_attribute(config.name).value
            found[f"write {config.name}"] = outcome(lambda: proxy.write_attribute(config.name, value))  # noqa: B023
    subscriptions: list[int] = []
    change = tango.EventType.CHANGE_EVENT
    found["subscribe"] = outcome(
        lambda: subscriptions.append(proxy.subscribe_event("procedures", change, lambda _: None))
    )
    with contextlib.suppress(tango.DevFailed):
        for each in subscriptions:
            proxy.unsubscribe_event(each)
    return found


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[2] == "--as-reader":
        become(READER)
    print(json.dumps(main(sys.argv[1])))
