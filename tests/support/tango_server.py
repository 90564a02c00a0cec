"""A Tango database, the device server as a user starts it, and its events as a client gets them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import tango

from ska_oet_device.client._publisher import forget_former

from .connection import until_connected
from .ports import free_port
from .server_logs import note_log
from .waiting import wait_until

SCRIPTS = Path(__file__).parents[1] / "scripts"
_PATIENCE = 15_000  # ms: Tango's 3 s are no subject of most tests, and a busy machine holds up servers and clients
TERMINAL = ("COMPLETE", "STOPPED", "FAILED", "UNKNOWN")
FIRST, SECOND = "mid-oet/subarray/01", "mid-oet/subarray/02"

# Attributes that push events; what the recorder subscribes to unless told otherwise.
PUSHED = (
    "State",
    "Status",
    "procedureIds",
    "procedureScripts",
    "procedureStates",
    "procedures",
    "activeProcedureId",
    "activeProcedureState",
    "activeScript",
    "activeFunction",
    "activeProgress",
    "activeActivity",
    "lifecycleEvent",
    "lifecycleSequence",
    "scriptEvent",
    "stacktrace",
    "waitForQaReady",
    "checkReport",
    "availableScripts",
    "selectedScript",
    "scriptArguments",
    "selectedProcedure",
    "selectedProcedureState",
    "selectedProcedureDetails",
    "procedureTable",
    "healthState",
    "versionId",
    "buildState",
    "adminMode",
    "healthInfo",
    "loggingLevel",
    "lrcProtocolVersions",
    "_lrcEvent",
    "longRunningCommandResult",
    "longRunningCommandProgress",
    "longRunningCommandStatus",
    "longRunningCommandInProgress",
    "longRunningCommandsInQueue",
    "longRunningCommandIDsInQueue",
    "lrcQueue",
    "lrcExecuting",
    "lrcFinished",
)

# Whose values are pushed once more some time after a change; the recorder notes them once.  Rows come together.
_ROWS = ("procedureIds", "procedureScripts", "procedureStates")
REPEATED = tuple(name for name in PUSHED if name not in ("lifecycleEvent", "scriptEvent", "lrcFinished", *_ROWS))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or not hasattr(one, "__len__"):
        return bool(one == other)
    return other is not None and list(one) == list(other)


def program(name: str) -> str:
    """Return the path of a program that was installed with this interpreter."""
    return str(Path(sys.executable).with_name(name))


def is_alive(pid: int) -> bool:
    """Say whether a process is there; a zombie is gone."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Database:
    """PyDatabaseds in a process of its own, on a free port, in memory unless it is to last."""

    def __init__(self, folder: Path, *, lasting: bool = False, command: list[str] | None = None) -> None:
        self._log = folder / "database.log"
        self._command = command or [program("PyDatabaseds")]
        self._name = str(folder / "tango.db") if lasting else ":memory:"
        # A port that was chosen by the system cannot be taken again while clients hold on to it.
        self._process = self._start(str(free_port()) if lasting else "0")
        try:
            port = wait_until(self._port, 60, "the database says its port")
            self.host = f"127.0.0.1:{port}"
            self.tango = wait_until(lambda: self._connect(port), 60, "the database answers")
        except BaseException:
            self.stop()
            raise

    def _start(self, port: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTANGO_DATABASE_NAME": self._name}
        environment.pop("TANGO_HOST", None)
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [*self._command, "--host", "127.0.0.1", "--port", port, "--print-host-port", "2"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill_and_start_again(self) -> None:
        """SIGKILL, and another one on the same port."""
        self.stop()
        port = self.host.rpartition(":")[2]
        self._process = self._start(port)
        wait_until(lambda: self._connect(int(port)), 60, "the database answers again")

    def _port(self) -> int | None:
        found = re.search(r"port=(\d+)", self._log.read_text())
        return int(found.group(1)) if found else None

    def _connect(self, port: int) -> tango.Database | None:
        try:
            database = tango.Database("127.0.0.1", port)
            database.get_info()
        except tango.DevFailed:
            return None
        return database

    def add_server(self, instance: str, devices: dict[str, dict[str, Any]]) -> None:
        """Register a server with its devices, {device: {property: value}}.

        A device stays with its server: a client of this process that listens to it would go on listening to the first.
        """
        for name, properties in devices.items():
            assert self._server_of(name) in (None, f"OetDevice/{instance}"), f"{name} has a server already"
            info = tango.DbDevInfo()
            info.name, info._class, info.server = name, "OetDevice", f"OetDevice/{instance}"
            self.tango.add_device(info)
            self.put_properties(name, properties)

    def _server_of(self, device: str) -> str | None:
        try:
            return str(self.tango.get_device_info(device).ds_full_name)
        except tango.DevFailed:
            return None

    def put_properties(self, device: str, properties: dict[str, Any]) -> None:
        texts = {
            key: [str(item) for item in value] if isinstance(value, list) else [str(value)]
            for key, value in properties.items()
        }
        if texts:
            self.tango.put_device_property(device, texts)

    def kept(self, device: str, attribute: str) -> list[str]:
        """Return what is kept of a memorised attribute; nothing as well while the database does not answer."""
        try:
            found = self.tango.get_device_attribute_property(device, attribute)
        except tango.DevFailed:  # a client that was refused connects again after a second
            return []
        return list(found[attribute].get("__value", []))

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Server:
    """The server process, as started from a command line, and the tree of processes below it."""

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        tango_host: str | None,
        command: list[str] | None = None,
        extra_environment: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.mark = f"ska-oet-test-{uuid.uuid4()}"
        self.log = folder / "server.log"
        note_log(self.log)
        self.state_folder = folder / "state"
        self.state_folder.mkdir(exist_ok=True)
        environment = {**os.environ, "STATE_DIRECTORY": str(self.state_folder), "SKA_OET_TEST_MARK": self.mark}
        environment.pop("TANGO_HOST", None)
        if tango_host:
            environment["TANGO_HOST"] = tango_host
        environment.update(extra_environment or {})
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*(command or [program("OetDevice")]), *arguments],
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )
        self.process = psutil.Process(self._popen.pid)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def tree(self) -> list[psutil.Process]:
        """Return main and every process below it."""
        try:
            return [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _titled(self, text: str) -> list[psutil.Process]:
        found = []
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                if text in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def device_server(self) -> psutil.Process:
        return wait_until(self.device_servers, 10, "a device server")[0]

    def device_servers(self) -> list[psutil.Process]:
        """Return the device server as it is now, if there is one."""
        return self._titled("ska_oet_device.procedure.ui")

    def template(self) -> psutil.Process:
        return wait_until(lambda: self._titled("oet-template"), 10, "a template process")[0]

    def recorder(self) -> psutil.Process:
        return wait_until(lambda: self._titled("oet-output"), 10, "a recorder")[0]

    def spares(self) -> list[psutil.Process]:
        return self._titled("oet-spare")

    def workers(self) -> list[psutil.Process]:
        return self._titled("oet-script ")

    def wait(self, seconds: float = 20) -> int:
        """Wait for the end and return the exit status."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server has not ended within {seconds:g} s\n{self.log_text()}") from None

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def leftovers(self, before: list[psutil.Process]) -> list[psutil.Process]:
        """Return what is alive of the processes of `before`, or carries this server's mark."""
        mark = self.mark.encode()
        left = [process for process in before if process.is_running() and is_alive(process.pid)]
        for process in psutil.process_iter():
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{process.pid}/environ").read_bytes() and is_alive(process.pid):
                    left.append(process)
        return left

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, signum: int = signal.SIGTERM, seconds: float = 20) -> int:
        """End the server as a user would, and make sure that nothing of it is left; returns the exit status."""
        before = self.tree()
        if not self.has_ended:
            self._popen.send_signal(signum)
        status = self.wait(seconds)
        wait_until(lambda: not self.leftovers(before), 20, "no process of the server is left")
        return status

    def clean_up(self) -> None:
        """Make sure that it is gone, whatever a test has done to it."""
        before = self.tree()
        if not self.has_ended:
            self._popen.kill()
            self._popen.wait()
        for process in self.leftovers(before):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@dataclass(frozen=True)
