"""What stays when a device is initialised anew: its bus, its service, and the pusher of its events.

Init, DevRestart and RestartServer delete the Tango device and make another one; procedures,
and the events that happen meanwhile, must not notice.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import tango

from ...config import chosen_state_directory, first_wait_for_qa_ready, state_directory
from ...duties import Duty
from ...event import Bus, topics
from ...logs import about
from ..application import Change, CheckReport, CommandUpdate, Progress, ScriptExecutionService
from ..history import HistoryStore
from ..hosting import DeviceState, ServiceKeeper
from ..link import Link, reap_escaped
from ..messages import Configure, HistoryMigrates
from ..ownership import Owner
from ._attributes import MEMORISED
from ._database import devices_of_server
from ._memory import Memory
from ._properties import READ_AT_INIT, Configuration
from ._pusher import EventPusher
from ._registration import Registered, RegistrationWatch
from ._status import DeviceStatus, Standing
from ._summaries import SummaryViews
from ._tango_logs import TangoLogs
from ._view import Live

_LAST_WORDS = 2.0  # seconds
_ABANDONED_PATIENCE = 0.5  # seconds
_LOST_AFTER = 5.0  # seconds without a device object; a DevRestart takes milliseconds


class DeviceHost:
    """One device's service, and what clients are told of it, for as long as the process lives."""

    def __init__(
        self,
        name: str,
        uri: Callable[[], str],
        link: Link,
        store: HistoryStore,
        owner: Owner,
        logs: TangoLogs,
        history_url: tuple[str, str] = ("", ""),
    ) -> None:
        """Take the device's state, tell the truth about what an earlier server left, and join main.

        :param history_url: the URL of the history where the property says none, and what is wrong with it
        :raises StateHeldError: another server owns that state
        """
        self.name = name
        self.configuration = Configuration(name, environment_problem=history_url[1])
        settings = self.configuration.start()
        self.link = link
        self.duty = Duty(f"look after {name}", about(name))
        self.bus = Bus()
        self.state = DeviceState(
            state_directory(settings),
            _database(),
            name,
            owner,
            former_name=name,
            is_default=not chosen_state_directory(settings),
        )
        self.memory = Memory(name, MEMORISED, aside=self.state.unkept)
        output, output_problem = self.state.output, self.state.problem
        self.history, history_problem = self.state.open_history(
            store, settings.history_url or history_url[0], may_refuse=not link.main.living
        )
        self.service = ScriptExecutionService(
            device=name,
            uri=uri,
            settings=settings,
            bus=self.bus,
            history=self.history,
            output=None if output_problem else output,
            wait_for_qa_ready=first_wait_for_qa_ready()[0],
            selection=self.state.selection,
        )
        self._keeper = ServiceKeeper(self.service, link, self.state)
        self.status = DeviceStatus(self.service, link.main)
        logging_level = functools.partial(logs.level, name)
        self.pusher = EventPusher(self.service, self.status, logging_level)
        self.registration = RegistrationWatch(name)
        self.live = Live(self.service, link, self.status, self.pusher.shown, self.pusher.refresh, logging_level)
        self.summaries = SummaryViews()
        self._problems = [problem for problem in (history_problem, output_problem) if problem]
        self._configured = self.configuration.current
        self.bus.subscribe(self._on_recorded, topics.procedure.lifecycle.recorded)
        self.bus.subscribe(self._on_script_message, topics.script.message)
        self.bus.subscribe(self._on_progress, topics.procedure.lifecycle.progress)
        self.bus.subscribe(self._on_reported, topics.procedure.check.reported)
        self.bus.subscribe(self._on_command_updated, topics.procedure.command.updated)
        self.bus.subscribe(self._on_override_state, topics.operator.override.state)
        self.bus.subscribe(self._on_health, topics.supervisor.health)
        self.bus.subscribe(self._on_lost, topics.supervisor.lost)
        self.service.scripts.on_change = self.pusher.refresh
        self._keeper.join()
        self.pusher.start()

    def configure(self) -> None:
        """Take over what the device's properties say now, and what was found of what they name."""
        found = self._configured = self.configuration.current
        self.service.settings = found.settings
        self.service.set_abort_script(found.abort_script, found.abort_path)
        self._stand()
        self._keeper.limit_output()
        self.service.list_scripts_again()

    def _stand(self) -> None:
        """Tell State and Status what follows from the properties, and from what they name."""
        found, remark = self._configured, self.service.scripts.remark
        remarks = (*self._problems, *found.remarks, *([remark] if remark else []))
        amiss = self.registration.current.problem
        self.status.standing = Standing(
            (amiss, *found.problems) if amiss else found.problems,
            remarks,
            found.nothing_runs,
            found.settings.alarm_on_failure,
            tango.DevState.names[found.settings.state_while_running],
        )

    def look_at_registration(self) -> Registered:
        """Look whether the Tango database names this server for the device; says what it says.  May wait."""
        if self.registration.look():
            current = self.registration.current
            self.service.elsewhere = current.problem if current.registered is Registered.ELSEWHERE else ""
            self._stand()
            self.pusher.refresh()
        return self.registration.current.registered

    @property
    def is_configured(self) -> bool:
        """Whether what the properties say now has been taken over."""
        return self._configured is self.configuration.current

    def tick(self) -> None:
        """Look after the device's health and stores."""
        self._keeper.look_after()
        self.service.tell_left_out()
        self.service.list_scripts_again()
        self._stand()
        self.status.store_problem = " ".join(
            filter(None, (self._keeper.environments_problem, self.state.output.problem))
        )
        self.pusher.refresh()

    def _on_recorded(self, msg_src: int, change: Change) -> None:
        self.pusher.put_change(change)

    def _on_script_message(
        self, msg_src: int, topic: str, data: Mapping[str, Any], time: float, payload: bytes = b""
    ) -> None:
        self.pusher.put_script_message(msg_src, topic, data, time, payload)

    def _on_progress(self, msg_src: int, progress: Progress, time: float) -> None:
        self.pusher.put_progress(msg_src, progress, time)

    def _on_reported(self, report: CheckReport) -> None:
        self.pusher.put_report(report)

    def _on_command_updated(self, update: CommandUpdate) -> None:
        self.pusher.put_update(update)

    def _on_override_state(self, **_: Any) -> None:
        self.pusher.refresh()

    def _on_health(self, **_: Any) -> None:
        self.pusher.refresh()

    def _on_lost(self, **_: Any) -> None:
        self.pusher.refresh()


