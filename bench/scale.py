"""What bounds one device, one server, one host and one database: the parts, and many servers on this machine."""

from __future__ import annotations

import contextlib
import statistics
import time
import traceback
from collections.abc import Callable

import tango

from . import scale_databases, scale_devices
from .cost import spent
from .figures import Figure, Report, of_samples
from .helpers import Helper
from .many import Started, Taken, add_throughput, many_servers, one_at_a_time, processor_seconds
from .stack import Stack

HOST = "Scale: servers with one device each, on one machine"
EVENTS = "Scale: events of all servers"

SERVERS, SERVERS_IF_QUICK = 100, 12


def measure(report: Report, stack: Stack, servers: int | None, *, quick: bool) -> None:
    """Measure each part; what fails is reported as such, and the others go on.

    :param servers: how many there are at once, at most
    """
    count = servers or (SERVERS_IF_QUICK if quick else SERVERS)
    parts: dict[str, Callable[[], None]] = {
        HOST: lambda: _many(report, stack, count, quick=quick),
        scale_devices.SECTION: lambda: scale_devices.measure(report, stack, quick=quick),
        scale_databases.DATABASE: lambda: scale_databases.measure_both(report, stack, count),
        scale_databases.THOUSAND: lambda: scale_databases.measure_thousand(report, stack),
        scale_databases.FILE: lambda: scale_databases.measure_shared_file(report, stack, quick=quick),
        scale_databases.HISTORY: lambda: scale_databases.measure_postgresql(report, stack, count, quick=quick),
    }
    for section, part in parts.items():
        began = time.monotonic()
        try:
            part()
        except Exception as error:  # one figure that cannot be had must not take all others with it
            traceback.print_exc()
            report.add(Figure(section, "not measured", "", None, note=f"{type(error).__name__}: {str(error)[:200]}"))
        print(f"({section}: {time.monotonic() - began:.0f} s)", flush=True)


