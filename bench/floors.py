"""The least that this machine allows: a Tango command, a command with an event, a fork with a message."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import tango

from .figures import Report, of_samples
from .stack import Stack

SECTION = "Floors"
COMMAND, COMMAND_AND_EVENT, FORK = "an empty Tango command", "a command that pushes an event, until it is here", "fork"
START_FLOOR, PREPARE_FLOOR = "start_floor", "prepare_floor"

_FORKS = """
import os, time
for _ in range({rounds}):
    reader, writer = os.pipe()
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        os.write(writer, b"x")
        os._exit(0)
    os.read(reader, 1)
    print(time.perf_counter() - began)
    os.waitpid(pid, 0)
    os.close(reader), os.close(writer)
"""


class _Arrivals:
    """Notes when the event with a certain number arrived."""

    def __init__(self, proxy: tango.DeviceProxy) -> None:
        self._condition = threading.Condition()
        self._count, self._time = 0, 0.0
        self._subscription = proxy.subscribe_event("count", tango.EventType.CHANGE_EVENT, self._note)

    def _note(self, data: tango.EventData) -> None:
        now = time.perf_counter()
        if not data.err:
            with self._condition:
                self._count, self._time = data.attr_value.value, now
                self._condition.notify_all()

    def wait(self, number: int) -> float:
        with self._condition:
            if not self._condition.wait_for(lambda: self._count >= number, 10):
                raise TimeoutError(f"event {number} has not arrived within 10 s")
            return self._time


def measure(report: Report, stack: Stack, rounds: int) -> None:
    """Measure the floors; `start_floor` and `prepare_floor` of the others are made of them."""
    with stack.floor_server() as proxy:
        arrivals = _Arrivals(proxy)
        commands, events = [], []
        for number in range(1, rounds + 1):
            began = time.perf_counter()
            proxy.command_inout("Empty")
            commands.append(time.perf_counter() - began)
            began = time.perf_counter()
            proxy.command_inout("Push")
            events.append(arrivals.wait(number) - began)
            time.sleep(0.005)  # as between two requests of a person or a sequencer
    report.add(of_samples(SECTION, COMMAND, commands))
    report.add(of_samples(SECTION, COMMAND_AND_EVENT, events))
    script = _FORKS.format(rounds=rounds)
    printed = subprocess.run([sys.executable, "-I", "-c", script], check=True, capture_output=True, text=True).stdout
    report.add(
        of_samples(
            SECTION, FORK, [float(text) for text in printed.split()], note="bare Python, until its message is here"
        )
    )


def start_floor(report: Report) -> float | None:
    """Return the floor of what takes a request and an event, in ms."""
    return report.value(COMMAND_AND_EVENT)


def prepare_floor(report: Report) -> float | None:
    """Return the floor of what also takes a process, in ms: the sum of all three floors."""
    values = [report.value(name) for name in (COMMAND, COMMAND_AND_EVENT, FORK)]
    return None if None in values else sum(value for value in values if value is not None)
