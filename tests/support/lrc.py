"""Clients as other devices of the SKA have them: what ska-tango-base does, which cannot be had here.

Written from what their documentation says of the protocol; no code is theirs.
"""

from __future__ import annotations

import enum
import inspect
import json
import threading
from collections.abc import Callable
from typing import Any

import tango

from ska_oet_device.client._publisher import forget_former

from .connection import until_connected
from .waiting import wait_until

SPOKEN = (1, 2)
"""The oldest and the newest protocol that these clients know."""


class TaskStatus(enum.IntEnum):
    STAGING = 0
    QUEUED = 1
    IN_PROGRESS = 2
    ABORTED = 3
    NOT_FOUND = 4
    COMPLETED = 5
    REJECTED = 6
    FAILED = 7


LAST = (TaskStatus.ABORTED, TaskStatus.COMPLETED, TaskStatus.REJECTED, TaskStatus.FAILED)
REJECTED, ACCEPTED = 5, (1, 2)


class CommandError(RuntimeError):
    """The command was rejected; says why."""


class Subscriptions:
    """What `invoke` returns: the uid, and the subscriptions, which end with it."""

    def __init__(self, uid: str, unsubscribe: Callable[[], None], protocol: int) -> None:
        self.uid = uid
        self.protocol = protocol
        self.unsubscribe = unsubscribe

    def __del__(self) -> None:
        self.unsubscribe()


def protocol_of(proxy: tango.DeviceProxy, newest: int = SPOKEN[1]) -> int:
    """Return the newest protocol that both know; upper and lower case count in the name of the attribute."""
    has_it = "lrcProtocolVersions" in proxy.get_attribute_list()
    lowest, highest = proxy.lrcProtocolVersions if has_it else (1, 1)
    assert lowest <= newest, "the device is too new"
    return int(min(highest, newest))


class _Invocation:
    """One long running command of one client."""

    def __init__(self, callback: Callable[..., None], proxy: tango.DeviceProxy, newest: int) -> None:
        parameters = inspect.signature(callback).parameters.values()
        assert any(each.kind is each.VAR_KEYWORD for each in parameters), "the callback must take what may come"
        self._callback = callback
        self._proxy = proxy
        self._caller = threading.current_thread()
        self._submitted = threading.Event()
        self._is_connected = False
        self._lock = threading.Lock()
        self._ids: list[int] = []
        self._uid = ""
        self.protocol = protocol_of(proxy, newest)

    def invoke(self, command: str, arguments: tuple[Any, ...]) -> Subscriptions:
        two = ("_lrcEvent",)
        one = ("longRunningCommandStatus", "longRunningCommandProgress", "longRunningCommandResult")
        try:
            forget_former(self._proxy, "State")
            for name in two if self.protocol == 2 else one:
                self._ids.append(self._proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, self._hear))
            until_connected(self._proxy)  # theirs do not, and may miss QUEUED
            self._is_connected = True
            (code,), (self._uid,) = self._proxy.command_inout(command, *arguments)
        except tango.DevFailed:
            self._unsubscribe()
            raise
        finally:
            self._submitted.set()
        if code == REJECTED:
            self._unsubscribe()
            raise CommandError(f"{command} command rejected: {self._uid}")
        assert code in ACCEPTED, code
        return Subscriptions(self._uid, self._unsubscribe, self.protocol)

    def _unsubscribe(self) -> None:
        with self._lock:
            ids, self._ids = self._ids, []
        for each in ids:
            self._proxy.unsubscribe_event(each)

    def _hear(self, event: Any) -> None:
        if event.err:
            self._callback(error=event.errors)
            return
        if not self._is_connected:  # of another command
            return
        if threading.current_thread() is not self._caller and not self._submitted.wait(4):
            self._unsubscribe()
            return
        value = event.attr_value.value
        if not self._uid or self._uid not in value:  # a value of None would be an error here, as in theirs
            return
        told = value[value.index(self._uid) + 1]
        name = event.attr_value.name
        if name == "_lrcevent":  # in lower case: as all events but the first have it
            news = json.loads(told)
            if "status" in news:
                news["status"] = self._status(TaskStatus(news["status"]))
            self._callback(**news)
        elif name == "longrunningcommandstatus":
            self._callback(status=self._status(TaskStatus[told]))
        elif name == "longrunningcommandprogress":
            self._callback(progress=int(told))
        elif name == "longrunningcommandresult":
            self._callback(result=json.loads(told))

    def _status(self, status: TaskStatus) -> TaskStatus:
        if status in LAST:
            self._unsubscribe()
        return status


def invoke(
    callback: Callable[..., None], proxy: tango.DeviceProxy, command: str, *arguments: Any, newest: int = SPOKEN[1]
) -> Subscriptions:
    """Do what `invoke_lrc` does: subscribe, call, tell the callback what is new, and unsubscribe at the last status.

    :param newest: the newest protocol that this client knows
    :raises CommandError: the command was rejected
    """
    return _Invocation(callback, proxy, newest).invoke(command, arguments)


class Told:
    """A callback that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.subscriptions: Subscriptions | None = None

    def ask(self, proxy: tango.DeviceProxy, command: str, *arguments: Any, newest: int = SPOKEN[1]) -> str:
        """Invoke a command, keep the subscriptions, and return the uid."""
        self.subscriptions = invoke(self, proxy, command, *arguments, newest=newest)
        return self.subscriptions.uid

    def __call__(
        self, status: Any = None, progress: Any = None, result: Any = None, error: Any = None, **more: Any
    ) -> None:
        told = {"status": status, "progress": progress, "result": result, "error": error, **more}
        self.calls.append({key: value for key, value in told.items() if value is not None})

    def of(self, key: str) -> list[Any]:
        return [call[key] for call in list(self.calls) if key in call]

    def last(self, seconds: float = 20) -> dict[str, Any]:
        """Return the call that tells the last status."""

        def found() -> dict[str, Any] | None:
            return next((call for call in list(self.calls) if call.get("status") in LAST), None)

        return wait_until(found, seconds, f"a last status in {self.calls}")
