"""What a browser waits for by TangoGQL, the back end of Taranta: events, a Run, and events again after a restart."""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tango

from .client import Client
from .figures import Figure, Report, of_samples
from .stack import Running, Stack, wait_until

# Found by what .stack has put into the path.
from support.tango_server import PUSHED  # isort: skip
from support.tangogql import MISSING, PROGRAMS, Subscription, TangoGql  # isort: skip

SECTION = "Through TangoGQL, the back end of Taranta"

PUSH, AT_A_PROXY = "a push → at a websocket", "the same push → at a DeviceProxy"
RUN, RUN_AT_A_PROXY = "Run by HTTP → RUNNING at a websocket", "Run → RUNNING at a DeviceProxy, in pairs with it"
KILLED, ANEW, DATABASE = "device server killed", "whole server started anew", "database killed and started"
TOLD, RIGHT, EVENTS = "until a page shows that", "until it shows what is so", "until it has events again"
REOPENED = "device server killed, all its pages closed, and forgotten: one opened → events"
PRESSED = "device server killed, until a Stop by HTTP, pressed five times a second, is accepted"
POLLED = "database killed and started: attributes without events meanwhile"

_SERVERS = 4  # of each kind of restart
_PATIENCE = 200  # seconds: TangoGQL tries again once a minute what failed a minute ago or longer


def measure(report: Report, stack: Stack, rounds: int, *, quick: bool) -> None:
    """Measure what is quick, and the restarts, which take some four minutes, unless it is to be quick."""
    if not (PROGRAMS / "uvicorn").exists():
        report.add(Figure(SECTION, PUSH, "ms", None, note=MISSING))
        return
    with TangoGql(stack.database.host, stack.folder) as tangogql:
        with stack.server() as running:
            _pushes(report, running, tangogql, rounds)
            _runs(report, running, tangogql, rounds)
        if not quick:
            _restarts(report, stack, tangogql)
            with stack.server() as running:
                _pressed(report, running, tangogql)
                _reopened(report, running, tangogql)
    if not quick:
        with (
            Stack(lasting=True) as lasting,
            lasting.server() as running,
            TangoGql(lasting.database.host, lasting.folder) as tangogql,
        ):
            _database(report, lasting, running, tangogql)


def _device(running: Running) -> str:
    return running.url.split("/", 3)[3]


def _page(running: Running, tangogql: TangoGql) -> Subscription:
    """Open a page that shows everything, and wait until it does."""
    page = tangogql.subscribe(f"{_device(running)}/{name}" for name in PUSHED)
    page.wait_for_all()
    return page


def _pushes(report: Report, running: Running, tangogql: TangoGql, rounds: int) -> None:
    """Write the flag, again and again: from the time that its event tells to when it is here."""
    proxy, near, far = tango.DeviceProxy(running.url), [], []

    def note(data: tango.EventData) -> None:
        if not data.err:
            near.append(time.time() - data.attr_value.time.totime())

    with _page(running, tangogql) as page:
        subscription = proxy.subscribe_event("waitForQaReady", tango.EventType.CHANGE_EVENT, note)
        near.clear()
        for number in range(rounds):
            page.clear()
            proxy.write_attribute("waitForQaReady", number % 2 == 1)
            frame = page.wait_for("waitForQaReady", functools.partial(bool.__eq__, number % 2 == 1))
            far.append(frame.arrived - frame.timestamp)
            time.sleep(0.02)
        proxy.unsubscribe_event(subscription)
    at_a_proxy = of_samples(SECTION, AT_A_PROXY, near)
    report.add(of_samples(SECTION, PUSH, far, floor=at_a_proxy.value))
    report.add(at_a_proxy)


