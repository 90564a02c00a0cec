"""What was measured: figures with their spread, the floor of the same run, and the goal."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One thing that was measured.

    `value` is the median where there are several samples; `floor` is the least that this machine
    allowed in the same run; `note` says what else must be known.  `value` is None where it could
    not be measured, and then `note` says why.
    """

    section: str
    name: str
    unit: str
    value: float | None
    p95: float | None = None
    p99: float | None = None
    count: int = 1
    floor: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The value in units of its floor."""
        return self.value / self.floor if self.value is not None and self.floor else None


def percentile(samples: Iterable[float], percent: float) -> float:
    """Return the sample below which `percent` of all lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def of_samples(section: str, name: str, seconds: list[float], *, floor: float | None = None, note: str = "") -> Figure:
    """Return times in milliseconds, from samples in seconds."""
    times = [second * 1000 for second in seconds]
    return Figure(
        section,
        name,
        "ms",
        statistics.median(times),
        percentile(times, 95),
        percentile(times, 99),
        len(times),
        floor,
        note,
    )


class Report:
    """The figures of one run, in the order in which they were measured."""

    def __init__(self, machine: dict[str, Any], command: str) -> None:
        self.machine = machine
        self.command = command
        self.figures: list[Figure] = []

    def add(self, figure: Figure) -> None:
        self.figures.append(figure)
        print(line(figure), flush=True)

    def find(self, name: str) -> Figure | None:
        """Return the figure of this name, None if it was not measured."""
        return next((figure for figure in self.figures if figure.name == name and figure.value is not None), None)

    def value(self, name: str) -> float | None:
        figure = self.find(name)
        return figure.value if figure is not None else None

    def as_data(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "command": self.command,
            "figures": [dataclasses.asdict(figure) for figure in self.figures],
        }


def report_of(data: dict[str, Any]) -> Report:
    """Return the report that `as_data` described."""
    report = Report(data["machine"], data["command"])
    report.figures = [Figure(**figure) for figure in data["figures"]]
    return report


def number(value: float | None) -> str:
    """Return a number with three significant digits, as long as it is small."""
    if value is None:
        return "–"
    if value and abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def line(figure: Figure) -> str:
    spread = f" (p95 {number(figure.p95)}, p99 {number(figure.p99)})" if figure.p95 is not None else ""
    ratio = f", {figure.ratio:.2f} × floor" if figure.ratio is not None else ""
    note = f"  [{figure.note}]" if figure.note else ""
    return f"  {figure.name:58} {number(figure.value):>8} {figure.unit}{spread}{ratio}{note}"


def machine() -> dict[str, Any]:
    """Describe this machine and the versions that count."""
    from importlib.metadata import version

    model = next(
        (
            text.partition(":")[2].strip()
            for text in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in text
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_GiB": round(memory, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {
            name: version(name) for name in ("ska-oet-device", "pytango", "pytango-db", "sqlalchemy", "pypubsub")
        },
        "load_before": round(os.getloadavg()[0], 2),
    }
