"""All OetDevices of a Tango database, and each change of one: by change events, and by what the database says.

One thread decides; whatever may hang is done by others, with time limits. A device is asked when it is found, three
times behind that, since Tango may connect later than it says, and when an event tells of another procedure or another
health. The database is asked every few seconds which devices there are, and which of them run.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import tango

from ._connection import fix_queue_length
from ._crew import Crew, Done, Returned
from ._directory import Directory, first_line
from ._errors import OetError, UnreachableError
from ._fleet import MARGIN, report_of
from ._fleet_member import FIRST_PAUSE, Member, Pushed, Subscribed, leave_behind, subscribed
from ._report import ENDED, DeviceReport, Found, Presence, find, is_known, missing, read_again, with_reported
from ._vigil import Vigil

_LOG = logging.getLogger(__name__)

_SLOTS: Final = 16  # devices that are asked, or subscribed to, at once
_LOOK_EVERY: Final = 5.0  # seconds from one look into the database to the next
_LOOKS_AFTER: Final = (1.0, 12.0)  # seconds behind the subscriptions: the second is behind Tango's own heartbeat
_LONGEST_PAUSE = 5.0  # seconds between attempts to reach a device that should be there; FIRST_PAUSE at first
_SUBSCRIBING: Final = 20.0  # seconds beyond the time limit of an answer
_DATABASE: Final = ""  # a key that is no device's


@dataclass(frozen=True)
class DatabaseAway:
    """The Tango database does not answer: which devices come and go is not seen; `reason` is empty when it is back."""

    reason: str


FleetItem = DeviceReport | DatabaseAway


@dataclass(frozen=True)
class _Gone:
    endpoint: tuple[str, int]


class FleetFeed:
    """Tells the report of each device, and each that differs from the one before; from `begin` to `close`.

    :param put: takes a FleetItem, in the feed's thread, and returns at once
    :param patterns: as for `fleet`
    :param timeout: seconds that the database and each device have for an answer
    """

    def __init__(self, put: Callable[[FleetItem], None], patterns: Iterable[str] = (), *, timeout: float = 3.0) -> None:
        fix_queue_length()
        self._put = put
        self._patterns = tuple(patterns)
        self._timeout = timeout
        self._directory = Directory(timeout)
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._crew = Crew(_SLOTS, self._inbox.put)
        self._database_crew = Crew(1, self._inbox.put)
        self._members: dict[str, Member] = {}
        self._vigils: dict[tuple[str, int], Vigil] = {}
        self._next_look = 0.0
        self._is_away = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oet-fleet", daemon=True)

    def begin(self) -> list[str]:
        """Ask the database for the devices, and start the thread; returns the names.

        :raises UnreachableError: the database does not answer
        """
        names, exported = self._look()
        self._take_names(names, exported)
        self._next_look = time.monotonic() + _LOOK_EVERY
        self._thread.start()
        # Behind this, in the order of atexit, Tango is not called any more (_gate).  An event that arrived later would
        # abort the process.
        atexit.register(self.close)
        return names

    def close(self) -> None:
        """End the thread and the subscriptions, within some `timeout`; may be called twice."""
        atexit.unregister(self.close)
        deadline = time.monotonic() + self._timeout
        self._closing.set()
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(self._timeout)
        members, self._members = self._members, {}
        leaving = [
            leave_behind(member.found, member.subscriptions)
            for member in members.values()
            if member.found is not None and member.subscriptions
        ]
        for thread in leaving:
            thread.join(max(0.0, deadline - time.monotonic()))
        for vigil in self._vigils.values():
            vigil.close()

    # -- the feed's thread

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._turn()
            except Exception:  # a thread that ends would show for ever what was
                _LOG.exception("the devices cannot be followed; trying again")

    def _turn(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._handle(self._inbox.get(timeout=max(0.0, self._due() - time.monotonic())))
        for crew in (self._crew, self._database_crew):
            for late in crew.expire():
                self._take_done(late)
        self._do_what_is_due()

    def _due(self) -> float:
        """Return when there is something to do, though nothing happens."""
        moments = [self._next_look, self._crew.expiry, self._database_crew.expiry]
        for member in self._members.values():
            moments += member.looks[:1]
            if member.again:
                moments.append(member.again)
        return min(moments)

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        if self._next_look <= now:
            self._next_look = now + _LOOK_EVERY
            if not len(self._database_crew):
                self._database_crew.ask(_DATABASE, self._look, 4 * self._timeout)
        for device, member in self._members.items():
            if member.again and member.again <= now:
                member.again = 0.0
                self._join(device)
            if member.looks and member.looks[0] <= now:
                member.looks.pop(0)
                self._ask(device)

    def _handle(self, item: Any) -> None:
        if isinstance(item, Returned):
            for crew in (self._crew, self._database_crew):
                done = crew.take(item)
                if done is not None:
                    self._take_done(done)
        elif isinstance(item, Pushed):
            self._take_pushed(item)
        elif isinstance(item, _Gone):
            self._take_gone(item.endpoint)

    def _take_done(self, done: Done[Any]) -> None:
        if done.key == _DATABASE:
            self._take_look(done)
        elif done.key in self._members:
            self._take_answer(done.key, self._members[done.key], done)
        elif isinstance(done.result, Subscribed):
            leave_behind(done.result.found, done.result.subscriptions)

    # -- the database

    def _look(self) -> tuple[list[str], frozenset[str]]:
        return self._directory.names(self._patterns), self._directory.exported()

    def _take_look(self, done: Done[Any]) -> None:
        if done.result is None:
            reason = str(done.error) or f"the Tango database {self._directory.host} does not answer"
            if not isinstance(done.error, OetError | TimeoutError):
                _LOG.error("the Tango database cannot be asked", exc_info=done.error)
            if not self._is_away:
                self._is_away = True
                self._put(DatabaseAway(reason))
            return
        if self._is_away:
            self._is_away = False
            self._put(DatabaseAway(""))
        self._take_names(*done.result)

    def _take_names(self, names: Iterable[str], exported: frozenset[str]) -> None:
        """Take up what is new, and what has begun to run; let go of what is no longer there."""
        known = set(names)
        for device in self._members.keys() - known:
            member = self._members.pop(device)
            self._leave(member)
            self._put(replace(member.report, presence=Presence.REMOVED, reason="is no longer in the Tango database"))
        for device in names:
            present = self._members.get(device)
            if present is None:
                self._members[device] = Member(DeviceReport(device, Presence.NO_ANSWER, "is being asked"))
                self._join(device)
            elif present.report.presence is Presence.NOT_RUNNING and device.lower() in exported:
                self._join(device)
            elif present.report.presence is Presence.NO_ANSWER and device.lower() not in exported:
                self._join(device)  # its server has ended in order meanwhile

    # -- a device

    def _join(self, device: str) -> None:
        """Have a device found and listened to anew; if something is under way there, behind that."""
        member = self._members[device]
        if self._crew.is_busy_with(device):
            member.again = time.monotonic() + FIRST_PAUSE
            return
        self._leave(member)
        member.is_stale = False
        call = functools.partial(_found, device, self._directory, self._timeout)
        self._crew.ask(device, call, 2 * self._timeout + MARGIN)

    def _ask(self, device: str) -> None:
        """Have a device asked how it is; if something is under way there, behind that."""
        member = self._members[device]
        if member.found is None:
            return
        if self._crew.is_busy_with(device):
            member.is_stale = True
            return
        member.is_stale = False
        self._crew.ask(device, functools.partial(read_again, member.found), self._timeout + MARGIN)

    def _take_answer(self, device: str, member: Member, done: Done[Any]) -> None:
        result = done.result
        if isinstance(result, Found):
            self._take_found(device, member, result)
        elif isinstance(result, Subscribed):
            self._take_subscribed(member, result)
        elif isinstance(done.error, UnreachableError) or (member.is_subscribing and result is None):
            self._put_off(device, member, done.error)
        elif isinstance(result, DeviceReport) and result.presence is Presence.ANSWERS:
            self._tell(member, result)
        elif isinstance(result, DeviceReport):
            self._lose(member, result)
        elif isinstance(done.error, tango.DevFailed) and member.found is not None:
            self._lose(member, missing(member.found.entry, first_line(done.error)))
        else:
            self._lose(member, report_of(device, done, self._timeout))
        if member.is_stale and member.found is not None:
            self._ask(device)

    def _take_found(self, device: str, member: Member, found: Found) -> None:
        """Listen to a device that answers."""
        member.found = found
        self._tell(member, found.report)
        call = functools.partial(subscribed, found, member.generation, self._inbox.put)
        member.is_subscribing = True
        self._crew.ask(device, call, self._timeout + _SUBSCRIBING)
        reference = found.entry.reference
        if reference is not None and reference.endpoint not in self._vigils:
            endpoint = reference.endpoint
            self._vigils[endpoint] = Vigil(endpoint, lambda: self._inbox.put(_Gone(endpoint)))

    def _put_off(self, device: str, member: Member, error: Exception | None) -> None:
        """Find it anew in a while: the database is away, or the device answers and takes no subscription."""
        _LOG.info("%s is not listened to: %s", device, error or "no answer")
        self._leave(member)
        self._try_again(member)

    def _take_subscribed(self, member: Member, to: Subscribed) -> None:
        if to.generation != member.generation:
            leave_behind(to.found, to.subscriptions)
            member.again = member.again or time.monotonic()
            return
        member.subscriptions, member.is_subscribing = to.subscriptions, False
        member.pause, member.again, member.is_stale = FIRST_PAUSE, 0.0, True
        now = time.monotonic()
        member.looks = [now + seconds for seconds in _LOOKS_AFTER]

    def _take_gone(self, endpoint: tuple[str, int]) -> None:
        """The process of a server has ended: all its devices are looked for at once."""
        for member in self._members.values():
            if member.endpoint == endpoint and member.found is not None:
                self._lose(member, missing(member.found.entry, "its server has ended"))

    def _take_pushed(self, pushed: Pushed) -> None:
        member = self._members.get(pushed.device)
        if member is None or pushed.generation != member.generation:
            return
        if pushed.data.err:
            if pushed.data.errors[0].reason == "API_MissedEvents":
                self._ask(pushed.device)
            else:  # no heartbeat: it is found anew, and told only if it is not
                self._join(pushed.device)
            return
        self._take_value(pushed.device, member, pushed.attribute, pushed.data.attr_value.value)

    def _take_value(self, device: str, member: Member, attribute: str, value: Any) -> None:
        report = member.report
        if member.found is None or report.presence is not Presence.ANSWERS:
            member.is_stale = True  # it is being subscribed to
        elif attribute in ("activeProgress", "activeActivity"):
            if report.procedure_state not in ENDED:
                self._tell(member, with_reported(report, attribute, value))
        elif not is_known(report, attribute, value):
            self._ask(device)

    def _lose(self, member: Member, report: DeviceReport) -> None:
        """Tell that a device does not answer, and try again in a while, if it should be there."""
        self._leave(member)
        self._tell(member, report)
        if report.presence is Presence.NO_ANSWER:
            self._try_again(member)

    def _try_again(self, member: Member) -> None:
        member.again = time.monotonic() + member.pause
        member.pause = min(2 * member.pause, _LONGEST_PAUSE)

    def _leave(self, member: Member) -> None:
        """Listen to a device no more; to its server neither, if that was the last of its devices."""
        found, subscriptions, endpoint = member.found, member.subscriptions, member.endpoint
        member.found, member.subscriptions, member.looks, member.is_subscribing = None, [], [], False
        member.generation += 1
        if found is None or endpoint is None:
            return
        leave_behind(found, subscriptions)
        if endpoint in self._vigils and all(each.endpoint != endpoint for each in self._members.values()):
            threading.Thread(target=self._vigils.pop(endpoint).close, name="oet-fleet leaves", daemon=True).start()

    def _tell(self, member: Member, report: DeviceReport) -> None:
        if report != member.report:
            member.report = report
            self._put(report)


def _found(device: str, directory: Directory, timeout: float) -> Found | DeviceReport:
    """Find a device; in a thread of its own.

    :raises UnreachableError: the database does not answer, so that nothing is known of the device
    """
    directory.check()
    return find(device, directory, timeout)
