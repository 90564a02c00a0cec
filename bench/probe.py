"""What a probe costs: processor, time and memory of one call of `oet health`, with and without --alive."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from .figures import Figure, Report, of_samples
from .stack import Stack, program

SECTION = "A probe"
_TIMES = 10
# In a process that is small itself: what the kernel tells of a child's memory includes that of who has forked it.
_WAITS = """
import os, sys, time
began = time.perf_counter()
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
_WORDS = {"oet health": (), "oet health --alive": ("--alive",)}


def measure(report: Report, stack: Stack, *, quick: bool) -> None:
    """Measure calls one after another, and what the server spends on them."""
    with stack.server() as running:
        running.wait_for_spares(2)
        device = running.url.removeprefix(f"tango://{stack.database.host}/")
        notes = stack.folder / "notes"
        notes.mkdir(exist_ok=True)
        for name, words in _WORDS.items():
            calls = [_call(stack.database.host, device, notes, words) for _ in range(1 + (10 if quick else 50))][1:]
            report.add(of_samples(SECTION, f"{name}, wall", [each[0] for each in calls]))
            report.add(of_samples(SECTION, f"{name}, processor", [each[1] for each in calls], note="user and system"))
            report.add(Figure(SECTION, f"{name}, memory", "MB", statistics.median(each[2] for each in calls)))
            _of_server(report, running.server.tree, stack.database.host, device, notes, name, words)


def _call(host: str, device: str, notes: Path, words: tuple[str, ...]) -> tuple[float, float, float]:
    """Return wall and processor time of a call in seconds, and the memory that it had at most in MB."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _WAITS, program("oet"), "health", device, *words, "--timeout", "30"],
        env={**os.environ, "TANGO_HOST": host, "XDG_RUNTIME_DIR": str(notes)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall, processor, memory = map(float, done.stderr.split())
    return wall, processor, memory


def _of_server(
    report: Report,
    tree: Callable[[], list[psutil.Process]],
    host: str,
    device: str,
    notes: Path,
    name: str,
    words: tuple[str, ...],
) -> None:
    """Measure what all processes of the server spend on a call, those that come and go for it included."""
    before = _spent(tree())
    for _ in range(_TIMES):
        _call(host, device, notes, words)
        time.sleep(2.1)  # a worker is forked at most every 2 s
    spent = 1000 * (_spent(tree()) - before) / _TIMES
    note = "what it does at rest in 2.1 s included"
    report.add(Figure(SECTION, f"{name}, processor of the server", "ms", spent, count=_TIMES, note=note))


def _spent(processes: list[psutil.Process]) -> float:
    """Return the processor time of processes, and of the children of the first that have ended, in seconds."""
    times = [each.cpu_times() for each in processes]
    ended = times[0].children_user + times[0].children_system
    return float(ended + sum(each.user + each.system for each in times))
