"""A client of one device, which notes when each lifecycle event arrived."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from typing import Any

import tango

TERMINAL = ("COMPLETE", "STOPPED", "FAILED", "UNKNOWN")


class Client:
    """A DeviceProxy with a subscription to lifecycleEvent.  Times are those of `time.perf_counter`."""

    def __init__(self, url: str) -> None:
        self.proxy = tango.DeviceProxy(url)
        self.sequences: list[int] = []
        self._arrived: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
        self._ended: dict[int, str] = {}
        self._condition = threading.Condition()
        # A server that has just started answers for its devices a moment before it takes subscriptions.
        deadline = time.monotonic() + 30
        while True:
            try:
                self._id = self.proxy.subscribe_event("lifecycleEvent", tango.EventType.CHANGE_EVENT, self._note)
                return
            except tango.DevFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _note(self, data: tango.EventData) -> None:
        now = time.perf_counter()
        event = json.loads(data.attr_value.value) if not data.err else {}
        if not event:
            return
        with self._condition:
            self.sequences.append(event["sequence"])
            self._arrived[event["process_uid"], event["state"]].append(now)
            if event["state"] in TERMINAL:
                self._ended[event["process_uid"]] = event["state"]
            self._condition.notify_all()

    def wait(self, uid: int, state: str, times: int = 1, seconds: float = 30) -> float:
        """Return when procedure `uid` entered `state` for the first time, or as often as `times` says.

        :raises AssertionError: it ended otherwise, or not in time
        """
        arrived = self._arrived[uid, state]
        with self._condition:
            self._condition.wait_for(lambda: len(arrived) >= times or uid in self._ended, seconds)
            if len(arrived) < times:
                raise AssertionError(
                    f"procedure {uid} is not {state} within {seconds:g} s; it ended {self._ended.get(uid)}"
                )
            return arrived[times - 1]

    def prepare(self, script: str) -> int:
        return int(json.loads(self.proxy.command_inout("Prepare", f"file://{script}"))["id"])

    def ready(self, script: str) -> int:
        uid = self.prepare(script)
        self.wait(uid, "READY")
        return uid

    def run(self, script: str, **arguments: Any) -> int:
        request: dict[str, Any] = {"script": {"script_type": "filesystem", "script_uri": f"file://{script}"}}
        if arguments:
            request["run_args"] = {"kwargs": arguments}
        return int(json.loads(self.proxy.command_inout("Run", json.dumps(request)))["id"])

    def start(self, uid: int, function: str = "main", *, force: bool = False) -> None:
        request = {"process_uid": uid, "fn_name": function, "force_start": force}
        self.proxy.command_inout("Start", json.dumps(request))

    def stop(self, uid: int) -> None:
        self.proxy.command_inout("Stop", str(uid))

    def forget(self) -> None:
        """Forget what has arrived."""
        with self._condition:
            self._arrived.clear()
            self._ended.clear()
            self.sequences.clear()

    def close(self) -> None:
        self.proxy.unsubscribe_event(self._id)
