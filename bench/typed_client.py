"""What the typed client costs beyond a bare DeviceProxy: a run by each in turn, and the difference of each pair."""

from __future__ import annotations

import time

from ska_oet_device.client import OetClient

from .client import Client
from .figures import Report, of_samples
from .stack import Running, Stack

SECTION = "The typed client, beside a bare DeviceProxy that only waits for the event"
BARE, TYPED = "Run → COMPLETE, a bare DeviceProxy", "Run → COMPLETE, OetClient"
DIFFERENCE = "OetClient beyond a bare DeviceProxy, medians of pairs"
_SPARES = 2


def measure(report: Report, stack: Stack, rounds: int) -> None:
    """Measure pairs; in every second one the typed client is the first."""
    with stack.server(SpareWorkers=_SPARES) as running:
        bare = Client(running.url)
        with OetClient(running.url) as typed:
            samples = [_pair(running, bare, typed, turned=bool(number % 2)) for number in range(rounds + 5)][5:]
        bare.close()
    report.add(of_samples(SECTION, BARE, [first for first, _ in samples]))
    report.add(of_samples(SECTION, TYPED, [second for _, second in samples]))
    report.add(of_samples(SECTION, DIFFERENCE, [second - first for first, second in samples]))


def _pair(running: Running, bare: Client, typed: OetClient, *, turned: bool) -> tuple[float, float]:
    if turned:
        second = _typed(running, typed)
        return _bare(running, bare), second
    return _bare(running, bare), _typed(running, typed)


def _settle(running: Running) -> None:
    running.wait_for_spares(_SPARES)
    time.sleep(0.02)  # what was done in the background is done


def _bare(running: Running, client: Client) -> float:
    _settle(running)
    began = time.perf_counter()
    return client.wait(client.run("empty.py"), "COMPLETE") - began


def _typed(running: Running, client: OetClient) -> float:
    _settle(running)
    began = time.perf_counter()
    client.run("empty.py").wait()
    return time.perf_counter() - began
