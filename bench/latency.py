"""How long a client waits: prepare, start, stop and run, with spare workers and without."""

from __future__ import annotations

import time
from collections import defaultdict

from .client import Client
from .figures import Report, of_samples
from .floors import prepare_floor, start_floor
from .stack import Running, Stack

SECTION = "Latency at a DeviceProxy, events from the embedded database's server"
GRACE = 0.1  # seconds, of the deaf script


def measure(report: Report, stack: Stack, rounds: int) -> None:
    """Measure every latency, warm (a spare worker waits) and cold (one has to be forked)."""
    for temperature, spares in (("warm", 2), ("cold", 0)):
        with stack.server(SpareWorkers=spares, StopGracePeriod=GRACE) as running:
            client = Client(running.url)
            for script in ("empty.py", "imports.py"):
                _scripts(report, running, client, script, temperature, spares, rounds)
            _stops(report, running, client, temperature, spares, rounds)
            client.close()


def _settle(running: Running, spares: int) -> None:
    running.wait_for_spares(spares)
    time.sleep(0.02)  # what was done in the background is done


def _scripts(
    report: Report, running: Running, client: Client, script: str, temperature: str, spares: int, rounds: int
) -> None:
    samples: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds + 5):
        _settle(running, spares)
        began = time.perf_counter()
        uid = client.prepare(script)
        samples["prepare → READY"].append(client.wait(uid, "READY") - began)
        _settle(running, spares)
        began = time.perf_counter()
        client.start(uid)
        samples["start → RUNNING"].append(client.wait(uid, "RUNNING") - began)
        samples["start → COMPLETE"].append(client.wait(uid, "COMPLETE") - began)
        _settle(running, spares)
        began = time.perf_counter()
        samples["Run → COMPLETE"].append(client.wait(client.run(script), "COMPLETE") - began)
    kind = {"empty.py": "no imports", "imports.py": "tango, numpy"}[script]
    for name, seconds in samples.items():
        floor = prepare_floor(report) if name in ("prepare → READY", "Run → COMPLETE") else start_floor(report)
        report.add(of_samples(SECTION, f"{name}, {kind}, {temperature}", seconds[5:], floor=floor))


def _stops(report: Report, running: Running, client: Client, temperature: str, spares: int, rounds: int) -> None:
    stops = []
    for _ in range(rounds + 5):
        _settle(running, spares)
        uid = client.run("sleeps.py")
        client.wait(uid, "RUNNING")
        time.sleep(0.005)
        began = time.perf_counter()
        client.stop(uid)
        stops.append(client.wait(uid, "STOPPED") - began)
    report.add(
        of_samples(SECTION, f"stop of a sleeping script → STOPPED, {temperature}", stops[5:], floor=start_floor(report))
    )
    deaf = []
    for _ in range(max(5, rounds // 10)):
        uid = client.run("deaf.py")
        client.wait(uid, "RUNNING")
        time.sleep(0.05)
        began = time.perf_counter()
        client.stop(uid)
        deaf.append(client.wait(uid, "STOPPED") - began - GRACE)
    name = f"stop of a script deaf to SIGTERM → STOPPED, beyond its grace period, {temperature}"
    report.add(of_samples(SECTION, name, deaf, note=f"StopGracePeriod {GRACE:g} s"))