def _runs(report: Report, running: Running, tangogql: TangoGql, rounds: int) -> None:
    client, near, far = Client(running.url), [], []
    with _page(running, tangogql) as page:
        for _ in range(rounds):
            began = time.perf_counter()
            uid = client.run("sleeps.py")
            near.append(client.wait(uid, "RUNNING") - began)
            _end(client, uid)
            page.clear()
            request, called = "file://sleeps.py", time.time()
            uid = int(json.loads(tangogql.execute(_device(running), "Run", request)["output"])["id"])
            is_running = functools.partial(_tells, uid, "RUNNING")
            far.append(page.wait_for("lifecycleEvent", is_running).arrived - called)
            _end(client, uid)
    client.close()
    at_a_proxy = of_samples(SECTION, RUN_AT_A_PROXY, near)
    report.add(of_samples(SECTION, RUN, far, floor=at_a_proxy.value, note="an HTTP connection for each"))
    report.add(at_a_proxy)


def _tells(uid: int, state: str, text: str) -> bool:
    event = json.loads(text)
    return bool(event.get("process_uid") == uid and event["state"] == state)


def _end(client: Client, uid: int) -> None:
    client.stop(uid)
    client.wait(uid, "STOPPED")
    time.sleep(0.05)


# -- restarts


@dataclass
class _Case:
    """One server that is restarted while a page is open; times in seconds since that."""

    device: str
    restart: Callable[[], None]
    page: Subscription
    began: float = 0.0
    times: dict[str, float] = field(default_factory=dict)
    was_polled: bool = False

    def begin(self) -> None:
        self.page.clear()
        self.began = time.time()
        self.restart()

    def look(self, sources: dict[str, str]) -> bool:
        """Note what is so now; returns whether everything is as before the restart."""
        frames = self.page.frames()
        if frames:
            self.times.setdefault(TOLD, frames[0].arrived - self.began)
        right = next((frame for frame in frames if frame.attribute == "state" and not frame.error), None)
        if right:
            self.times.setdefault(RIGHT, right.arrived - self.began)
        mine = {source for name, source in sources.items() if name.startswith(self.device)}
        self.was_polled = self.was_polled or "POLLING" in mine
        if self.was_polled and mine == {"CHANGE_EVENT"}:
            self.times.setdefault(EVENTS, time.time() - self.began)
        return EVENTS in self.times


def _restarts(report: Report, stack: Stack, tangogql: TangoGql) -> None:
    """Restart several servers at once, a second or two apart: each one takes two minutes."""
    with contextlib.ExitStack() as exits:
        cases: dict[str, list[_Case]] = {KILLED: [], ANEW: []}
        for kind in [KILLED, ANEW] * _SERVERS:
            cases[kind].append(exits.enter_context(_case(stack, tangogql, kind)))
            time.sleep(1.7)  # TangoGQL's retries are not to fall together
        time.sleep(15)  # longer than Tango's own connection takes to be sure of itself
        for case in [*cases[KILLED], *cases[ANEW]]:
            case.begin()
        waiting = [*cases[KILLED], *cases[ANEW]]
        deadline = time.monotonic() + _PATIENCE
        while waiting and time.monotonic() < deadline:
            sources = tangogql.sources()
            waiting = [case for case in waiting if not case.look(sources)]
            time.sleep(0.2)
    for kind, each in cases.items():
        for what in (TOLD, RIGHT, EVENTS):
            samples = [case.times[what] for case in each if what in case.times]
            report.add(_seconds(f"{kind}, {what}", samples, len(each)))


def _seconds(name: str, samples: list[float], asked: int) -> Figure:
    missing = f"; {asked - len(samples)} not within {_PATIENCE} s" if len(samples) < asked else ""
    if not samples:
        return Figure(SECTION, name, "s", None, note=f"none of {asked} within {_PATIENCE} s")
    spread = f"{min(samples):.1f} to {max(samples):.1f}{missing}"
    return Figure(SECTION, name, "s", statistics.median(samples), count=len(samples), note=spread)


