"""What bounds one server and one device: many devices in a server, and many procedures alive at once."""

from __future__ import annotations

import contextlib
import resource
import time

import psutil

from .client import Client
from .figures import Figure, Report, of_samples
from .many import LEAST_FREE, Taken, add_throughput, one_at_a_time
from .stack import Running, Stack

SECTION = "Scale: many devices in one server"
ALIVE = "Scale: procedures alive at once in one server"


def measure(report: Report, stack: Stack, *, quick: bool) -> None:
    """Measure servers of a growing number of devices, one after the other, and then one with many procedures."""
    first: Taken | None = None
    for devices in (1, 10, 50) if quick else (1, 10, 50, 100):
        began = time.perf_counter()
        with stack.server(devices=devices) as running:
            seconds = time.perf_counter() - began
            report.add(Figure(SECTION, f"start, {devices} devices", "s", seconds, note="until the last one answers"))
            running.wait_for_spares(2)
            time.sleep(1)
            taken = Taken.by(running.server.tree())
            first = first or taken
            report.add(Figure(SECTION, f"PSS, {devices} devices", "MB", taken.pss / 1e6, note="of all its processes"))
            if devices > 1:
                more = (taken.pss - first.pss) / (devices - 1) / 1e6
                report.add(Figure(SECTION, f"PSS of one more device, of {devices}", "MB", more))
            for what in ("threads", "descriptors"):
                report.add(Figure(SECTION, f"{what}, {devices} devices", "", getattr(taken, what)))
            _latency(report, running, devices, 30 if quick else 100)
            each = max(1, (60 if quick else 400) // devices)
            add_throughput(report, SECTION, f"{devices} devices in a server", running.urls, min(4, devices), each)
    _alive(report, stack, (0, 10, 50) if quick else (0, 10, 100, 400))


def _latency(report: Report, running: Running, devices: int, rounds: int) -> None:
    samples = one_at_a_time(running, rounds)
    report.add(of_samples(SECTION, f"Run → COMPLETE at one device of {devices}", samples))


def _alive(report: Report, stack: Stack, counts: tuple[int, ...]) -> None:
    """Prepare more and more procedures of a device, and measure what they take, and another one beside them."""
    with stack.server(MaxProcedures=max(counts) + 10) as running:
        client = Client(running.url)
        prepared = 0
        base: dict[str, int] = {}
        for count in counts:
            while prepared < count:
                if psutil.virtual_memory().available < LEAST_FREE:
                    note = f"memory runs short at {prepared}"
                    report.add(Figure(ALIVE, f"{count} procedures alive", "", None, note=note))
                    return
                client.ready("empty.py")
                prepared += 1
            running.wait_for_spares(2)
            samples = []
            for _ in range(20):
                began = time.perf_counter()
                samples.append(client.wait(client.run("empty.py"), "COMPLETE", seconds=60) - began)
            report.add(of_samples(ALIVE, f"Run → COMPLETE beside {count} prepared", samples))
            main = running.main.num_fds()
            base = base or {"main": main, "pss": Taken.by(running.server.tree()).pss}
            report.add(Figure(ALIVE, f"descriptors of main, {count} prepared", "", main))
            if count:
                each = (main - base["main"]) / count
                report.add(Figure(ALIVE, f"descriptors of main for a procedure, of {count}", "", each))
                more = (Taken.by(running.server.tree()).pss - base["pss"]) / count / 1e6
                report.add(Figure(ALIVE, f"PSS of a procedure alive, of {count}", "MB", more))
        with contextlib.suppress(psutil.Error):
            soft, _ = running.main.rlimit(resource.RLIMIT_NOFILE)
            report.add(Figure(ALIVE, "descriptors that main may have", "", soft))
        client.close()
