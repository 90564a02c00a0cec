"""Joins a device's service with main and with what an earlier server has left, and looks after its stores."""

from __future__ import annotations

import logging
import socket
import time as clock

from ...errors import OetError
from ...event import topics
from ...logs import about
from ..application import Change, ScriptExecutionService
from ..link import Link, reap_escaped
from ._device_state import DeviceState
from ._output_trimmer import OutputTrimmer

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
        self._trimmer: OutputTrimmer | None = None
        if service.output is not None:
            self._trimmer = OutputTrimmer(service.output, lambda: service.settings.max_output)
            service.bus.subscribe(self._on_recorded, topics.procedure.lifecycle.recorded)
        self._next_probe = 0.0
        self._next_collection = 0.0
        self._next_cleaning = 0.0
        self.environments_problem = ""

    def join(self) -> None:
        """Tell the truth about what an earlier server left, and join main."""
        service, link = self._service, self._link
        living = [item for item in link.main.living if item["device"] == service.device]
        alive = {int(item["process_uid"]) for item in living}
        if self._trimmer is not None:
            self._trimmer.start(alive)
        service.restore(living, link.untold(service.device))
        left = {uid: run_id for uid, run_id in service.unfinished.items() if uid not in alive}
        link.connect(service.device, service.bus, last_number=service.history.last_number(link.main.boot))
        self._settle(left)

    def close(self) -> None:
        """End the thread that looks after the output of scripts."""
        if self._trimmer is not None:
            self._trimmer.close()

    def _settle(self, left: dict[int, str]) -> None:
        """End the procedures `left` by an earlier server, {id: run id}; their processes are killed if they are here."""
        service = self._service
        alive = [uid for uid in service.unfinished if uid not in left]
        previous = service.history.previous or (self._state.previous if self._state is not None else None)
        if previous is None or previous.host == socket.gethostname():
            service.settle(alive, reap_escaped(left))
        else:
            service.settle(alive, {}, previous.host)

    def _recall(self) -> None:
        """Take up what a history that has come late can tell."""
        try:
            self._settle(self._service.recall())
        except OetError as error:
            _log.error(
                "what happened before this server started cannot be told: %s", error, extra=about(self._service.device)
            )

    def _on_recorded(self, msg_src: int, change: Change) -> None:
        assert self._trimmer is not None
        self._trimmer.note(msg_src, change.event.state)

    def look_after(self) -> None:
        """Look after history and environments; forget, now and then, what is older than HistoryDays.  Once a second."""
        service = self._service
        if service.history.has_arrived():
            self._recall()
        self._collect_environments()
        now = clock.time()
        if now >= self._next_probe:
            self._next_probe = now + _PROBE_PERIOD
            service.history.probe()
        if now >= self._next_cleaning:
            self._next_cleaning = now + _CLEANING_PERIOD
            days = service.settings.history_days
            if days > 0:
                service.forget_before(now - days * 86400)

    def _collect_environments(self) -> None:
        if clock.time() >= self._next_collection:
            self._next_collection = clock.time() + _COLLECTION_PERIOD
            try:
                self.environments_problem = self._service.collect_environments()
            except OSError as error:
                self.environments_problem = f"The environments cannot be looked after: {error}."
