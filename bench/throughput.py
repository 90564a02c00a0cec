"""How much goes through: procedures, lifecycle events to many subscribers, and messages of scripts."""

from __future__ import annotations

import contextlib
import json
import time

import tango

from .client import Client
from .figures import Figure, Report, of_samples
from .helpers import Helper, results_together
from .stack import Stack

SECTION = "Throughput"

ONE_CLIENT = "procedures, one client, Run → COMPLETE in sequence"
LAST_AGAINST_FIRST = "the last hundred of them against the first hundred"
MESSAGES = "messages of a script, until the service has counted them all"
LOST_MESSAGES = "messages of a script that were lost"

RATE = 500  # changes a second
_CLIENTS = 8


def measure(report: Report, stack: Stack, *, quick: bool) -> None:
    """Measure everything, each on a server of its own."""
    _one_client(report, stack, 200 if quick else 1000)
    _eight_clients(report, stack, 25 if quick else 125)
    for subscribers in (1, 10) if quick else (1, 10, 50):
        _events(report, stack, subscribers, 2.0 if quick else 6.0)
    _messages(report, stack, 20_000 if quick else 200_000)
    _under_flood(report, stack, 50 if quick else 300)


def _one_client(report: Report, stack: Stack, count: int) -> None:
    with stack.server() as running:
        client = Client(running.url)
        client.wait(client.run("empty.py"), "COMPLETE")
        ends = [time.perf_counter()]
        for _ in range(count):
            ends.append(client.wait(client.run("empty.py"), "COMPLETE"))
        client.close()
    report.add(Figure(SECTION, ONE_CLIENT, "1/s", count / (ends[-1] - ends[0]), count=count))
    part = min(100, count // 2)
    ratio = (ends[-1] - ends[-1 - part]) / (ends[part] - ends[0])
    report.add(Figure(SECTION, LAST_AGAINST_FIRST, "× time", ratio, count=count))


def _eight_clients(report: Report, stack: Stack, count: int) -> None:
    with stack.server(devices=_CLIENTS) as running, contextlib.ExitStack() as exit_:
        helpers = [Helper("run", url, str(count)) for url in running.urls]
        results = results_together(helpers, exit_)
    seconds = max(item["ended"] for item in results) - min(item["began"] for item in results)
    total = count * _CLIENTS
    name = f"procedures, {_CLIENTS} clients in processes of their own, a device each"
    report.add(Figure(SECTION, name, "1/s", total / seconds, count=total))


def delivered(subscribers: int) -> str:
    return f"lifecycle events delivered to {subscribers} subscriber processes"


def changes(subscribers: int) -> str:
    return f"lifecycle changes with {subscribers} subscriber processes"


def _events(report: Report, stack: Stack, subscribers: int, seconds: float) -> None:
    """Have a procedure change its state as often as is asked for, and count what arrives where."""
    with stack.server() as running, contextlib.ExitStack() as exit_:
        proxy = tango.DeviceProxy(running.url)
        client = Client(running.url)
        uid = client.ready("empty.py")
        client.close()
        helpers = [Helper("subscribe", running.url) for _ in range(subscribers)]
        for helper in helpers:
            exit_.callback(helper.end)
            helper.wait_until_ready()
        before, began, starts = proxy.lifecycleSequence, time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds:
            if starts < (now - began) * RATE / 2:
                starts += 1
                with contextlib.suppress(tango.DevFailed):  # so many starts are waiting for their turn
                    client.start(uid, "step", force=True)
            else:
                time.sleep(0.001)
        rate = (proxy.lifecycleSequence - before) / (time.monotonic() - began)
        _wait_for_rest(proxy)
        last = proxy.lifecycleSequence
        for helper in helpers:
            helper.tell(str(last))
        results = [helper.result() for helper in helpers]
    worst = min(item["received"] / item["expected"] for item in results)
    repeated = sum(item["repeated"] for item in results)
    report.add(Figure(SECTION, changes(subscribers), "1/s", rate, count=last - before, note=f"{RATE} were asked for"))
    note = f"the worst subscriber; {repeated} events came twice"
    report.add(Figure(SECTION, delivered(subscribers), "%", 100 * worst, count=last - before, note=note))


def _wait_for_rest(proxy: tango.DeviceProxy) -> None:
    """Wait until nothing changes any more."""
    newest = -1
    while newest != proxy.lifecycleSequence:
        newest = proxy.lifecycleSequence
        time.sleep(0.2)


def _messages(report: Report, stack: Stack, count: int) -> None:
    counted, last = [0], [0.0]

    def note(data: tango.EventData) -> None:
        message = json.loads(data.attr_value.value) if not data.err else {}
        if message.get("topic") == "flood":
            counted[0] += 1 + message["skipped"]
            last[0] = time.perf_counter()

    with stack.server() as running:
        client = Client(running.url)
        client.proxy.subscribe_event("scriptEvent", tango.EventType.CHANGE_EVENT, note)
        uid = client.run("flood.py", count=count)
        began = client.wait(uid, "RUNNING")
        client.wait(uid, "COMPLETE", seconds=300)
        deadline = time.monotonic() + 5
        while counted[0] < count and time.monotonic() < deadline:
            time.sleep(0.01)
        client.close()
    report.add(Figure(SECTION, MESSAGES, "1/s", counted[0] / (last[0] - began), count=count))
    report.add(Figure(SECTION, LOST_MESSAGES, "", count - counted[0], count=count))


def _under_flood(report: Report, stack: Stack, rounds: int) -> None:
    with stack.server() as running:
        client = Client(running.url)
        uid = client.run("flood.py")
        client.wait(uid, "RUNNING")
        time.sleep(1)
        calls = {
            "State": client.proxy.state,
            "Summarise": lambda: client.proxy.command_inout("Summarise", []),
            "Prepare": lambda: client.stop(client.prepare("empty.py")),
        }
        samples: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                samples[name].append(time.perf_counter() - began)
        client.stop(uid)
        client.wait(uid, "STOPPED")
        client.close()
    for name, seconds in samples.items():
        shown = {"State": "State", "Summarise": "Summarise", "Prepare": "Prepare and Stop"}[name]
        report.add(of_samples(SECTION, f"{shown}, while a script floods the bus", seconds))
