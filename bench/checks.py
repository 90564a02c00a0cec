"""How long checks take: one by itself, the first one of a server, and a hundred scripts at once."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import tango

from .figures import Figure, Report, of_samples
from .stack import Stack

SECTION = "Checks"

HUNDRED = "100 checks of 100 scripts, until the last report is here, warm"
_SCRIPTS = 100

# As an observation has them: an enumeration, a dataclass, and functions with annotations of several kinds.
_SCRIPT = '''"""Observation number {number}."""

import dataclasses
import enum
import time

import numpy as np
import tango


class Band(enum.Enum):
    LOW = "low"
    MID = "mid"


@dataclasses.dataclass
class Target:
    name: str
    ra: float = {number}.0
    dec: float = 0.0


def init(subarray_id: int, receptors: list[str] = ()) -> None:
    """Assign receptors."""


def main(target: Target, band: Band = Band.LOW, scans: int = 1, *, duration: float | None = None) -> int:
    """Scan a target, band by band."""
    return scans


def calibrate(source: str = "default", gains: dict[str, float] | None = None) -> None:
    """Look at a calibrator."""


def park(context: dict) -> None:
    """Leave the telescope safe."""
'''


class _Reports:
    """A subscription to checkReport, which notes when each report arrived, by `time.perf_counter`."""

    def __init__(self, url: str) -> None:
        self.proxy = tango.DeviceProxy(url)
        self._arrived: dict[int, float] = {}
        self._condition = threading.Condition()
        self._id = self.proxy.subscribe_event("checkReport", tango.EventType.CHANGE_EVENT, self._note)

    def _note(self, data: tango.EventData) -> None:
        now = time.perf_counter()
        report = json.loads(data.attr_value.value) if not data.err else {}
        if report:
            assert report["ok"], report
            with self._condition:
                self._arrived.setdefault(report["check_id"], now)
                self._condition.notify_all()

    def ask(self, script: str) -> int:
        return int(json.loads(self.proxy.command_inout("Check", f"file://{script}"))["check_id"])

    def wait(self, ids: list[int], seconds: float = 60) -> float:
        """Return when the last of these reports arrived."""
        with self._condition:
            assert self._condition.wait_for(lambda: self._arrived.keys() >= set(ids), seconds)
            return max(self._arrived[check_id] for check_id in ids)

    def close(self) -> None:
        self.proxy.unsubscribe_event(self._id)


def measure(report: Report, stack: Stack, *, quick: bool) -> None:
    """Measure all of it on one server."""
    folder = stack.folder / "checked"
    names = _written(folder)
    with stack.server(ScriptRoots=[folder]) as running:
        reports = _Reports(running.url)
        began = time.perf_counter()
        first = reports.wait([reports.ask(names[0])]) - began
        report.add(Figure(SECTION, "the first check of a server", "ms", first * 1000, note="its template is started"))
        single = []
        for name in names[: 20 if quick else 100]:
            began = time.perf_counter()
            single.append(reports.wait([reports.ask(name)]) - began)
        report.add(of_samples(SECTION, "a check by itself, warm", single))
        hundreds = []
        for _ in range(1 if quick else 5):
            began = time.perf_counter()
            hundreds.append(reports.wait([reports.ask(name) for name in names]) - began)
        report.add(of_samples(SECTION, HUNDRED, hundreds))
        reports.close()


def _written(folder: Path) -> list[str]:
    folder.mkdir()
    for number in range(_SCRIPTS):
        (folder / f"observation{number}.py").write_text(_SCRIPT.format(number=number))
    return [f"observation{number}.py" for number in range(_SCRIPTS)]