def _many(report: Report, stack: Stack, count: int, *, quick: bool) -> None:
    """Have `count` servers at once, and measure them at rest, at work, and the next one."""
    began, before = time.monotonic(), processor_seconds(stack.database.pid)
    with many_servers(stack, stack.database, "many", count) as started:
        seconds, servers = time.monotonic() - began, len(started.running)
        report.add(Figure(HOST, "servers that run at once", "", servers, note=started.why_fewer))
        if started.failed:
            report.add(Figure(HOST, "servers that have not started", "", len(started.failed), note=str(started.failed)))
        report.add(Figure(HOST, "start of all, four at a time", "s", seconds, count=servers))
        report.add(of_samples(HOST, "start of one of them, until its device answers", started.seconds))
        used = 1000 * (processor_seconds(stack.database.pid) - before) / servers
        report.add(
            Figure(HOST, "processor of the Tango database for the start of one", "ms", used, note="PyDatabaseds")
        )
        for running in started.running:
            running.wait_for_spares(2)
        own = processor_seconds(*(process.pid for process in started.processes())) / servers
        report.add(
            Figure(HOST, "processor of a server for its own start", "s", own, note="all its processes, with the spares")
        )
        time.sleep(3)
        _taken(report, started)
        _at_rest(report, stack, started, 5 if quick else 30)
        scale_databases.measure_fleet(report, HOST, f"oet fleet of {servers} devices", stack.database.host)
        _one_more(report, stack, 3)
        _latency(report, started, 30 if quick else 200)
        urls = started.urls
        for clients in (4, 16):
            add_throughput(
                report, HOST, f"over {servers} servers", urls, clients, max(1, (100 if quick else 800) // servers)
            )
        for listeners in (1, 10):
            _events(report, started, listeners, 2 if quick else 5)


def _taken(report: Report, started: Started) -> None:
    servers = len(started.running)
    taken = Taken.by(started.processes())
    report.add(Figure(HOST, "PSS of all servers", "MB", taken.pss / 1e6, count=servers))
    report.add(Figure(HOST, "PSS of a server", "MB", taken.pss / 1e6 / servers, note="of the sum"))
    for what in ("processes", "threads", "descriptors"):
        number = getattr(taken, what)
        report.add(Figure(HOST, f"{what} of a server", "", number / servers, note=f"{number:,} in all"))


def _at_rest(report: Report, stack: Stack, started: Started, seconds: float) -> None:
    """Look at what servers cost that do nothing, and at what they ask of the Tango database meanwhile."""
    processes, servers = started.processes(), len(started.running)
    database = processor_seconds(stack.database.pid)
    before = spent(processes)
    time.sleep(seconds)
    after = spent(processes)
    database = processor_seconds(stack.database.pid) - database
    cpu, wakes = 100 * (after[0] - before[0]) / seconds, (after[1] - before[1]) / seconds
    report.add(Figure(HOST, "processor of all servers at rest", "% of a core", cpu, count=servers))
    report.add(Figure(HOST, "processor of a server at rest", "% of a core", cpu / servers, note="of the sum"))
    report.add(Figure(HOST, "wake-ups of a server at rest", "1/s", wakes / servers, note="of the sum"))
    report.add(Figure(HOST, "processor of the Tango database meanwhile", "% of a core", 100 * database / seconds))


def _one_more(report: Report, stack: Stack, rounds: int) -> None:
    seconds = []
    for number in range(rounds):
        with many_servers(stack, stack.database, f"more{number}x", 1) as more:
            seconds += more.seconds
    report.add(of_samples(HOST, "start of one more beside them", seconds))


def _latency(report: Report, started: Started, rounds: int) -> None:
    samples = one_at_a_time(started.running[0], rounds)
    others = len(started.running) - 1
    report.add(of_samples(HOST, f"Run → COMPLETE at one device, {others} servers at rest", samples))


def _events(report: Report, started: Started, listeners: int, each: int) -> None:
    """Have each of some clients listen to all devices while scripts run on them all, four at a time."""
    proxies = {url: tango.DeviceProxy(url) for url in started.urls}
    with contextlib.ExitStack() as exit_:
        helpers = [Helper("listen", *proxies) for _ in range(listeners)]
        for helper in helpers:
            exit_.callback(helper.end)
            helper.wait_until_ready()
        time.sleep(1)  # until the last connection is made
        before = {url: proxy.lifecycleSequence for url, proxy in proxies.items()}
        for helper in helpers:
            helper.ask("from now on")
        name = f"{listeners} clients listen to each" if listeners > 1 else "a client listens to each"
        procedures = add_throughput(report, EVENTS, f"{len(proxies)} devices, {name}", list(proxies), 4, each)
        time.sleep(1)
        pushed = {url: proxy.lifecycleSequence - before[url] for url, proxy in proxies.items()}
        for helper in helpers:
            helper.tell("enough")
        results = [helper.result() for helper in helpers]
    total = sum(pushed.values())
    worst = min(sum(found["received"].values()) for found in results)
    about = f"{len(proxies)} devices, {listeners} clients" if listeners > 1 else f"{len(proxies)} devices, 1 client"
    report.add(
        Figure(
            EVENTS, f"lifecycle events received, {about}", "%", 100 * worst / total, count=total, note="worst client"
        )
    )
    # Each client of add_throughput runs one script on each of its devices before it is timed.
    rate = procedures * total / (len(proxies) * (each + 1)) * listeners
    report.add(Figure(EVENTS, f"lifecycle events to clients, {about}", "1/s", rate, note="the sum of all clients"))
    report.add(
        of_samples(EVENTS, f"lag of lifecycleEvent, {about}", [lag for found in results for lag in found["lags"]])
    )
    subscribing = statistics.median(found["subscribing"] for found in results)
    report.add(
        Figure(EVENTS, f"subscribing to lifecycleEvent of {about}", "s", subscribing, note="median of the clients")
    )
    descriptors = max(found["descriptors"] for found in results)
    report.add(Figure(EVENTS, f"descriptors of a client that listens to {len(proxies)} devices", "", descriptors))
