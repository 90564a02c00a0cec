"""What attributes are read from: how things are now, or what clients have been told of them."""

from __future__ import annotations

import bisect
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..application import (
    AdminMode,
    LongRunningCommands,
    ProcedureSummary,
    Progress,
    ScriptExecutionService,
    Selection,
    Snapshot,
)
from ..link import Link
from ._answers import event_data
from ._brief import BriefSummaries
from ._devstring import to_json
from ._health import Health
from ._status import DeviceStatus
from ._tango_logs import LoggingLevel
from ._terminal import as_shown

_NO_EVENT = "{}"  # of the attributes that are JSON, before there is an event: every client can read it


class NewestEvent(NamedTuple):
    """The newest lifecycle event that clients were told, as JSON; time in Unix seconds."""

    text: str
    sequence: int
    time: float


class NewestMessage(NamedTuple):
    """The newest message of a script that clients were told, as JSON; time in Unix seconds."""

    text: str
    time: float


class NewestReport(NamedTuple):
    """The newest report of a check that clients were told, as JSON; time in Unix seconds."""

    text: str
    time: float


class View(Protocol):
    """What attributes are read from."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def texts(self) -> BriefSummaries:
        """The summaries as the attribute `procedures`."""

    @property
    def progress(self) -> Progress | None:
        """What the active procedure reports of itself."""

    @property
    def event(self) -> NewestEvent: ...

    @property
    def message(self) -> NewestMessage: ...

    @property
    def output(self) -> str:
        """The last lines that the active procedure printed."""

    @property
    def report(self) -> NewestReport: ...

    @property
    def wait_for_qa_ready(self) -> bool: ...

    @property
    def health(self) -> Health: ...

    @property
    def scripts(self) -> tuple[str, ...]:
        """The URIs of the scripts that can be selected."""

    @property
    def selection(self) -> Selection:
        """What operators have selected."""

    @property
    def selected_output(self) -> str:
        """The last lines that the selected procedure printed."""

    @property
    def health_reasons(self) -> tuple[str, ...]:
        """Why the health is what it is; empty if all is well."""

    @property
    def admin_mode(self) -> AdminMode: ...

    @property
    def logging_level(self) -> LoggingLevel: ...

    @property
    def commands(self) -> LongRunningCommands:
        """The long running commands."""

    @property
    def command_event(self) -> tuple[str, ...]:
        """Uid of one of them, and JSON of what is new of it; empty if nothing is."""


def selected(view: View) -> ProcedureSummary | None:
    """Return the procedure that is selected, which may be the active one; None if it is not in the attributes."""
    snapshot = view.snapshot
    uid = view.selection.process_uid or snapshot.active.process_uid
    place = bisect.bisect_left(snapshot.summaries, uid, key=lambda summary: summary.id)
    found = snapshot.summaries[place : place + 1]
    return found[0] if found and found[0].id == uid else None


@dataclass
class Shown:
    """What clients have been told, or are being told.  The thread of events changes it before it pushes."""

    event: NewestEvent
    message: NewestMessage
    report: NewestReport
    texts: BriefSummaries
    snapshot: Snapshot = field(default_factory=Snapshot)
    progress: Progress | None = None
    output: str = ""
    wait_for_qa_ready: bool = True
    health: Health = Health.UNKNOWN
    scripts: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    selected_output: str = ""
    health_reasons: tuple[str, ...] = ()
    admin_mode: AdminMode = AdminMode.ONLINE
    logging_level: LoggingLevel = LoggingLevel.INFO
    commands: LongRunningCommands = field(default_factory=LongRunningCommands)
    command_event: tuple[str, ...] = ()

    @classmethod
    def at_start(cls, service: ScriptExecutionService) -> Shown:
        """Return what an earlier server has told last, as far as the history knows it."""
        now = clock.time()
        sequence = service.history.last_sequence
        events = service.history.events_after(sequence - 1, 1) if sequence else []
        text, time = (to_json(event_data(events[0])), events[0].time) if events else (_NO_EVENT, now)
        return cls(
            NewestEvent(text, sequence, time),
            NewestMessage(_NO_EVENT, now),
            NewestReport(_NO_EVENT, now),
            BriefSummaries(),
            wait_for_qa_ready=service.script_context.wait_for_qa_ready,
            scripts=service.scripts.uris,
            selection=service.selection,
            admin_mode=service.admin_mode,
        )


class Live:
    """How things are now.  Any thread.

    Events and messages are the newest that were pushed: a client that subscribes gets them as its first value, and
    must not get one before its turn.
    """

    def __init__(
        self,
        service: ScriptExecutionService,
        link: Link,
        status: DeviceStatus,
        shown: Shown,
        refresh: Callable[[], None],
        logging_level: Callable[[], LoggingLevel],
    ) -> None:
        """Take what the values come from; `refresh` has Status and the health looked at again."""
        self._service = service
        self._link = link
        self._status = status
        self._shown = shown
        self._refresh = refresh
        self._logging_level = logging_level

    @property
    def snapshot(self) -> Snapshot:
        return self._service.snapshot()

    @property
    def texts(self) -> BriefSummaries:
        return self._shown.texts

    @property
    def progress(self) -> Progress | None:
        return self._service.progress()

    @property
    def event(self) -> NewestEvent:
        return self._shown.event

    @property
    def message(self) -> NewestMessage:
        return self._shown.message

    @property
    def output(self) -> str:
        return self._output_of(self._service.snapshot().active.process_uid)

    @property
    def report(self) -> NewestReport:
        return self._shown.report

    @property
    def wait_for_qa_ready(self) -> bool:
        return self._service.script_context.wait_for_qa_ready

    @property
    def health(self) -> Health:
        """Whether this server can do its job; main is asked to answer."""
        self._link.ping()  # whoever looks again learns whether main has answered
        self._refresh()  # and finds the reasons in Status
        return self._status.diagnosis().health

    @property
    def scripts(self) -> tuple[str, ...]:
        return self._service.scripts.uris

    @property
    def selection(self) -> Selection:
        return self._service.selection

    @property
    def selected_output(self) -> str:
        return self._output_of(self._service.selection.process_uid or self._service.snapshot().active.process_uid)

    def _output_of(self, uid: int) -> str:
        output = self._service.output
        return as_shown(output.tail(uid)) if output is not None and uid else ""

    @property
    def health_reasons(self) -> tuple[str, ...]:
        return self._status.diagnosis().reasons

    @property
    def admin_mode(self) -> AdminMode:
        return self._service.admin_mode

    @property
    def logging_level(self) -> LoggingLevel:
        return self._logging_level()

    @property
    def commands(self) -> LongRunningCommands:
        return self._service.commands.without_old(clock.monotonic())

    @property
    def command_event(self) -> tuple[str, ...]:
        return ()  # a client that subscribes must not take what has happened before for news
