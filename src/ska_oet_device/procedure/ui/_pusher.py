"""The thread that pushes a device's events, in order, holding no lock of ours.

``push_change_event`` takes Tango's monitor of the device.  A command that waited for one of our
locks while it holds that monitor would never end if we held the lock while pushing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time as clock
from collections.abc import Callable, Mapping
from typing import Any

import tango

from ...duties import Duty
from ...logs import about
from ..application import Change, CheckReport, CommandUpdate, Progress, ScriptExecutionService
from ._answers import check_data, event_data
from ._attribute import Occasion
from ._attributes import GROUPS
from ._device_events import DeviceEvents, Listeners
from ._devstring import to_json
from ._last_words import LastWords
from ._output_follower import OutputFollower
from ._quiet import QuietMoments
from ._repeats import Repeats
from ._script_messages import ProgressReports, Report, ScriptMessages, pushed_json
from ._status import DeviceStatus
from ._tango_logs import LoggingLevel
from ._view import NewestEvent, NewestMessage, NewestReport, Shown

_log = logging.getLogger(__name__)

_SUBSCRIPTIONS_RETURN = 3.0  # seconds within which Tango gives a new device object its subscriptions back
_LAST_PUSHES = 5.0  # seconds that the end of a device object waits for those under way; mostly a few milliseconds

_NOTHING = "nothing has happened, but it is time to look at the output or to push a script's message"


class EventPusher:
    """Turns recorded changes into Tango events of whichever device object is there now.

    Values are computed when something happened, kept in `shown`, and pushed if they differ from what was
    pushed before: the lifecycle event first, then what is small, and the lists of procedures when nothing else waits.
    """

    def __init__(
        self,
        service: ScriptExecutionService,
        status: DeviceStatus,
        logging_level: Callable[[], LoggingLevel] = lambda: LoggingLevel.INFO,
    ) -> None:
        """Push nothing yet.

        :param logging_level: returns the level of the device's log
        """
        self._service = service
        self._status = status
        self._logging_level = logging_level
        self._items: queue.SimpleQueue[Change | CheckReport | CommandUpdate | threading.Event | str | None] = (
            queue.SimpleQueue()
        )
        self._attached = threading.Condition()
        self._events: DeviceEvents | None = None
        self._since = clock.monotonic()
        self._pushing = False
        self._listeners = Listeners()
        self._refreshes = threading.Event()
        self._lists = QuietMoments()
        self._repeats = Repeats()
        self._reports = ProgressReports()
        self._output = OutputFollower(service)
        self._last_words = LastWords()
        self.messages = ScriptMessages()
        self.shown = Shown.at_start(service)

    # -- the device object of the moment

    def start(self) -> None:
        """Start the thread; how things stand is what clients are shown at first."""
        self.shown.snapshot = self._service.snapshot()
        self._take_up_commands()
        self._last_words.repeat_earlier(self._service.commands.finished)
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def attach(self, device: tango.server.Device) -> None:
        """Push on this device from now on, beginning with how things stand."""
        with self._attached:
            self._events = DeviceEvents(device, self._listeners)
            self._events.assume(Occasion.COMMANDS, self.shown)
            self._since = clock.monotonic()
            self._status.look()
            self._status.show(device, self.shown.snapshot)
            self._attached.notify_all()
        self.refresh()

    def detach(self, *, ends: bool) -> None:
        """Push nothing until a device is attached again; changes wait.

        :param ends: the object is destroyed next: a push to it would be the end of this process
        """
        with self._attached:
            events, self._events = self._events, None
            self._since = clock.monotonic()
            if events is not None:
                self._listeners.remember(events.device)
            if ends:
                self._attached.wait_for(lambda: not self._pushing, _LAST_PUSHES)

    @property
    def alone_for(self) -> float:
        """Seconds for which there has been no device object; 0 while there is one."""
        with self._attached:
            return clock.monotonic() - self._since if self._events is None else 0.0

    # -- what happened; any thread, returns at once

    def put_change(self, change: Change) -> None:
        self._items.put(change)

    def put_report(self, report: CheckReport) -> None:
        self._items.put(report)

    def put_update(self, update: CommandUpdate) -> None:
        self._items.put(update)

    def refresh(self) -> None:
        """Push whatever has changed without a lifecycle change: flags, health, notices."""
        # Clients that read healthState ask for it, as often as they like: once is enough.
        if not self._refreshes.is_set():
            self._refreshes.set()
            self._items.put(None)

    def put_script_message(
        self, uid: int, topic: str, data: Mapping[str, Any], time: float, payload: bytes = b""
    ) -> None:
        # It came behind the change that is the procedure's newest, which may still be on its way through the history.
        if self.messages.put(uid, self._service.newest_change(uid), topic, data, time, payload):
            self._items.put(_NOTHING)

    def put_progress(self, uid: int, progress: Progress, time: float) -> None:
        """Push what a procedure reports of itself; other messages do not stand in its way, however many there are."""
        if self._reports.put(uid, self._service.newest_change(uid), progress, time):
            self._items.put(_NOTHING)

    def flush(self, seconds: float) -> None:
        """Wait until everything put before has been pushed, at most so long; at once if there is no device any more."""
        with self._attached:
            if self._events is None:
                return
        done = threading.Event()
        self._items.put(done)
        done.wait(seconds)

    # -- the thread

    def _run(self) -> None:
        with tango.EnsureOmniThread():
            duty = Duty(f"push the events of {self._service.device}", about(self._service.device))
            while True:
                duty.attempt(self._step)

    def _step(self) -> None:
        try:
            item = self._items.get(timeout=self._seconds_until_due())
        except queue.Empty:
            item = _NOTHING
        if item is None:
            self._refreshes.clear()  # what changes from now on is for the next one
        events = self._wait_for_device()
        try:
            if isinstance(item, Change):
                self._push_change(events, item)
            elif isinstance(item, CheckReport):
                self._push_report_of_check(events, item)
            elif isinstance(item, CommandUpdate):
                self._push_update(events, item)
            elif item is not _NOTHING:
                self._push_rest(events)
            elif self._repeats.take():
                self._push_again(events)
            self._push_output(events)
            self._push_last_words(events)
            self._push_messages(events, all_of_them=isinstance(item, threading.Event))
            self._push_lists(events, all_of_them=isinstance(item, threading.Event))
        finally:
            with self._attached:
                self._pushing = False
                self._attached.notify_all()
            if isinstance(item, threading.Event):
                item.set()

    def _seconds_until_due(self) -> float | None:
        told = self.shown.event.sequence
        waiting = (self.messages.waiting.due(told), self._reports.waiting.due(told))
        later = (
            self._lists.seconds_until_due(),
            self._repeats.seconds_until_due(),
            self._last_words.seconds_until_due(),
        )
        due = (*waiting, self._output.seconds_until_due(), *later)
        return min((seconds for seconds in due if seconds is not None), default=None)

    def _wait_for_device(self) -> DeviceEvents:
        with self._attached:
            while self._events is None or not self._is_heard(self._events):
                self._attached.wait(None if self._events is None else 0.005)
            self._listeners.forget()
            self._pushing = True
            return self._events

    def _is_heard(self, events: DeviceEvents) -> bool:
        """Say whether pushes reach who listened before; nobody waits for long for those who do not come back."""
        return clock.monotonic() - self._since > _SUBSCRIPTIONS_RETURN or self._listeners.are_back(events.device)

    def _push_change(self, events: DeviceEvents, change: Change) -> None:
        event, shown = change.event, self.shown
        self._push_what_was_said_before(events, event.process_uid, event.sequence)
        # Not before its turn: a client that subscribes now would get it as its first value, and older ones after it.
        shown.event = NewestEvent(to_json(event_data(event)), event.sequence, event.time)
        shown.snapshot = change.snapshot
        self._output.begin()
        events.is_behind = True
        self._status.show(events.device, shown.snapshot)
        events.push(Occasion.EVENT, shown, event.time)
        events.push_state()
        self._push_snapshot(events, event.time)
        for update in change.updates:
            self._push_update(events, update)
        self._repeats.ask()

    def _push_update(self, events: DeviceEvents, update: CommandUpdate) -> None:
        """Push what is new of a long running command, and how all of them stand."""
        now = clock.time()
        self._push_command_event(events, (update.uid, to_json(update.data)), now)
        # What comes with a change of a procedure has waited for the history, and others may have gone ahead of it: so
        # the lists are not those of the moment, in which several may have finished that are still to be told of.
        self._take_up_commands()
        self.shown.commands = self.shown.commands.after(update, clock.monotonic())
        events.push_heard(Occasion.COMMANDS, self.shown, now)
        if update.is_last:
            self._last_words.note(self.shown.command_event)
        self._repeats.ask()

    def _take_up_commands(self) -> bool:
        """Show the commands of earlier servers, too, where these have been taken up; False if there are no more.

        Nothing is told of them; what is new of the others is still to be told, and stays news.
        """
        found = self._service.commands.taken_up
        if len(found) == len(self.shown.commands.taken_up):
            return False
        self.shown.commands = self.shown.commands.with_taken_up(found)
        return True

    def _push_command_event(self, events: DeviceEvents, event: tuple[str, ...], time: float) -> None:
        self.shown.command_event = event
        events.push(Occasion.COMMAND, self.shown, time, always=True)

    def _push_last_words(self, events: DeviceEvents) -> None:
        """Push once more that commands have finished, and no more what protocol 1 shows for a while."""
        for event in self._last_words.due():
            self._push_command_event(events, event, clock.time())
        shown = self.shown.commands.without_old(clock.monotonic())
        if shown is not self.shown.commands:
            self.shown.commands = shown
            events.push_heard(Occasion.COMMANDS, self.shown, clock.time())

    def _push_report_of_check(self, events: DeviceEvents, report: CheckReport) -> None:
        self.shown.report = NewestReport(to_json(check_data(report)), report.time)
        events.push(Occasion.CHECK, self.shown, report.time)
        self._repeats.ask()

    def _push_what_was_said_before(self, events: DeviceEvents, uid: int, sequence: int) -> None:
        """Push the messages of a procedure that came before one of its changes."""
        for _ in range(self.messages.waiting.count_before(uid, sequence)):
            self._push_script_event(events)
        for _ in range(self._reports.waiting.count_before(uid, sequence)):
            self._push_report(events)

    def _push_rest(self, events: DeviceEvents) -> None:
        """Push what is not part of a lifecycle change, and whatever a new device object has never pushed."""
        now, shown = clock.time(), self.shown
        health = self._status.look()
        # Before healthState is told, whose listeners ask for Status; and not as the service knows it: changes whose
        # own events are still to come are in that already.
        self._status.show(events.device, shown.snapshot)
        shown.health = health
        shown.health_reasons = self._status.reasons
        shown.wait_for_qa_ready = self._service.script_context.wait_for_qa_ready
        shown.scripts = self._service.scripts.uris
        selected, shown.selection = shown.selection, self._service.selection
        if selected.process_uid != shown.selection.process_uid:
            self._output.begin()
            events.is_behind = True
        shown.admin_mode, shown.logging_level = self._service.admin_mode, self._logging_level()
        events.look_for_listeners()
        is_new = events.push(Occasion.REFRESH, shown, now)
        if events.push_state() or is_new:
            self._repeats.ask()
        are_others, was_behind = self._take_up_commands(), events.is_behind
        if was_behind:
            self._push_snapshot(events, now)
        if was_behind or are_others:
            events.push_heard(Occasion.COMMANDS, shown, now)

    def _push_again(self, events: DeviceEvents) -> None:
        """Push what stands once more, but for what tells of something that has happened: that is pushed once."""
        events.repeat_standing()
        self._lists.ask(GROUPS[Occasion.LISTS], self._lists.time)

    def _push_snapshot(self, events: DeviceEvents, time: float) -> None:
        shown = self.shown
        events.push(Occasion.CHANGE, shown, time)
        shown.progress = self._reports.told_of(shown.snapshot.active.process_uid)
        events.push(Occasion.PROGRESS, shown, time)
        self._reports.keep(shown.snapshot.summaries)
        self._lists.ask(GROUPS[Occasion.LISTS], time)
        events.is_behind = False

    def _push_lists(self, events: DeviceEvents, *, all_of_them: bool) -> None:
        """Push the lists of procedures, as far as they are due; the newest values, for those between say no more."""
        for group in GROUPS[Occasion.LISTS]:
            if self._lists.is_due(group, is_quiet=self._items.empty()) or (all_of_them and self._lists.is_asked(group)):
                began, size = clock.monotonic(), 0
                try:
                    size = events.push_list(group, self.shown, self._lists.time)
                finally:
                    self._lists.pushed(group, began, size)

    def _push_output(self, events: DeviceEvents) -> None:
        newest = self._output.look()
        if newest is not None:
            self.shown.output, self.shown.selected_output = newest
            events.push(Occasion.OUTPUT, self.shown, clock.time())

    def _push_messages(self, events: DeviceEvents, *, all_of_them: bool) -> None:
        """Push a message and a report of progress, if any are due: no more, for a change may be waiting."""
        while any((self._push_script_event(events), self._push_report(events))) and all_of_them:
            pass

    def _push_script_event(self, events: DeviceEvents) -> bool:
        """Push the next message that is due; False if none is."""
        waiting = self.messages.waiting.take(self.shown.event.sequence)
        if waiting is None:
            return False
        message, skipped = waiting
        self.shown.message = NewestMessage(pushed_json(message, skipped), message.time)
        events.push(Occasion.MESSAGE, self.shown, message.time, always=True)
        return True

    def _push_report(self, events: DeviceEvents) -> bool:
        """Push the next report of progress that is due, if it is the active procedure's; False if none is."""
        report = self._reports.take(self.shown.event.sequence)
        if report is None:
            return False
        if report.process_uid == self.shown.snapshot.active.process_uid:
            self.shown.progress = report.progress
            events.push(Occasion.PROGRESS, self.shown, report.time, always=True)
        self._push_progress_of_command(events, report)
        return True

    def _push_progress_of_command(self, events: DeviceEvents, report: Report) -> None:
        percent = int(report.progress.percent)
        self.shown.commands, uid = self.shown.commands.with_progress(report.process_uid, percent)
        if uid:
            self._push_command_event(events, (uid, to_json({"progress": percent})), report.time)
            events.push_heard(Occasion.COMMANDS, self.shown, report.time)
