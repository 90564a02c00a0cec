"""Reports progress when it is told to go on, by files in a folder."""

import time
from pathlib import Path

from ska_oet_device.scripting import report_progress


def _wait(gate):
    while not gate.exists():
        time.sleep(0.005)


def init(folder=None, waits=False):
    global gates
    gates = Path(folder) if folder else None
    if waits:
        _wait(gates / "init")


def main(ending="returns"):
    report_progress(12.7, "half-way")
    _wait(gates / "go")
    if ending == "raises":
        raise ValueError("no such receiver")


def parks():
    """Is stopped, and takes its time to clean up."""
    try:
        report_progress(12.7, "half-way")
        _wait(gates / "go")
    finally:
        _wait(gates / "parked")


def step(name="step"):
    """A function that is not main."""
    _wait(gates / name)
