"""Who may call what, for Tango's access control: a reader looks and stops, and changes nothing else.

TangoAccessControl gives each user and machine the right to read or to write.  For one that may only read, Tango's
client library lets the commands pass that the class property AllowedAccessCmd lists; so does a device that somebody
else has locked (``DeviceProxy.lock``).  Reading attributes and subscribing to their events are for everybody.
"""

from __future__ import annotations

READERS_COMMANDS: tuple[str, ...] = (
    "State",
    "Status",
    # what only looks
    "CheckLongRunningCommandStatus",
    "CheckReport",
    "Environments",
    "History",
    "LifecycleEvents",
    "Output",
    "Requests",
    "Schemas",
    "ScriptEvents",
    "Summarise",
    # what ends something: whoever sees that it goes wrong may stop it
    "Abort",
    "Stop",
    "StopActive",
    "StopSelected",
)
"""What AllowedAccessCmd of the class OetDevice is to be: the commands of those who may look and stop, nothing else."""

CHANGERS_COMMANDS: tuple[str, ...] = (
    "Check",  # loads a script, whose lines run
    "Init",
    "OverrideWaitForQaReady",
    "Prepare",
    "PrepareScript",
    "PrepareSelected",
    "RemoveEnvironment",
    "Run",
    "RunScript",
    "RunSelected",
    "Start",
    "StartScript",
    "StartSelected",
)
"""The other commands: those of whoever may write."""