class Runtime:
    """The hosts of all devices of this process, and the link that they share."""

    def __init__(self, link: Link, logs: TangoLogs, history_url: str = "", problem: str = "") -> None:
        """Make no host yet.

        :param history_url: the URL of the history where the property HistoryUrl says none
        :param problem: what is wrong with it, in a sentence
        """
        self.link = link
        self._history_url = history_url, problem
        self.logs = logs
        self.shut_down = threading.Event()
        self._hosts: dict[str, DeviceHost] = {}

    def host(self, name: str, uri: Callable[[], str]) -> DeviceHost:
        """Return the host of a device, made at its first initialisation; its properties have been read anew.

        What its properties say never raises, nor does a database that is away, hangs, or fails half-way.
        """
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = DeviceHost(
                name, uri, self.link, self.store, self.owner, self.logs, self._history_url
            )
        else:
            host.registration.look_at_once()
            host.history.acknowledge()  # Status has said what is lost: whoever initialises the device knows
            host.configuration.read(READ_AT_INIT)
        self._configure(host)
        return host

    def _configure(self, host: DeviceHost) -> None:
        host.configure()
        self.configure_workers()
        self.link.wait_for_main()  # what scripts are told counts as soon as Init has returned

    @functools.cached_property
    def owner(self) -> Owner:
        """Main, which owns the state of every device of this process; it has said who it is by now."""
        return Owner.of_main(self.link.main.boot, self.link.main.pid or os.getppid())

    @functools.cached_property
    def store(self) -> HistoryStore:
        """The databases that are open."""
        return HistoryStore(self.owner, lambda: self.link.send(HistoryMigrates()))

    @property
    def devices(self) -> list[str]:
        """The names of all devices of this process."""
        return list(self._hosts)

    def lost_device(self) -> str:
        """Return a device that has lost its object, though it is in the database; "" if there is none.  May wait."""
        alone = [host.name for host in list(self._hosts.values()) if host.pusher.alone_for > _LOST_AFTER]
        if not alone or not _is_in_database() or _is_in_between(alone):
            return ""
        try:
            listed = devices_of_server()
        except tango.DevFailed:
            return ""
        return next((name for name in alone if name.lower() in listed), "")

    def look_at_registration(self) -> str:
        """Have each device notice whom the Tango database names for it.  May wait.

        :return: one for which that is nobody; "" if there is none
        """
        hosts = list(self._hosts.values())
        if not _is_in_database() or _is_in_between([host.name for host in hosts]):
            return ""
        found = {host.name: host.look_at_registration() for host in hosts if not host.pusher.alone_for}
        return next((name for name, registered in found.items() if registered is Registered.NOWHERE), "")

    def configure_workers(self) -> None:
        """Tell main how many spares and which modules the devices of this server want together."""
        settings = [host.service.settings for host in self._hosts.values()]
        preload = list(dict.fromkeys(module for each in settings for module in each.preload))
        self.link.send(Configure(max((each.spare_workers for each in settings), default=0), preload))

    def flush(self) -> None:
        """Wait a moment until what happened is in the history, and the events that are due have been pushed."""
        for host in self._hosts.values():
            host.history.wait(2.0)
            host.pusher.flush(1.0)

    def close(self) -> None:
        """Wait a moment until everything is in the history, and leave the devices' state to whoever comes next."""
        for host in self._hosts.values():
            host.service.tell_left_out(at_once=True)
            host.history.close()
        for host in self._hosts.values():
            host.history.wait(_LAST_WORDS)
            host.memory.wait(_LAST_WORDS)
            host.service.close_selection(_LAST_WORDS)
            host.state.let_go()

    def reap_abandoned(self) -> None:
        """Kill what the scripts have started and main, which is gone, cannot kill any more."""
        for host in list(self._hosts.values()):
            checks = {-number: run_id for number, run_id in enumerate(host.service.checking, 1)}  # no id is negative
            reap_escaped({**host.service.unfinished, **checks}, patience=_ABANDONED_PATIENCE)

    def tick(self) -> None:
        """Look after the health of every device, and let main forget what is recorded."""
        self.link.tell_recorded()
        self.link.look_after_main()
        self.store.look_after()
        for host in list(self._hosts.values()):
            if not host.duty.attempt(functools.partial(self._look_after, host)):
                host.pusher.refresh()  # which says so

    def _look_after(self, host: DeviceHost) -> None:
        host.configuration.look_again()
        if not host.is_configured:
            self._configure(host)
        host.tick()


def _database() -> str:
    """Return ``host:port`` of the Tango database of this server; ``nodb`` if it has none."""
    if not _is_in_database():
        return "nodb"
    database = tango.Util.instance().get_database()
    return f"{database.get_db_host()}:{database.get_db_port()}"


def _is_in_database() -> bool:
    """Say whether this server is one of a Tango database."""
    return bool(tango.Util._UseDb and not tango.Util._FileDb)


def _is_in_between(devices: list[str]) -> bool:
    """Say whether the server, or one of its devices, is just starting or ending."""
    util = tango.Util.instance()
    return bool(util.is_svr_starting() or util.is_svr_shutting_down() or any(map(util.is_device_restarting, devices)))
