"""A device as a client calls it: commands with JSON, errors translated, and never from a process that was forked."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import tango

from . import _failures as failures
from . import _gate
from ._absent import why_absent
from ._database import look
from ._errors import ClosedError, ForkedError, NoDevice, OetError, UnreachableError

T = TypeVar("T")

# How many events Tango keeps for this process, if the user has set nothing: see `fix_queue_length`.
_QUEUE_LENGTH: Final = ("TANGO_EVENT_BUFFER_HWM", "1000")
# What may be asked twice, should the first answer be lost: reads, and Stop, of which a second one does no harm.
_REPEATABLE: Final = frozenset(
    [
        "CheckReport",
        "Environments",
        "History",
        "LifecycleEvents",
        "Output",
        "Requests",
        "Schemas",
        "Stop",
        "Summarise",
    ]
)
_PAUSES: Final = (0.0, 0.05, 0.1, 0.2)  # seconds between attempts; the last one for all others


def fix_queue_length() -> None:
    """Have Tango keep the same number of events for each server that this process listens to.

    Otherwise it takes what the newest server says, and may go deaf for the others.  Without effect where this process
    has used Tango before; the environment variable that is set goes before.
    """
    os.environ.setdefault(*_QUEUE_LENGTH)


def make_proxy(device: str, timeout: float) -> tango.DeviceProxy:
    """Return a synchronous proxy, whatever the green mode of the process; raises DevFailed.

    It does not send again what it has sent already: a Run would be two.
    """
    proxy = tango.DeviceProxy(device, green_mode=tango.GreenMode.Synchronous)
    proxy.set_timeout_millis(math.ceil(timeout * 1000))
    proxy.set_transparency_reconnection(False)
    return proxy


class Connection:
    """Calls commands of one device; any thread may.

    :param device: its Tango name
    :param timeout: seconds within which it has to answer
    """

    def __init__(self, device: str, timeout: float) -> None:
        fix_queue_length()
        self.device = device
        self.timeout = timeout
        self._pid = this_process()
        self._proxy: tango.DeviceProxy | None = None
        self._has_answered = False
        self.is_closed = False

    def call(self, command: str, argument: Any = None, *, patient: bool = True) -> Any:
        """Call a command, and return what its JSON says.

        :param patient: whether what may be asked twice is asked again, for `timeout` seconds, while a device that has
            answered before cannot be reached
        :raises RefusedError: the device refuses it; a class named after the contract's reason
        :raises UnreachableError: the device does not answer
        :raises NoDevice: it is a device of another class
        :raises ForkedError: this process is a fork of the one that made the client
        :raises ClosedError: the client was closed
        """
        arguments = (command,) if argument is None else (command, argument)
        answer = self._on_proxy(functools.partial(_command_inout, arguments), command, patient)
        return json.loads(answer) if answer else None

    def read(self, *attributes: str, patient: bool = True) -> list[Any]:
        """Return values of attributes, of one moment; None for one that is INVALID.  Raises as `call`."""
        return [value for value, _ in self.read_timed(*attributes, patient=patient)]

    def read_timed(self, *attributes: str, patient: bool = True) -> list[tuple[Any, float]]:
        """Return values, as `read`, and the time of each in Unix seconds."""
        read = self._on_proxy(functools.partial(_read_attributes, attributes), None, patient)
        for item in read:
            if item.has_failed and item.get_err_stack()[0].reason == "API_AttrNotFound":
                raise self._error_of(tango.DevFailed(*item.get_err_stack()))
        return [(None if item.is_empty or item.has_failed else item.value, item.time.totime()) for item in read]

    def check(self) -> None:
        """Make sure that it may be used: raises ForkedError or ClosedError."""
        check_process(self._pid)
        if self.is_closed:
            raise ClosedError("this client was closed")

    def forget(self) -> None:
        """Connect anew for the next call: the process of the device server has gone."""
        self._proxy = None

    def close(self) -> None:
        """Call nothing any more."""
        self.is_closed, self._proxy = True, None

    def _on_proxy(self, use: Callable[[tango.DeviceProxy], T], command: str | None, patient: bool) -> T:
        is_repeatable = command is None or command in _REPEATABLE
        ends = time.monotonic() + (self.timeout if patient and is_repeatable and self._has_answered else 0.0)
        first: OetError | None = None
        for pause in itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1])):
            self.check()
            known = self._proxy
            try:
                return self._once(use, known)
            except tango.DevFailed as failure:
                error = self._error_of(failure)
                if not isinstance(error, UnreachableError):
                    raise error from None
                first = first or error
                has_lost = failures.has_lost_connection(failure)
                if has_lost:  # not where it is slow: to connect anew takes longer than `timeout`
                    self.forget()
                is_safe = is_repeatable or failures.was_not_sent(failure)
                if not is_safe:
                    raise _unclear(error, command) from None
                # At once: the server has been started anew since the last call.
                if not has_lost or (known is None and time.monotonic() + pause >= ends):
                    raise self._absence(failure) or first from None
            time.sleep(pause)
        raise AssertionError("the pauses have no end")

    def _error_of(self, failure: tango.DevFailed) -> OetError:
        if failures.is_another_class(failure):
            with contextlib.suppress(tango.DevFailed):
                kind = self._once(_class_of, self._proxy)
                if kind != "OetDevice":
                    return NoDevice(f"{self.device} is a {kind}, not an OetDevice")
        return failures.error_of(failure, self.device, self.timeout)

    def _absence(self, failure: tango.DevFailed) -> UnreachableError | None:
        """Ask the database, which no call that succeeds does, why there is no connection."""
        if not failures.takes_no_connection(failure):
            return None
        why = why_absent(self.device, self.timeout)
        return UnreachableError(why) if why else None

    def _once(self, use: Callable[[tango.DeviceProxy], T], known: tango.DeviceProxy | None) -> T:
        with _gate.call():
            proxy = known
            if proxy is None:
                look(self.device, self.timeout)
                proxy = self._proxy = make_proxy(self.device, self.timeout)
            answer = use(proxy)
            self._has_answered = True
            return answer


# PyTango calls the span of what is asked for after the function that asks: these have names for it.


def _command_inout(arguments: tuple[Any, ...], proxy: tango.DeviceProxy) -> Any:
    return proxy.command_inout(*arguments)


def _read_attributes(names: tuple[str, ...], proxy: tango.DeviceProxy) -> Any:
    return proxy.read_attributes(names)


def _class_of(proxy: tango.DeviceProxy) -> str:
    return str(proxy.info().dev_class)


def _unclear(error: OetError, command: str | None) -> OetError:
    return UnreachableError(
        f"{error}; whether {command} has been done is not known: `requests` and `procedures` of the client tell"
    )


def this_process() -> int:
    """Return the id of this process."""
    return os.getpid()


def check_process(pid: int) -> None:
    """Make sure that this is the process that made the client: Tango's threads do not survive a fork.

    :raises ForkedError: it is not
    """
    if this_process() != pid:
        raise ForkedError(
            f"this client belongs to process {pid}; process {os.getpid()} is a fork of it, in which Tango does not "
            "work: make the client in a process that was started anew (multiprocessing's spawn)"
        )
