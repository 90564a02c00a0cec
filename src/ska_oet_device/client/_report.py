"""What a device tells of itself to who looks at many: read at once, without having the server try anything."""

from __future__ import annotations

import contextlib
import enum
import json
from dataclasses import dataclass, replace
from typing import Any, Final

import tango

from ..giop import NoSuchObject, ask_state
from . import _gate
from ._answers import ProcedureState
from ._connection import make_proxy
from ._directory import Directory, Entry, first_line

_READ: Final = (
    *("State", "Status", "versionId", "healthInfo", "activeProcedureId", "activeProcedureState"),
    *("activeScript", "activeProgress", "activeActivity", "lifecycleEvent"),
)
# The device's enumeration begins with UNKNOWN.
_STATES: Final = ("UNKNOWN", *(str(each) for each in ProcedureState if each is not ProcedureState.UNKNOWN))
ENDED: Final = tuple(str(each) for each in ProcedureState if each.is_terminal)
_HEALTH: Final = ("OK", "DEGRADED", "FAILED", "UNKNOWN")


class Presence(str, enum.Enum):
    """Whether a device answers; each equals its name as a text."""

    ANSWERS = "ANSWERS"
    NOT_RUNNING = "NOT_RUNNING"
    """Its server has ended in order, or was never started."""
    NO_ANSWER = "NO_ANSWER"
    """Its server should be there, and is not, or hangs."""
    REMOVED = "REMOVED"
    """It is no longer in the Tango database."""

    __str__ = str.__str__


@dataclass(frozen=True)
class DeviceReport:
    """What is known of a device at one moment.

    :ivar reason: why it does not answer; else why its health is not OK; else its Status, if State is FAULT or ALARM
    :ivar state: its State; this and what follows is None, 0 or empty where it does not answer, or does not have it
    :ivar health: its healthState
    :ivar procedure: id of the active procedure; None before the first
    :ivar since: when the procedure has entered its state, in Unix seconds
    :ivar progress: in per cent; None if the script reports nothing
    :ivar started: when the server was started, as the Tango database writes it
    """

    device: str
    presence: Presence
    reason: str = ""
    state: str | None = None
    health: str | None = None
    procedure: int | None = None
    procedure_state: str | None = None
    since: float | None = None
    script: str = ""
    progress: float | None = None
    activity: str = ""
    version: str | None = None
    server: str = ""
    host: str = ""
    started: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it answers, and its health is OK or DEGRADED."""
        return self.presence is Presence.ANSWERS and self.health in ("OK", "DEGRADED")


@dataclass(frozen=True)
class Found:
    """A device that answers: its report, where it is, and how it is asked again."""

    report: DeviceReport
    entry: Entry
    proxy: tango.DeviceProxy


def look_at(device: str, directory: Directory, timeout: float) -> DeviceReport:
    """Return what is known of a device, in the thread that asks.

    :param timeout: seconds that it has for each answer
    """
    found = find(device, directory, timeout)
    return found.report if isinstance(found, Found) else found


def find(device: str, directory: Directory, timeout: float) -> Found | DeviceReport:
    """Return a device that answers, else a report that says why it does not; in the thread that asks."""
    try:
        entry = directory.entry(device)
    except tango.DevFailed as failure:
        text = first_line(failure)
        presence = Presence.REMOVED if "not defined" in text or "DeviceNotDefined" in failure.args[0].reason else None
        return DeviceReport(device, presence or Presence.NO_ANSWER, f"the Tango database {directory.host}: {text}")
    absent = _absence(entry, timeout)
    if absent is not None:
        return absent
    try:
        with _gate.call():
            proxy = make_proxy(device, timeout)
            return Found(_read(proxy, entry), entry, proxy)
    except tango.DevFailed as failure:
        return missing(entry, first_line(failure))


def missing(entry: Entry, reason: str) -> DeviceReport:
    """Return the report of a device that should be there, and does not answer."""
    return DeviceReport(
        entry.device, Presence.NO_ANSWER, reason, server=entry.server, host=entry.host, started=entry.started
    )


def _absence(entry: Entry, timeout: float) -> DeviceReport | None:
    """Return why a device does not answer; None if it does: it is asked for its State."""
    if not entry.is_exported or entry.reference is None:
        reason = f"ended {entry.stopped}".strip() if entry.started else "was never started"
        return DeviceReport(
            entry.device, Presence.NOT_RUNNING, reason, server=entry.server, host=entry.host, started=entry.started
        )
    try:
        ask_state(entry.reference, timeout)
    except TimeoutError:
        return missing(entry, f"hangs: process {entry.pid} on {entry.host} gives no answer within {timeout:g} s")
    except NoSuchObject:
        return missing(entry, "its server is starting, or does not have it")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return missing(entry, f"process {entry.pid} on {entry.host} takes no connection: {why}")
    return None


def read_again(found: Found) -> DeviceReport:
    """Return what a device tells now; raises DevFailed."""
    with _gate.call():
        return _read(found.proxy, found.entry)


def _read(proxy: tango.DeviceProxy, entry: Entry) -> DeviceReport:
    values = _values(proxy.read_attributes(_READ))
    health = _health(proxy, values)
    report = DeviceReport(
        entry.device,
        Presence.ANSWERS,
        state=str(values.get("State")),
        health=health,
        version=_text(values.get("versionId")) or None,
        server=entry.server,
        host=entry.host,
        started=entry.started,
        **_active(proxy, values),
    )
    return replace(report, reason=_reason(values, health))


def _values(readings: Any) -> dict[str, Any]:
    """Return what was read, by its name: None where it is INVALID; what the device does not have is left out."""
    return {each.name: None if each.is_empty else each.value for each in readings if not each.has_failed}


def _health(proxy: tango.DeviceProxy, values: dict[str, Any]) -> str | None:
    """Return the health: OK where no reason is named; else healthState is read, which forks a worker."""
    if "healthInfo" in values and not values["healthInfo"] and str(values.get("State")) in ("ON", "RUNNING"):
        return "OK"
    number = _values(proxy.read_attributes(["healthState"])).get("healthState")
    return None if number is None else _name(_HEALTH, number)


def _reason(values: dict[str, Any], health: str | None) -> str:
    if health != "OK":
        return " ".join(map(str, values.get("healthInfo") or ())) or _text(values.get("Status"))
    return _text(values.get("Status")) if str(values.get("State")) in ("FAULT", "ALARM", "UNKNOWN") else ""


def _active(proxy: tango.DeviceProxy, values: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the active procedure."""
    uid = int(values.get("activeProcedureId") or 0)
    if not uid:
        return {}
    found = {
        "procedure": uid,
        "procedure_state": state_name(values.get("activeProcedureState")),
        "since": _since(proxy, uid, _text(values.get("lifecycleEvent"))),
        "script": _text(values.get("activeScript")),
    }
    if found["procedure_state"] in ENDED:  # what it has reported last is of no interest any more
        return found
    progress = values.get("activeProgress")
    return {
        **found,
        "progress": None if progress is None else float(progress),
        "activity": _text(values.get("activeActivity")),
    }