class Event:
    """One event as the client got it; `time` is the event's own, in Unix seconds."""

    value: Any
    time: float
    quality: Any
    received: float
    error: str = ""


def subscription_terms(proxy: tango.DeviceProxy, attribute: str) -> str:
    """Return what the server tells a client's library that subscribes: versions, its queue's length, endpoints."""
    try:
        admin = tango.DeviceProxy(proxy.adm_name())
        return str(admin.ZmqEventSubscriptionChange([proxy.dev_name(), attribute, "info", "change", "6"]))
    except tango.DevFailed as failure:
        return f"{failure.args[0].reason}: {failure.args[0].desc}"


@dataclass
class EventRecorder:
    """Records the events of one device, in the order of their arrival, each attribute in a list.

    `latest` has the newest value of each attribute, `newest` its newest event, also a repetition; `clear` keeps them.
    """

    proxy: tango.DeviceProxy
    attributes: tuple[str, ...] = PUSHED
    event_type: Any = tango.EventType.CHANGE_EVENT
    events: dict[str, list[Event]] = field(default_factory=dict)
    arrivals: list[tuple[str, Event]] = field(default_factory=list)
    _lifecycle: list[dict[str, Any]] = field(default_factory=list)
    latest: dict[str, Any] = field(default_factory=dict)
    newest: dict[str, Event] = field(default_factory=dict)
    _ids: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last_cleared: int = 0
    _is_heard: bool = False

    def __post_init__(self) -> None:
        for name in self.attributes:
            self._subscribe(name)
        until_connected(self.proxy)
        if "lifecycleSequence" in self.attributes:
            self._last_cleared = self.events["lifecycleSequence"][0].value

    def _subscribe(self, name: str) -> None:
        events = self.events.setdefault(name, [])

        def note(data: Any) -> None:
            if data.err:
                event = Event(None, 0.0, None, time.time(), data.errors[0].reason)
            else:
                value = data.attr_value
                event = Event(value.value, value.time.totime(), value.quality, time.time())
            parsed = json.loads(event.value) if name == "lifecycleEvent" and event.value else {}
            with self._lock:
                before, self.newest[name] = self.newest.get(name), event
                is_known = before and not before.error and not event.error and _is_same(before.value, event.value)
                if is_known and name in REPEATED:
                    return  # the contract: what stands is pushed once more, also after `clear`
                if parsed:
                    self._is_heard = self._is_heard or bool(events)  # the first is what stood there
                    if parsed not in self._lifecycle:
                        self._lifecycle.append(parsed)
                events.append(event)
                self.arrivals.append((name, event))
                if not event.error:
                    self.latest[name] = event.value

        refusals: list[tango.DevFailed] = []

        def subscribed() -> list[int]:
            try:
                if not self._ids:
                    forget_former(self.proxy, name)
                return [self.proxy.subscribe_event(name, self.event_type, note)]
            except tango.DevFailed as failure:
                # A server that is starting answers for its devices a moment before it takes subscriptions.
                refusals[:] = [failure]
                return []

        try:
            self._ids += wait_until(subscribed, 40, f"the server takes a subscription to {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the server says {subscription_terms(self.proxy, name)}") from refusals[0]
        wait_until(lambda: events, 10, f"the first event of {name}")

    def close(self) -> None:
        for subscription in self._ids:
            with contextlib.suppress(tango.DevFailed):
                self.proxy.unsubscribe_event(subscription)
        self._ids.clear()

    def clear(self) -> None:
        """Forget what was recorded; what is asked for later happened after this."""
        with self._lock:
            sequences = [event.value for event in self.events.get("lifecycleSequence", ()) if not event.error]
            self._last_cleared = max([self._last_cleared, *sequences])
            for events in self.events.values():
                events.clear()
            self.arrivals.clear()
            self._lifecycle.clear()

    # -- typed access

    def values(self, name: str) -> list[Any]:
        with self._lock:
            return [event.value for event in self.events[name] if not event.error]

    def errors(self) -> list[tuple[str, Event]]:
        with self._lock:
            return [(name, event) for name, event in self.arrivals if event.error]

    def wait_for(self, name: str, is_wanted: Callable[[Any], bool], seconds: float = 30) -> Event:
        """Return the first recorded event of `name` whose value is wanted."""

        def found() -> Event | None:
            with self._lock:
                events = list(self.events[name])
            return next((event for event in events if not event.error and is_wanted(event.value)), None)

        try:
            return wait_until(found, seconds, f"a wanted event of {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; events: {self._what_arrived_of(name)}") from None

    def lifecycle(self, uid: int | None = None) -> list[dict[str, Any]]:
        """Return the lifecycle events since `clear`, of one procedure or of all, in the order of arrival."""
        self._ask_for_what_came_too_soon()
        with self._lock:
            events = list(self._lifecycle)
        return [
            event for event in events if event["sequence"] > self._last_cleared and uid in (None, event["process_uid"])
        ]

    def _ask_for_what_came_too_soon(self) -> None:
        """Do as the contract says where a number is known whose event is not: only before the first event has arrived.

        Tango's connection may have been made after it was pushed.  Of a later event that is missing a test is to know.
        """
        with self._lock:
            newest = self.latest.get("lifecycleSequence", 0)
            is_behind = not self._is_heard and newest > self._last_cleared
        if is_behind:
            missed = json.loads(self.proxy.LifecycleEvents(self._last_cleared))
            with self._lock:
                if not self._is_heard:
                    self._lifecycle[:] = missed

    def states(self, uid: int) -> list[str]:
        return [event["state"] for event in self.lifecycle(uid)]

    def wait_for_state(self, uid: int, state: str, seconds: float = 30) -> dict[str, Any]:
        """Return the lifecycle event by which procedure `uid` entered `state` for the first time."""

        def entered() -> dict[str, Any] | None:
            return next((event for event in self.lifecycle(uid) if event["state"] == state), None)

        try:
            return wait_until(entered, seconds, f"procedure {uid} is {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it was {self.lifecycle(uid)}; {self._what_arrives()}") from None

    def _what_arrived_of(self, name: str) -> str:
        """Tell the newest events of one attribute, each with its time and how long after it it came."""
        with self._lock:
            events = self.events[name][-20:]
        return ", ".join(
            f"{event.error or repr(event.value)} at {event.time:.3f} +{event.received - event.time:.3f}"
            for event in events
        )

    def _what_arrives(self) -> str:
        """Tell what a failure needs to be understood: what came, when the last of it came, and what the device says."""
        with self._lock:
            counts = {name: len(events) for name, events in self.events.items()}
            last = max((event.received for _, event in self.arrivals), default=0.0)
        try:
            says = f"{self.proxy.lifecycleSequence}, {self.proxy.status()}"
        except tango.DevFailed as failure:
            says = failure.args[0].desc
        return f"events {counts}, the last {time.time() - last:.1f} s ago; the device says {says}"

    def wait_for_end(self, uid: int, seconds: float = 30) -> dict[str, Any]:
        """Return the last lifecycle event of procedure `uid`."""

        def ended() -> dict[str, Any] | None:
            return next((event for event in self.lifecycle(uid) if event["state"] in TERMINAL), None)

        try:
            return wait_until(ended, seconds, f"procedure {uid} has ended")
        except AssertionError as error:
            raise AssertionError(f"{error}; it was {self.lifecycle(uid)}") from None


