"""The thread that pushes a device's events, in order, holding no lock of ours.

``push_change_event`` takes Tango's monitor of the device.  A command that waited for one of our
locks while it holds that monitor would never end if we held the lock while pushing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time as clock
from typing import Any

import tango

from ...logs import about
from ..application import Change, Progress, ScriptExecutionService, Snapshot
from ..link import Link
from ..state import ProcedureState
from ._health import Diagnosis, Health, diagnose
from ._script_messages import Report, ScriptMessages, Thinner, message_json
from ._views import Standing, SummaryViews, device_state, procedure_rows, progress_values
from .codec import event_data, latin1, to_json

_log = logging.getLogger(__name__)

_OUTPUT_APART = 0.2  # seconds: 5 a second
_SUBSCRIPTIONS_RETURN = 3.0  # seconds within which Tango gives a new device object its subscriptions back
_LAST_PUSHES = 5.0  # seconds that the end of a device object waits for those under way; mostly a few milliseconds

_PRINTING = (ProcedureState.LOADING, ProcedureState.INITIALISING, ProcedureState.RUNNING)

_KINDS = (tango.EventType.CHANGE_EVENT, tango.EventType.ARCHIVE_EVENT, tango.EventType.ALARM_EVENT)
ROWS = ("procedureIds", "procedureScripts", "procedureStates")
_LARGE = (*ROWS, "procedures")

_SEVERITY = {tango.DevState.ALARM: logging.WARNING, tango.DevState.FAULT: logging.ERROR}

_NOTHING = "nothing has happened, but it is time to look at the output or to push a script's message"
_NO_EVENT = "{}"  # of the attributes that are JSON, before there is an event: every client can read it

PUSHED = (
    *_LARGE,
    "activeProcedureId",
    "activeProcedureState",
    "activeFunction",
    "activeProgress",
    "activeActivity",
    "lifecycleEvent",
    "lifecycleSequence",
    "scriptEvent",
    "scriptOutput",
    "stacktrace",
    "waitForQaReady",
    "healthState",
    "versionId",
    "buildState",
)
"""Attributes whose change, archive and alarm events come from the code."""

Reading = tuple[Any, float, tango.AttrQuality]


class EventPusher:
    """Turns recorded changes into Tango events of whichever device object is there now.

    Values are computed when something happened, kept, and pushed if they differ from what was
    pushed before.  Reading an attribute returns the newest value, pushed or about to be.
    """

    def __init__(self, service: ScriptExecutionService, link: Link) -> None:
        self._service = service
        self._link = link
        self._items: queue.SimpleQueue[Change | threading.Event | str | None] = queue.SimpleQueue()
        self._device: tango.server.Device | None = None
        self._attached = threading.Condition()
        self._attached_at = 0.0
        self._pushing = False
        self._listened: list[tuple[str, tango.EventType]] = []
        self._pushed: dict[str, Any] = {}
        self._latest_event = _newest_event(service)
        self.messages = ScriptMessages()
        self._script_text = (_NO_EVENT, clock.time())
        self._reports: Thinner[Report] = Thinner()
        self._reported: dict[int, Progress] = {}
        self._output_due = 0.0
        self._follows_output = False
        self._watched: set[int] = set()
        self._output_size = (0, 0)
        self._output_text = ""
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self.views = SummaryViews(stacktrace=False)
        self.standing = Standing()
        self.store_problem = ""
        self._shown = Snapshot()
        self._diagnosis = self.diagnosis()
        self._ever_heard: set[str] = set()
        self._alarms_heard: set[str] = set()
        self._detached_at = clock.monotonic()

    # -- the device object of the moment

    def start(self) -> None:
        """Start the thread; how things stand is what clients are shown at first."""
        self._shown = self._service.snapshot()
        self._thread.start()

    def attach(self, device: tango.server.Device) -> None:
        """Push on this device from now on, beginning with how things stand."""
        with self._attached:
            self._device = device
            self._attached_at = clock.monotonic()
            self._pushed.clear()
            self._diagnosis = self.diagnosis()
            self._set_state(device, self._shown)
            self._attached.notify_all()
        self.refresh()

    def detach(self, *, ends: bool) -> None:
        """Push nothing until a device is attached again; changes wait.

        :param ends: the object is destroyed next: a push to it would be the end of this process
        """
        with self._attached:
            device, self._device = self._device, None
            self._detached_at = clock.monotonic()
            if device is not None:
                self._listened = [
                    (name, kind)
                    for name in ("State", "Status", *PUSHED)
                    for kind in _KINDS
                    if device.is_there_subscriber(name, kind)
                ]
            if ends:
                self._attached.wait_for(lambda: not self._pushing, _LAST_PUSHES)

    @property
    def alone_for(self) -> float:
        """Seconds for which there has been no device object; 0 while there is one."""
        with self._attached:
            return clock.monotonic() - self._detached_at if self._device is None else 0.0

    # -- what happened; any thread, returns at once

    def put_change(self, change: Change) -> None:
        self._items.put(change)

    def refresh(self) -> None:
        """Push whatever has changed without a lifecycle change: flags, health, notices."""
        self._items.put(None)

    def put_script_message(self, uid: int, topic: str, data: dict[str, Any], time: float, payload: bytes = b"") -> None:
        # It came behind the change that is the procedure's newest, which may still be on its way through the history.
        if self.messages.put(uid, self._service.newest_change(uid), topic, data, time, payload):
            self._items.put(_NOTHING)

    def put_progress(self, uid: int, progress: Progress, time: float) -> None:
        """Push what a procedure reports of itself; other messages do not stand in its way, however many there are."""
        if self._reports.put(Report(uid, self._service.newest_change(uid), progress, time)):
            self._items.put(_NOTHING)

    def flush(self, seconds: float) -> None:
        """Wait until everything put before has been pushed, at most so long; at once if there is no device any more."""
        with self._attached:
            if self._device is None:
                return
        done = threading.Event()
        self._items.put(done)
        done.wait(seconds)

    # -- what clients read

    def lifecycle_event(self) -> tuple[str, int, float]:
        return self._latest_event

    def script_event(self) -> tuple[str, float]:
        return self._script_text

    def script_output(self) -> str:
        output, active = self._service.output, self._service.snapshot().active
        return latin1(output.tail(active.process_uid)) if output is not None and active.process_uid else ""

    def diagnosis(self) -> Diagnosis:
        return diagnose(self._link.main, self._service.history.problem, self.store_problem)

    # -- the thread

    def _run(self) -> None:
        with tango.EnsureOmniThread():
            while True:
                try:
                    self._step()
                except Exception:  # top of a thread: one event that cannot be pushed must not end the others
                    _log.exception("an event could not be pushed", extra=about(self._service.device))

    def _step(self) -> None:
        try:
            item = self._items.get(timeout=self._seconds_until_due())
        except queue.Empty:
            item = _NOTHING
        device = self._wait_for_device()
        try:
            if isinstance(item, Change):
                self._push_change(device, item)
            elif item is not _NOTHING:
                self._push_rest(device)
            if clock.monotonic() >= self._output_due:
                self._look_at_output(device)
            self._push_messages(device, all_of_them=isinstance(item, threading.Event))
        finally:
            with self._attached:
                self._pushing = False
                self._attached.notify_all()
            if isinstance(item, threading.Event):
                item.set()

    def _seconds_until_due(self) -> float | None:
        told = self._latest_event[1]
        due = [self.messages.waiting.due(told), self._reports.due(told)]
        if self._follows_output:
            due.append(max(0.0, self._output_due - clock.monotonic()))
        return min((seconds for seconds in due if seconds is not None), default=None)

    def _push_messages(self, device: tango.server.Device, *, all_of_them: bool) -> None:
        """Push a message and a report of progress, if any are due: no more, for a change may be waiting."""
        while any((self._push_script_event(device), self._push_report(device))) and all_of_them:
            pass

    def _wait_for_device(self) -> tango.server.Device:
        with self._attached:
            while self._device is None or not self._is_heard(self._device):
                self._attached.wait(None if self._device is None else 0.005)
            self._listened = []
            self._pushing = True
            return self._device

    def _is_heard(self, device: tango.server.Device) -> bool:
        """Say whether pushes reach who listened before: Tango restores subscriptions after init_device only."""
        if clock.monotonic() - self._attached_at > _SUBSCRIPTIONS_RETURN:
            return True
        return all(device.is_there_subscriber(name, kind) for name, kind in self._listened)

    def _push_change(self, device: tango.server.Device, change: Change) -> None:
        event, snapshot = change.event, change.snapshot
        self._push_what_was_said_before(device, event.process_uid, event.sequence)
        text, time = to_json(event_data(event)), event.time
        # Not before its turn: a client that subscribes now would get it as its first value, and older ones after it.
        self._latest_event = (text, event.sequence, time)
        self._follows_output = True
        self._watched.add(event.process_uid)  # it may end before anybody looks at its output
        self._shown = snapshot
        changed = self._set_state(device, snapshot)
        self._push(device, "lifecycleEvent", text, time)
        self._push(device, "lifecycleSequence", event.sequence, time)
        self._push_state(device, changed)
        self._push_snapshot(device, snapshot, time)

    def _push_what_was_said_before(self, device: tango.server.Device, uid: int, sequence: int) -> None:
        """Push the messages of a procedure that came before one of its changes."""
        for _ in range(self.messages.waiting.count_before(uid, sequence)):
            self._push_script_event(device)
        for _ in range(self._reports.count_before(uid, sequence)):
            self._push_report(device)

    def _push_rest(self, device: tango.server.Device) -> None:
        """Push what is not part of a lifecycle change, and whatever a new device object has never pushed."""
        now = clock.time()
        self._note_health(self.diagnosis())
        for name in _LARGE:
            self._hears(device, name)
        self._push(device, "waitForQaReady", self._service.script_context.wait_for_qa_ready, now)
        self._push(device, "healthState", int(self._diagnosis.health), now)
        # Not as the service knows it: changes whose own events are still to come are in that already.
        self._push_state(device, self._set_state(device, self._shown))
        if "activeProcedureId" not in self._pushed:
            self._push_snapshot(device, self._shown, now)

    def _push_snapshot(self, device: tango.server.Device, snapshot: Snapshot, time: float) -> None:
        summaries = snapshot.summaries
        active = snapshot.active
        self._push_rows(device, snapshot, time)
        self._push(device, "activeProcedureId", active.process_uid, time)
        self._push(device, "activeProcedureState", int(active.state), time)
        self._push(device, "activeFunction", latin1(active.fn_name), time)
        self._push_progress(device, snapshot, time)
        self._push(device, "stacktrace", latin1(snapshot.newest_failure), time)
        if self._pushed.get("procedures") is not summaries and self._hears(device, "procedures"):
            self._pushed["procedures"] = summaries
            self._send(device, "procedures", self.views.json(snapshot.summaries), time)

    def _push_rows(self, device: tango.server.Device, snapshot: Snapshot, time: float) -> None:
        """Push the three attributes that have one row a procedure: all of them if one has changed."""
        heard = [self._hears(device, name) for name in ROWS]  # each of them is asked
        if not any(heard):
            return
        rows = procedure_rows(snapshot)
        if self._pushed.get("procedureIds") == rows:
            return
        self._pushed["procedureIds"] = rows
        for name, values in zip(ROWS, rows, strict=True):
            self._send(device, name, values, time)

    def _look_at_output(self, device: tango.server.Device) -> None:
        """Push the newest output of the active script, and keep every living script's file within its limit."""
        self._output_due = clock.monotonic() + _OUTPUT_APART
        output = self._service.output
        snapshot = self._service.snapshot()
        alive = [summary for summary in snapshot.summaries if not summary.state.is_terminal]
        limit = self._service.settings.max_output
        if output is None:
            self._follows_output = False
            return
        active = snapshot.active.process_uid
        for uid in {*self._watched, *(summary.id for summary in alive)}:
            output.trim(uid, limit)
        # Once more after the end: the last words are written by then.
        self._follows_output = bool(self._watched) or any(item.state in _PRINTING for item in alive)
        self._watched = {item.id for item in alive if item.state in _PRINTING}
        size = (active, output.size(active) if active else 0)
        if size != self._output_size:
            self._output_size = size
            self._push(device, "scriptOutput", latin1(output.tail(active)), clock.time())

    def _push_progress(self, device: tango.server.Device, snapshot: Snapshot, time: float) -> None:
        """Push what the active procedure has reported last, if that is another one now."""
        progress = self._reported.get(snapshot.active.process_uid)
        if self._pushed.get("activeProgress", ()) != progress:
            self._send_progress(device, progress, time)
        if len(self._reported) > 2 * len(snapshot.summaries) + 16:
            current = {summary.id for summary in snapshot.summaries}
            self._reported = {uid: known for uid, known in self._reported.items() if uid in current}

    def _send_progress(self, device: tango.server.Device, progress: Progress | None, time: float) -> None:
        self._pushed["activeProgress"] = progress
        percent, activity, quality = progress_values(progress)
        self._send(device, "activeProgress", percent, time, quality)
        self._send(device, "activeActivity", activity, time, quality)

    def _push_report(self, device: tango.server.Device) -> bool:
        """Push the next report of progress that is due, if it is the active procedure's; False if none is."""
        waiting = self._reports.take(self._latest_event[1])
        if waiting is None:
            return False
        uid, _, progress, time = waiting[0]
        self._reported[uid] = progress
        if uid == self._shown.active.process_uid:
            self._send_progress(device, progress, time)
        return True

    def _push_script_event(self, device: tango.server.Device) -> bool:
        """Push the next message that is due; False if none is."""
        waiting = self.messages.waiting.take(self._latest_event[1])
        if waiting is None:
            return False
        message, skipped = waiting
        self._script_text = (message_json(message, skipped), message.time)
        self._send(device, "scriptEvent", *self._script_text)
        return True

    def _note_health(self, found: Diagnosis) -> None:
        before, self._diagnosis = self._diagnosis, found
        if found != before:
            level = logging.INFO if found.health == Health.OK else logging.WARNING
            reasons = " ".join(found.reasons) or "all is well"
            _log.log(level, "healthState is %s: %s", found.health.name, reasons, extra=about(self._service.device))

    # -- State and Status, which take their value from the device object

    def _set_state(self, device: tango.server.Device, snapshot: Snapshot) -> tuple[bool, bool]:
        state, status = device_state(snapshot, self._diagnosis, self.standing, self._service.notices())
        changed = (device.get_state() != state, device.get_status() != status)
        device.set_state(state)
        device.set_status(status)
        if any(changed):
            level = _SEVERITY.get(state, logging.INFO) if changed[0] else logging.DEBUG
            _log.log(level, "State is %s: %s", state, status, extra=about(self._service.device))
        return changed

    def _push_state(self, device: tango.server.Device, changed: tuple[bool, bool]) -> None:
        for name, is_new in zip(("State", "Status"), changed, strict=True):
            if is_new or name not in self._pushed:
                self._pushed[name] = True
                device.push_change_event(name)
                device.push_archive_event(name)
                if self._hears_alarms(device, name):
                    device.push_alarm_event(name)

    # -- pushing

    def _hears(self, device: tango.server.Device, name: str) -> bool:
        """Say whether anybody has ever subscribed to one of the attributes that grow with the procedures.

        The others cost less than the question.  Once somebody has, it is pushed for good: Tango's own answer lapses
        when the clock is set.
        """
        if name not in self._ever_heard and any(device.is_there_subscriber(name, kind) for kind in _KINDS):
            self._ever_heard.add(name)
        return name in self._ever_heard

    def _push(self, device: tango.server.Device, name: str, value: Any, time: float) -> None:
        """Push if the value is not what was pushed last."""
        if name not in self._pushed or self._pushed[name] != value:
            self._pushed[name] = value
            self._send(device, name, value, time)

    def _hears_alarms(self, device: tango.server.Device, name: str) -> bool:
        """Say whether anybody has ever subscribed to alarm events.

        Few do: asking takes 1 us, a push that nobody gets 8 us (measured).
        """
        heard = self._alarms_heard
        if name not in heard and device.is_there_subscriber(name, tango.EventType.ALARM_EVENT):
            heard.add(name)
        return name in heard

    def _send(
        self,
        device: tango.server.Device,
        name: str,
        value: Any,
        time: float,
        quality: tango.AttrQuality = tango.AttrQuality.ATTR_VALID,
    ) -> None:
        device.push_change_event(name, value, time, quality)
        device.push_archive_event(name, value, time, quality)
        if self._hears_alarms(device, name):
            device.push_alarm_event(name, value, time, quality)


def _newest_event(service: ScriptExecutionService) -> tuple[str, int, float]:
    """Return the newest lifecycle event that an earlier server has recorded, its number and its time."""
    sequence = service.history.last_sequence
    events = service.history.events_after(sequence - 1, 1) if sequence else []
    return (to_json(event_data(events[0])), sequence, events[0].time) if events else (_NO_EVENT, sequence, clock.time())