def _since(proxy: tango.DeviceProxy, uid: int, newest: str) -> float | None:
    """Return when the procedure has entered its state: mostly the newest event tells."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        event = json.loads(newest or "{}")
        if event.get("process_uid") == uid:
            return float(event["time"])
    with contextlib.suppress(ValueError, LookupError, TypeError, tango.DevFailed):
        (summary,) = json.loads(proxy.command_inout("Summarise", [uid]))
        return float(summary["history"]["process_states"][-1][1])
    return None


def is_known(report: DeviceReport, attribute: str, value: Any) -> bool:
    """Say whether a report has what was pushed: what stands is pushed once more some time after a change."""
    if attribute == "State":
        return str(value) == report.state
    if attribute == "activeProcedureState":
        return state_name(value) == (report.procedure_state or "UNKNOWN")
    return " ".join(value or ()) == report.reason and (report.health == "OK") == (not value)


def with_reported(report: DeviceReport, attribute: str, value: Any) -> DeviceReport:
    """Return a report with what the script has reported: activeProgress or activeActivity, as it was pushed."""
    if attribute == "activeProgress":
        return replace(report, progress=None if value is None else float(value))
    return replace(report, activity="" if value is None else str(value))


def state_name(number: Any) -> str:
    """Return the name of a state of a procedure."""
    return _name(_STATES, number)


def _name(names: tuple[str, ...], number: Any) -> str:
    return names[int(number)] if number is not None and 0 <= int(number) < len(names) else "UNKNOWN"


def _text(value: Any) -> str:
    return "" if value is None else str(value)