class Oet:
    """A client of one device: commands with Python values, and a recorder of the device's events."""

    def __init__(self, database: Database | None, name: str, server: Server, url: str | None = None) -> None:
        self.database = database
        self.name = name
        self.server = server
        self.url = url or f"tango://{self._known_database.host}/{name}"
        self.proxy = self._connect()
        self.recorder = EventRecorder(self.proxy)

    @property
    def _known_database(self) -> Database:
        assert self.database is not None, "the server has none"
        return self.database

    def _connect(self) -> tango.DeviceProxy:
        def connected() -> tango.DeviceProxy | None:
            if self.server.has_ended:
                raise RuntimeError(f"the server has ended\n{self.server.log_text()}")
            try:
                proxy = tango.DeviceProxy(self.url)
                proxy.set_timeout_millis(_PATIENCE)
                proxy.ping()
                return proxy if proxy.state() != tango.DevState.INIT else None
            except tango.DevFailed:
                return None

        return wait_until(connected, 60, f"device {self.url} answers")

    def reconnect(self) -> None:
        """Make a new proxy and a new recorder, for a server that was started anew."""
        self.recorder.close()
        self.proxy = self._connect()
        self.recorder = EventRecorder(self.proxy)

    # -- commands

    def prepare(self, script: str, *args: Any, **kwargs: Any) -> int:
        """Prepare a script of tests/scripts with arguments for init; returns its id."""
        return int(self.prepared(script, *args, **kwargs)["id"])

    def prepared(self, script: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        request = {"script": filesystem(script), "init_args": {"args": args, "kwargs": kwargs}}
        return json.loads(self.proxy.Prepare(json.dumps(request)))

    def ready(self, script: str, *args: Any, **kwargs: Any) -> int:
        """Prepare a script and wait until it is READY."""
        uid = self.prepare(script, *args, **kwargs)
        self.recorder.wait_for_state(uid, "READY")
        return uid

    def start(self, uid: int, *args: Any, fn: str = "main", force: bool = False, **kwargs: Any) -> dict[str, Any]:
        request = {
            "process_uid": uid,
            "fn_name": fn,
            "run_args": {"args": args, "kwargs": kwargs},
            "force_start": force,
        }
        return json.loads(self.proxy.Start(json.dumps(request)))

    def call(self, uid: int, *args: Any, fn: str, **kwargs: Any) -> None:
        """Call a function other than main, and wait until the procedure is READY again."""
        before = self.recorder.states(uid).count("READY")
        self.start(uid, *args, fn=fn, **kwargs)
        wait_until(
            lambda: self.recorder.states(uid).count("READY") > before,
            what=f"procedure {uid} returns from {fn} ({self.recorder.states(uid)})",
        )

    def run(self, script: str, *args: Any, fn: str = "main", **kwargs: Any) -> int:
        """Run a script of tests/scripts, with arguments for the function; returns its id."""
        request = {"script": filesystem(script), "fn_name": fn, "run_args": {"args": args, "kwargs": kwargs}}
        return int(json.loads(self.proxy.Run(json.dumps(request)))["id"])

    def running(self, script: str, *args: Any, fn: str = "main", **kwargs: Any) -> int:
        """Run a script and wait until it is RUNNING."""
        uid = self.run(script, *args, fn=fn, **kwargs)
        self.recorder.wait_for_state(uid, "RUNNING")
        return uid

    def armed(self, script: str, *args: Any, **kwargs: Any) -> int:
        """Run a script and wait until it says that it cannot be stopped by a mere SIGTERM any more."""
        uid = self.run(script, *args, **kwargs)

        def is_its(text: str) -> bool:
            message = json.loads(text)
            return message.get("process_uid") == uid and message["topic"] == "armed"

        self.recorder.wait_for("scriptEvent", is_its)
        return uid

    def stop(self, uid: int, **more: Any) -> list[dict[str, Any]]:
        return json.loads(self.proxy.Stop(json.dumps({"process_uid": uid, **more})))

    def summary(self, uid: int) -> dict[str, Any]:
        (summary,) = json.loads(self.proxy.Summarise([uid]))
        return summary

    def summaries(self) -> list[dict[str, Any]]:
        return json.loads(self.proxy.Summarise([]))

    def state(self, uid: int) -> str:
        return self.summary(uid)["state"]

    def pid(self, uid: int) -> int:
        """Return the worker's process id."""
        return self.summary(uid)["os_pid"]

    # -- the device as a whole

    @contextlib.contextmanager
    def properties(self, **properties: Any) -> Iterator[None]:
        """Give the device other properties for a while: each time by Init, which leaves procedures alone."""
        names = list(properties)
        database = self._known_database
        before = {key: list(value) for key, value in database.tango.get_device_property(self.name, names).items()}
        database.put_properties(self.name, properties)
        try:
            self.init()
            yield
        finally:
            for key, value in before.items():
                if value:
                    database.tango.put_device_property(self.name, {key: value})
                else:
                    database.tango.delete_device_property(self.name, key)
            self.init()

    def init(self) -> None:
        """Call Init, and wait until the properties are in use."""
        initialise(self.proxy)

    def tidy(self) -> None:
        """End every procedure, and wait until its end and all events are here."""
        living = [summary["id"] for summary in self.summaries() if summary["state"] not in TERMINAL]
        for uid in living:
            self.stop(uid, run_abort=False)
        wait_until(lambda: all(summary["state"] in TERMINAL for summary in self.summaries()), 30, "all have ended")
        self.settle()
        if "but its clean-up failed" in self.proxy.Status():  # an ALARM until the next start
            self.recorder.wait_for_end(self.run("good.py"))
            self.settle()
        self.recorder.clear()

    def settle(self) -> None:
        """Wait until the recorder has every lifecycle event that there is, and all that is pushed with the last one.

        The attribute tells the newest event that was pushed; a summary may show a change whose event is still due.
        Of what a change pushes, the lists of procedures are the last.
        """
        pushed = self.proxy.lifecycleSequence
        newest = max([pushed, *(event["sequence"] for event in json.loads(self.proxy.LifecycleEvents(pushed)))])
        wait_until(
            lambda: newest in self.recorder.values("lifecycleSequence") or newest <= self.recorder._last_cleared,
            10,
            f"the recorder has event {newest} (errors: {self.recorder.errors()[-3:]})",
        )
        for name in ("procedureStates", "procedures"):
            wait_until(functools.partial(self._has_newest, name), 10, f"the recorder has the newest value of {name}")

    def _has_newest(self, name: str) -> bool:
        return bool((self.recorder.latest.get(name) or ()) == (self.proxy.read_attribute(name).value or ()))

    def close(self) -> None:
        self.recorder.close()


def initialise(proxy: tango.DeviceProxy) -> None:
    """Call Init, and wait until the properties are in use: what a busy database has not told by then is read later."""
    proxy.Init()
    unread = "cannot be read from the Tango database"
    wait_until(lambda: unread not in proxy.Status(), 30, "the properties have been read")


@contextlib.contextmanager
def serving(
    database: Database,
    instance: str,
    name: str,
    folder: Path,
    *,
    command: list[str] | None = None,
    environment: dict[str, str] | None = None,
    **properties: Any,
) -> Iterator[Oet]:
    """Yield the one device of a server of its own, which is to end well.

    :param folder: for its state and its log
    :param properties: those of the device
    """
    database.add_server(instance, {name: properties})
    with serving_registered(database, instance, name, folder, command=command, environment=environment) as oet:
        yield oet


@contextlib.contextmanager
def serving_registered(
    database: Database,
    instance: str,
    name: str,
    folder: Path,
    *,
    command: list[str] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Oet]:
    """Yield a device of a server that the database knows, as `serving` does."""
    server = Server([instance, "-ORBendPoint", "giop:tcp:127.0.0.1:0"], folder, database.host, command, environment)
    try:
        oet = Oet(database, name, server)
        yield oet
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


def filesystem(script: str) -> dict[str, str]:
    """Return the request's part that names a script: of tests/scripts, or by a whole path or URI."""
    uri = script if script.startswith("file://") else f"file://{script}"
    return {"script_type": "filesystem", "script_uri": uri}


def reason_of(failure: tango.DevFailed) -> tuple[str, str]:
    """Return reason and description of a refusal."""
    return failure.args[0].reason, failure.args[0].desc
