"""Joins a device's service with main and with what an earlier server has left, and looks after its stores."""

from __future__ import annotations

import logging
import socket
import time as clock

from ...duties import Duty
from ...errors import OetError
from ...logs import about
from ...retention import Retention
from ..application import ScriptExecutionService
from ..link import Link, reap_escaped
from ..messages import LimitOutput
from ._device_state import DeviceState

_log = logging.getLogger(__name__)

_PROBE_PERIOD = 2.0  # seconds
_COLLECTION_PERIOD = 60.0  # seconds
_CLEANING_PERIOD = 6 * 3600.0  # seconds


class ServiceKeeper:
    """Keeps one device's service in step with main, and its stores in order.

    `environments_problem` is what is wrong with the store of environments, in a sentence; empty when all is well.
    """

    def __init__(self, service: ScriptExecutionService, link: Link, state: DeviceState | None = None) -> None:
        """Do nothing yet.

        :param state: what the device keeps on the disk; None: nothing is kept
        """
        self._service = service
        self._link = link
        self._state = state
        self._retention = Retention()
        self._next_probe = 0.0
        self._next_collection = 0.0
        self._next_cleaning = 0.0
        self._reached: float | None = None
        self.environments_problem = ""
        tags = about(service.device)
        self._duties = {
            self._look_after_state: Duty("look after the state folder", tags),
            self._look_after_history: Duty("look after the history", tags),
            self._forget: Duty("forget what is older than HistoryDays", tags),
            self._look_after_environments: Duty("look after the environments", tags),
        }

    def join(self) -> None:
        """Tell the truth about what an earlier server left, and join main."""
        service, link = self._service, self._link
        living = [item for item in link.main.living if item["device"] == service.device]
        alive = {int(item["process_uid"]) for item in living}
        service.restore(living, link.untold(service.device))
        left = {uid: run_id for uid, run_id in service.unfinished.items() if uid not in alive}
        link.connect(service.device, service.bus, last_number=service.history.last_number(link.main.boot))
        service.tell_context()
        self._settle(left)

    def limit_output(self) -> None:
        """Have main keep as much of what living procedures print as the settings say now."""
        if self._service.output is not None:
            self._link.send(LimitOutput(self._service.device, self._service.settings.max_output))

    def _settle(self, left: dict[int, str]) -> None:
        """End the procedures `left` by an earlier server, {id: run id}; their processes are killed if they are here."""
        service = self._service
        previous = service.history.previous or (self._state.previous if self._state is not None else None)
        if previous is None or previous.host == socket.gethostname():
            service.settle(left, reap_escaped(left))  # which takes a moment: others are prepared meanwhile
        else:
            service.settle(left, {}, previous.host)

    def _recall(self) -> None:
        """Take up what a history that has come late can tell."""
        try:
            self._settle(self._service.recall())
        except OetError as error:
            _log.error(
                "what happened before this server started cannot be told: %s", error, extra=about(self._service.device)
            )

    def look_after(self) -> None:
        """Look after history and environments; forget, now and then, what is older than HistoryDays.  Once a second."""
        for step, duty in self._duties.items():
            duty.attempt(step)

    def _look_after_state(self) -> None:
        if self._state is not None:
            self._state.look_after()

    def _look_after_history(self) -> None:
        history, now = self._service.history, clock.monotonic()
        if history.has_arrived():
            self._recall()
        if now >= self._next_probe:
            self._next_probe = now + _PROBE_PERIOD
            history.probe()

    def _look_after_environments(self) -> None:
        if clock.monotonic() >= self._next_collection:
            self._next_collection = clock.monotonic() + _COLLECTION_PERIOD
            self._collect_environments(self._reached)

    def _forget(self) -> None:
        now, reached = clock.monotonic(), self._retention.look()
        self._reached = reached
        if reached is not None and now >= self._next_cleaning:
            self._next_cleaning = now + _CLEANING_PERIOD
            days = self._service.settings.history_days
            if days > 0:
                self._service.forget_before(reached - days * 86400)

    def _collect_environments(self, reached: float | None) -> None:
        try:
            self.environments_problem = self._service.collect_environments(reached)
        except OSError as error:
            self.environments_problem = f"The environments cannot be looked after: {error}."
