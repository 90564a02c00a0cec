"""What the server costs: processor and wake-ups at rest, memory, descriptors, start-up."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from .client import Client
from .figures import Figure, Report, of_samples
from .stack import Running, Stack

REST, MEMORY = "Cost at rest", "Memory and descriptors"

WAKE_UPS = "wake-ups of main, template and workers, 10 prepared"
PREPARED_PSS = "PSS of a prepared script"


def measure(report: Report, stack: Stack, *, quick: bool) -> None:
    """Measure what a server costs that does nothing, and what is left after it has done much."""
    _at_rest(report, stack, (0, 10) if quick else (0, 10, 50), 5 if quick else 30)
    _per_device(report, stack)
    _growth(report, stack, 300 if quick else 5000)
    _start_up(report, stack, 3 if quick else 10)


# -- at rest


def spent(processes: Iterable[psutil.Process]) -> tuple[float, int]:
    """Return processor time in seconds, and how often a thread of the processes was put on a processor."""
    seconds, switches = 0.0, 0
    for process in processes:
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                running, _, times = (thread / "schedstat").read_text().split()
                seconds += int(running) / 1e9
                switches += int(times)
    return seconds, switches


def _at_rest(report: Report, stack: Stack, counts: Iterable[int], seconds: float) -> None:
    with stack.server() as running:
        client = Client(running.url)
        prepared = 0
        for count in counts:
            while prepared < count:
                client.ready("empty.py")
                prepared += 1
            running.wait_for_spares(2)
            time.sleep(3)
            device_server = running.server.device_server()
            others = [process for process in running.server.tree() if process.pid != device_server.pid]
            before, before_server = spent(others), spent([device_server])
            time.sleep(seconds)
            after, after_server = spent(others), spent([device_server])
            cpu = 100 * (after[0] + after_server[0] - before[0] - before_server[0]) / seconds
            report.add(Figure(REST, f"processor, {count} prepared", "%", cpu, note="all processes of the server"))
            wakes = (after[1] - before[1]) / seconds
            report.add(Figure(REST, f"wake-ups of main, template and workers, {count} prepared", "1/s", wakes))
            wakes = (after_server[1] - before_server[1]) / seconds
            report.add(Figure(REST, f"wake-ups of the device server, {count} prepared", "1/s", wakes))
            _memory(report, running, count)
        client.close()


def _memory(report: Report, running: Running, count: int) -> None:
    used = [process.memory_full_info() for process in running.server.tree()]
    if count == 0:
        report.add(
            Figure(MEMORY, "PSS of the whole server, nothing prepared", "MB", sum(item.pss for item in used) / 1e6)
        )
        return
    workers = [process.memory_full_info() for process in running.titled("oet-script")]
    if count == 10:
        report.add(
            Figure(MEMORY, PREPARED_PSS, "MB", statistics.mean(item.pss for item in workers) / 1e6, note="of 10")
        )
        for name in ("rss", "uss"):
            value = statistics.mean(getattr(item, name) for item in workers) / 1e6
            report.add(Figure(MEMORY, f"{name.upper()} of a prepared script", "MB", value, note="of 10"))


def _per_device(report: Report, stack: Stack) -> None:
    sizes = []
    for devices in (1, 9):
        with stack.server(devices=devices) as running:
            running.wait_for_spares(2)
            time.sleep(1)
            sizes.append(running.server.device_server().memory_full_info().uss)
    report.add(Figure(MEMORY, "USS of one more device in a server", "MB", (sizes[1] - sizes[0]) / 8 / 1e6))


def _growth(report: Report, stack: Stack, count: int) -> None:
    """Run many procedures; what grows is a leak, once the tables that keep the newest ones are full."""
    with stack.server(HistoryLength=100) as running:
        client = Client(running.url)

        def run(times: int) -> None:
            for _ in range(times):
                client.wait(client.run("empty.py"), "COMPLETE")
                client.forget()

        def look() -> dict[str, tuple[int, int]]:
            running.wait_for_spares(2)
            time.sleep(1)
            processes = {"main": running.main, "device server": running.server.device_server()}
            return {name: (each.num_fds(), each.memory_full_info().uss) for name, each in processes.items()}

        run(max(150, count // 5))
        before = look()
        run(count)
        after = look()
        client.close()
    for name, (descriptors, memory) in after.items():
        more = descriptors - before[name][0]
        report.add(Figure(MEMORY, f"descriptors more in {name}, after many procedures", "", more, count=count))
        grown = (memory - before[name][1]) / 1e6
        report.add(Figure(MEMORY, f"USS more in {name}, after many procedures", "MB", grown, count=count))


def _start_up(report: Report, stack: Stack, rounds: int) -> None:
    answered, ready = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        with stack.server() as running:
            answered.append(time.perf_counter() - began)
            client = Client(running.url)
            client.ready("empty.py")
            ready.append(time.perf_counter() - began)
            client.close()
    report.add(of_samples(REST, "start of the server until its device answers", answered))
    report.add(of_samples(REST, "start of the server until a first script is READY", ready))
