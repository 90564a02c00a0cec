"""The demonstration: ``python -m ska_oet_device.client.demo``, or ``make demo``.

Starts a Tango system of its own, has the device run the example scan to its end, and stops a
second one half-way, while it prints the events as a dashboard would receive them.  Exit status 0
means that every event came, in order, and that no process and no file was left.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tango

from ._interrupts import Interrupted, Interrupts
from ._stack import Stack, StackError, explain

_SCRIPT = "file://scan.py"
_PATIENCE = 30.0  # seconds without any event
_LOOK_AFTER = 1.0  # seconds without an event until the servers are looked at

_PREPARED = ["CREATING", "IDLE", "LOADING", "IDLE", "INITIALISING", "READY"]
_COMPLETED = [*_PREPARED, "RUNNING", "READY", "COMPLETE"]
_STOPPED = [*_PREPARED, "RUNNING", "STOPPED"]
_TERMINAL = ("COMPLETE", "STOPPED", "FAILED", "UNKNOWN")


class DemoError(StackError):
    """The servers ran, but something was not as the contract says."""


@dataclass
class _Story:
    """What the events have told so far."""

    lifecycle: list[dict[str, Any]] = field(default_factory=list)
    progress: float = 0.0
    activity: str = ""

    def states(self, uid: int) -> list[str]:
        return [event["state"] for event in self.lifecycle if event["process_uid"] == uid]


class Follower:
    """Subscribes to the device, prints what arrives, and keeps it.

    Tango's threads put the events into the inbox; all else happens in the main thread.
    """

    FOLLOWED = ("lifecycleEvent", "lifecycleSequence", "activeProgress", "activeActivity")

    def __init__(self, device: tango.DeviceProxy, interrupts: Interrupts, check: Callable[[], None]) -> None:
        self._device = device
        self._interrupts = interrupts
        self._check = check
        self._began = time.time()
        self._subscriptions: list[int] = []
        self.story = _Story()

    def __enter__(self) -> Follower:
        for name in self.FOLLOWED:
            self._subscriptions.append(
                self._device.subscribe_event(name, tango.EventType.CHANGE_EVENT, self._interrupts.inbox.put)
            )
        return self

    def __exit__(self, *_: object) -> None:
        for subscription in self._subscriptions:
            self._device.unsubscribe_event(subscription)

    def follow_until(self, condition: Callable[[_Story], bool], what: str) -> None:
        """Handle events until `condition` holds.

        :raises DemoError: nothing at all has happened for a while
        :raises StackError: a server has ended
        """
        last = time.monotonic()
        while not condition(self.story):
            try:
                event = self._interrupts.get(_LOOK_AFTER)
            except TimeoutError:
                self._check()
                if time.monotonic() - last > _PATIENCE:
                    raise DemoError(f"no event within {_PATIENCE:g} s while waiting for this: {what}") from None
            else:
                last = time.monotonic()
                self._handle(event)

    def _handle(self, event: tango.EventData) -> None:
        if event.err:
            self._check()  # a server that has ended is the better explanation
            raise DemoError(f"{event.attr_name}: {event.errors[0].desc}")
        # Tango writes an attribute's name in lower case in all events but the first.
        name, value = event.attr_value.name.lower(), event.attr_value.value
        if name == "lifecycleevent":
            change = json.loads(value) if value else {}
            self._lifecycle(change.get("sequence", 0), change)
        elif name == "lifecyclesequence":
            self._lifecycle(value)
        elif event.attr_value.quality == tango.AttrQuality.ATTR_INVALID:
            pass  # the script has reported nothing yet
        elif name == "activeprogress":
            self.story.progress = value
        elif name == "activeactivity" and value != self.story.activity:
            self.story.activity = value
            self._print(event.attr_value.time.totime(), "", f"{self.story.progress:3.0f} %  {value}")

    def _lifecycle(self, newest: int, change: dict[str, Any] | None = None) -> None:
        """Take the next change, and ask for what is missing before: the first may be pushed before we are connected."""
        known = len(self.story.lifecycle)
        if newest <= known:
            return
        is_next = newest == known + 1
        for each in [change] if change and is_next else json.loads(self._device.LifecycleEvents(known)):
            self.story.lifecycle.append(each)
            reason = f"  ({each['reason']})" if each["reason"] else ""
            self._print(each["time"], f"{each['process_uid']}", f"{each['state']}{reason}")

    def _print(self, when: float, uid: str, text: str) -> None:
        _say(f"  {when - self._began:7.3f} s  {uid:>2}  {text}")


def _say(text: str = "") -> None:
    print(text, flush=True)


def _expect(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise DemoError(f"{what}: {actual} instead of {expected}")


def _prepare(device: tango.DeviceProxy) -> int:
    request = {
        "script": {"script_type": "filesystem", "script_uri": _SCRIPT},
        "init_args": {"kwargs": {"subarray_id": 1}},
        "user": "demo",
    }
    summary = json.loads(device.Prepare(json.dumps(request)))
    _expect(summary["state"], "CREATING", "state that Prepare answers")
    return int(summary["id"])


def _has(uid: int, *states: str) -> Callable[[_Story], bool]:
    return lambda story: story.states(uid)[-1:] != [] and story.states(uid)[-1] in (*states, *_TERMINAL)


def _run_to_the_end(device: tango.DeviceProxy, follower: Follower) -> int:
    _say(f"\nPrepare {_SCRIPT}, and Start it:")
    uid = _prepare(device)
    follower.follow_until(_has(uid, "READY"), f"procedure {uid} is READY")
    device.Start(str(uid))
    follower.follow_until(_has(uid, "COMPLETE"), f"procedure {uid} is COMPLETE")
    _expect(follower.story.states(uid), _COMPLETED, f"states of procedure {uid}")
    _expect(follower.story.progress, 100.0, "progress at the end")
    return uid


def _stop_half_way(device: tango.DeviceProxy, follower: Follower) -> tuple[int, int]:
    _say("\nOnce more, but Stop it half-way; the device's abort script follows:")
    uid = _prepare(device)
    follower.follow_until(_has(uid, "READY"), f"procedure {uid} is READY")
    follower.story.progress = 0.0
    device.Start(str(uid))
    follower.follow_until(
        lambda story: story.progress >= 50.0 or story.states(uid)[-1] in _TERMINAL, f"procedure {uid} is half-way"
    )
    abort = json.loads(device.Stop(str(uid)))
    _expect(len(abort), 1, "number of abort scripts")
    abort_uid = int(abort[0]["id"])
    follower.follow_until(_has(uid, "STOPPED"), f"procedure {uid} is STOPPED")
    follower.follow_until(_has(abort_uid, "COMPLETE"), f"the abort script, procedure {abort_uid}, is COMPLETE")
    _expect(follower.story.states(uid), _STOPPED, f"states of procedure {uid}")
    _expect(follower.story.states(abort_uid), _COMPLETED, f"states of the abort script {abort_uid}")
    return uid, abort_uid


def _check_record(device: tango.DeviceProxy, mount: tango.DeviceProxy, story: _Story, ended: dict[int, str]) -> None:
    """Compare what was heard with what the device says now."""
    numbers = [event["sequence"] for event in story.lifecycle]
    _expect(numbers, list(range(1, len(numbers) + 1)), "sequence numbers of the events")
    _expect(json.loads(device.LifecycleEvents(0)), story.lifecycle, "backlog of the device")
    summaries = json.loads(device.Summarise([]))
    _expect({summary["id"]: summary["state"] for summary in summaries}, ended, "states at the end")
    _expect(mount.state(), tango.DevState.STANDBY, "state of the mount after the abort script")
    _expect(device.state(), tango.DevState.ON, "State of the device")
    _say(f"\nWhat {device.dev_name()} has on record ({len(numbers)} events, none lost):")
    for summary in summaries:
        times = [time for _, time in summary["history"]["process_states"]]
        script = summary["script"]["script_uri"]
        end = (summary["history"]["exit"] or {}).get("reason")
        _say(f"  {summary['id']:2}  {script:16}  {summary['state']:8}  {times[-1] - times[0]:6.3f} s  {end}")


def _demonstrate(interrupts: Interrupts) -> None:
    began = time.monotonic()
    with Stack(interrupts) as stack:
        _say(f"A Tango database, a device server and a simulated mount run at TANGO_HOST={stack.tango_host}")
        _say(f"(started in {time.monotonic() - began:.1f} s, files in {stack.folder})")
        device, mount = tango.DeviceProxy(stack.device), tango.DeviceProxy(stack.mount)
        with Follower(device, interrupts, stack.check) as follower:
            first = _run_to_the_end(device, follower)
            second, abort = _stop_half_way(device, follower)
        _check_record(device, mount, follower.story, {first: "COMPLETE", second: "STOPPED", abort: "COMPLETE"})
        processes = len(stack.left_processes())
    left = stack.left_processes()
    if left:
        raise DemoError(f"processes were left: {', '.join(str(process.pid) for process in left)}")
    if stack.folder.exists():
        raise DemoError(f"files were left in {stack.folder}")
    _say(f"\nEnded: all {processes} processes and all files of the demonstration are gone.")


def main() -> int:
    """Run the demonstration; returns the exit status."""
    with Interrupts() as interrupts:
        try:
            _demonstrate(interrupts)
        except Interrupted as interrupted:
            print(f"\nEnded by {interrupted}.", file=sys.stderr)
            return 128 + interrupted.number
        except (StackError, tango.DevFailed) as error:
            print(f"\nThe demonstration failed: {explain(error)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
