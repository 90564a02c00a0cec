"""What archivers are to keep of the devices' attributes: YAML for HDB++ (yaml2archiving) and for SKA's EDA.

Each attribute pushes its archive events itself, when it changes: nobody polls it, and no threshold decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .subarrays import Subarrays

ARCHIVED = (
    "State",
    "Status",
    "healthState",
    "healthInfo",
    "adminMode",
    "versionId",
    "activeProcedureId",
    "activeProcedureState",
    "activeScript",
    "activeFunction",
    "activeProgress",
    "activeActivity",
    "lifecycleEvent",
    "lifecycleSequence",
    "scriptEvent",
    "stacktrace",
    "waitForQaReady",
    "checkReport",
)
"""What somebody asks for who wants to know, years later, what was observed, how it went and why it failed."""

_WHOLE_LIST = "with each change the whole list; lifecycleEvent tells the change"
_DASHBOARD = "what a dashboard shows, or will send; what was sent is in lifecycleEvent and in the audit"
_LRC = "SKA's protocol of long running commands, for whoever waits for one; lifecycleEvent tells the same"

NOT_ARCHIVED = {
    "_lrcEvent": _LRC,
    "availableScripts": "a list of files, which says nothing of what was observed",
    "buildState": "says nothing that versionId does not",
    "loggingLevel": "says nothing of what was observed",
    "longRunningCommandIDsInQueue": _LRC,
    "longRunningCommandInProgress": _LRC,
    "longRunningCommandProgress": _LRC,
    "longRunningCommandResult": _LRC,
    "longRunningCommandStatus": _LRC,
    "longRunningCommandsInQueue": _LRC,
    "lrcExecuting": _LRC,
    "lrcFinished": _LRC,
    "lrcProtocolVersions": _LRC,
    "lrcQueue": _LRC,
    "procedureIds": _WHOLE_LIST,
    "procedureScripts": _WHOLE_LIST,
    "procedureStates": _WHOLE_LIST,
    "procedureTable": _WHOLE_LIST,
    "procedures": "up to 128 KiB with each change; lifecycleEvent tells the change",
    "scriptArguments": _DASHBOARD,
    "scriptOutput": "the device keeps what scripts print; it grows with each line",
    "selectedProcedure": _DASHBOARD,
    "selectedProcedureDetails": _DASHBOARD,
    "selectedProcedureOutput": _DASHBOARD,
    "selectedProcedureState": _DASHBOARD,
    "selectedScript": _DASHBOARD,
}
"""The other attributes, and why an archive is better off without them."""

_DATABASE = re.compile(r"[\w.-]+:\d{1,5}", re.ASCII)
_DEVICE = re.compile(r"[\w.-]+/[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Archiver:
    """Who archives.

    :param database: host:port of the Tango database that the devices are in
    :param manager: the archiver's configuration manager
    :param subscriber: the archiver's event subscriber
    :raises ValueError: no host and port, or no name of a device
    """

    database: str
    manager: str
    subscriber: str

    def __post_init__(self) -> None:
        if not _DATABASE.fullmatch(self.database):
            raise ValueError(f"{self.database!r} is not HOST:PORT of a Tango database")
        for name in (self.manager, self.subscriber):
            if not _DEVICE.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a device, such as mid-eda/cm/01")


def hdbpp_file(subarrays: Subarrays, archiver: Archiver, source: str = "") -> str:
    """Return the file for HDB++'s yaml2archiving: by class, with the strategy ALWAYS.

    :param source: what wrote it, for its head
    """

    def lines() -> Iterator[str]:
        yield from _head(subarrays, source)
        yield f"db: {json.dumps(archiver.database)}"
        yield f"manager: {archiver.manager}"
        yield f"archiver: {archiver.subscriber}"
        yield "configuration:"
        yield "  - class: OetDevice"
        yield "    filtering:"
        yield "      device:"
        yield from (f"        - {device}" for device in subarrays.devices)
        yield "    attributes:"
        for name in ARCHIVED:
            yield f"      {name}:"
            yield "        code_push_event: true"
            yield "        archive_strategy: ALWAYS"

    return "\n".join(lines()) + "\n"


def eda_file(subarrays: Subarrays, archiver: Archiver, source: str = "") -> str:
    """Return the file for SKA's Engineering Data Archive: an entry for each attribute of each device.

    :param source: what wrote it, for its head
    """
    host, _, port = archiver.database.rpartition(":")

    def lines() -> Iterator[str]:
        yield from _head(subarrays, source)
        yield "tango_hosts:"
        yield "  - th1:"
        yield f"      host: {json.dumps(host)}"
        yield f"      port: {json.dumps(port)}"
        for kind, key, name in (
            ("configuration_managers", "cm1", archiver.manager),
            ("event_subscribers", "es1", archiver.subscriber),
        ):
            yield f"{kind}:"
            yield f"  - {key}:"
            yield f"      trl: {name}"
            yield "      th: th1"
        yield "defaults:"
        yield from ("  - th: th1", "  - cm: cm1", "  - es: es1")
        yield "attributes:"
        for device in subarrays.devices:
            for name in ARCHIVED:
                yield f"  - trl: {device}/{name}"
                yield "    th: th1"
                yield "    configuration:"
                yield "      code_push_event: true"

    return "\n".join(lines()) + "\n"


def _head(subarrays: Subarrays, source: str) -> Iterator[str]:
    yield f"# What is archived of OetDevice: {subarrays.title}."
    if source:
        yield f"# Written by: {source}"