@contextlib.contextmanager
def _case(stack: Stack, tangogql: TangoGql, kind: str) -> Iterator[_Case]:
    """A server with a page that shows it, and the way in which it is to be restarted."""
    folder = Path(stack.folder / f"restart-{time.monotonic_ns()}")
    with contextlib.ExitStack() as exits:
        first = exits.enter_context(contextlib.ExitStack())
        running = first.enter_context(stack.server(folder=folder))
        device = _device(running)

        def start_anew() -> None:
            first.close()
            exits.enter_context(stack.server_again(device, folder))

        restart = start_anew if kind == ANEW else running.server.device_server().kill
        with _page(running, tangogql) as page:
            yield _Case(device, restart, page)


def _pressed(report: Report, running: Running, tangogql: TangoGql) -> None:
    """Kill the device server while a script runs, and press the button until it works."""
    device, samples = _device(running), []
    for _ in range(_SERVERS):
        uid = int(json.loads(tangogql.execute(device, "Run", "file://sleeps.py")["output"])["id"])
        wait_until(functools.partial(_is, running, uid, "RUNNING"), 30, "it is RUNNING")
        began = time.time()
        running.server.device_server().kill()
        wait_until(functools.partial(_press_stop, tangogql, device), 60, "Stop is accepted")
        samples.append(time.time() - began)
        wait_until(functools.partial(_is, running, uid, "STOPPED"), 30, "it is STOPPED")
    report.add(_seconds(PRESSED, samples, _SERVERS))


def _press_stop(tangogql: TangoGql, device: str) -> bool:
    time.sleep(0.2)
    return bool(tangogql.execute(device, "StopActive")["ok"])


def _is(running: Running, uid: int, state: str) -> bool:
    (summary,) = json.loads(tango.DeviceProxy(running.url).command_inout("Summarise", [uid]))
    return bool(summary["state"] == state)


def _reopened(report: Report, running: Running, tangogql: TangoGql) -> None:
    """Close the only page after a restart, wait until TangoGQL has forgotten it, and open it again."""
    device = _device(running)

    def sources() -> set[str]:
        return {source for name, source in tangogql.sources().items() if name.startswith(device)}

    with _page(running, tangogql):
        running.server.device_server().kill()
        wait_until(lambda: "POLLING" in sources(), 60, "TangoGQL polls")
        wait_until(lambda: _answers(running), 60, "the device answers")
        closed = time.time()
    wait_until(lambda: not sources(), 60, "TangoGQL has forgotten the page")
    forgotten = time.time() - closed
    began = time.time()
    with _page(running, tangogql):
        wait_until(lambda: sources() == {"CHANGE_EVENT"}, _PATIENCE, "events")
        took = time.time() - began
    report.add(Figure(SECTION, REOPENED, "s", took, note=f"a closed page is forgotten after {forgotten:.1f} s"))


def _answers(running: Running) -> bool:
    try:
        tango.DeviceProxy(running.url).ping()
    except tango.DevFailed:
        return False
    return True


def _database(report: Report, stack: Stack, running: Running, tangogql: TangoGql) -> None:
    """Kill the Tango database, change something, start it again, and look at where values come from for 30 s."""
    proxy, polled = tango.DeviceProxy(running.url), set()
    with _page(running, tangogql) as page:
        page.clear()
        value = not proxy.read_attribute("waitForQaReady").value
        stack.database.kill_and_start_again()
        proxy.write_attribute("waitForQaReady", value)
        page.wait_for("waitForQaReady", functools.partial(bool.__eq__, value))
        began = time.monotonic()
        while time.monotonic() - began < 30:
            polled |= {name for name, source in tangogql.sources().items() if source != "CHANGE_EVENT"}
            time.sleep(0.5)
        failed = len([frame for frame in page.frames() if frame.error])
    note = f"of {len(PUSHED)}; {failed} frames with an error"
    report.add(Figure(SECTION, POLLED, "", len(polled), note=note))
