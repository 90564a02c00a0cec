"""Many servers at once: started some at a time, looked at as a whole, and ended in every case."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from .client import Client
from .figures import Figure, Report, of_samples
from .helpers import Helper, results_together
from .stack import BIND, ROOT, SCRIPTS, Database, Running, Server, Stack, answers, free_port

WIDTH = 4  # servers that are starting at the same time
PATIENCE = 60.0  # seconds, for the start of each, and for the end of all
LEAST_FREE = 2 << 30  # bytes of memory that are left to the machine
_MOST_FAILED = 3  # servers that may not start


@dataclass
class Started:
    """Some servers, and how long each took until its device answered, in seconds."""

    running: list[Running]
    seconds: list[float]
    why_fewer: str = ""
    failed: list[str] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        return [url for each in self.running for url in each.urls]

    def processes(self) -> list[psutil.Process]:
        return [process for each in self.running for process in each.server.tree()]


@contextlib.contextmanager
def many_servers(
    stack: Stack, database: Database, name: str, count: int, host: str = "", **properties: Any
) -> Iterator[Started]:
    """Run `count` servers with a device each; fewer where memory runs short, and then it says so.

    :param name: what their instances begin with
    :param host: the TANGO_HOST that they are given, where it is not the database's own
    :raises TimeoutError: none answers in time, or more than some do not
    """
    started = Started([], [])
    servers: list[Server] = []
    try:
        _start(stack, database, name, count, host, properties, started, servers)
        yield started
    finally:
        _end(servers)


def _start(
    stack: Stack,
    database: Database,
    name: str,
    count: int,
    host: str,
    properties: dict[str, Any],
    started: Started,
    servers: list[Server],
) -> None:
    waiting = deque(range(1, count + 1))
    starting: dict[str, tuple[Running, float]] = {}
    while waiting or starting:
        while waiting and len(starting) < WIDTH:
            if psutil.virtual_memory().available < LEAST_FREE:
                started.why_fewer = f"memory for {len(servers)} servers only, of {count}"
                waiting.clear()
                break
            instance = f"{name}{waiting.popleft()}"
            device = f"mid-oet/{instance}/01"
            database.add_server(instance, {device: {"ScriptRoots": [SCRIPTS], **properties}})
            server = Server([instance, *BIND], stack.folder / instance, host or database.host)
            servers.append(server)
            url = f"tango://{database.host}/{device}"
            starting[url] = Running(server, [url]), time.monotonic()
        time.sleep(0.05)
        for url, (running, since) in list(starting.items()):
            seconds = time.monotonic() - since
            if answers(url):
                del starting[url]
                started.running.append(running)
                started.seconds.append(seconds)
            elif seconds > PATIENCE or running.server.has_ended:
                del starting[url]
                started.failed.append(url)
                print(f"{url} does not answer after {seconds:.0f} s\n{running.server.log_text()[-2000:]}", flush=True)
        if len(started.failed) > _MOST_FAILED:
            raise TimeoutError(f"{len(started.failed)} servers have not started: {started.failed}")
    if not started.running:
        raise TimeoutError(f"no server has started: {started.why_fewer or started.failed}")


def _end(servers: list[Server]) -> None:
    """Ask all of them to end, wait, and kill what is left, each by its id."""
    for server in servers:
        if not server.has_ended:
            server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    for server in servers:
        with contextlib.suppress(AssertionError):
            server.wait(max(0.1, deadline - time.monotonic()))
    for server in servers:
        server.clean_up()


@dataclass(frozen=True)
class Taken:
    """What processes take, as sums."""

    processes: int
    threads: int
    descriptors: int
    pss: int  # bytes

    @classmethod
    def by(cls, processes: list[psutil.Process]) -> Taken:
        count = threads = descriptors = pss = 0
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                memory = process.memory_full_info().pss
                threads += process.num_threads()
                descriptors += process.num_fds()
                count, pss = count + 1, pss + memory
        return cls(count, threads, descriptors, pss)


def processor_seconds(*pids: int) -> float:
    """Return what processes have used of the processor, in seconds; nothing of those that have gone."""
    seconds = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            seconds += times.user + times.system
    return seconds


def run_counted(urls: list[str], clients: int, each: int) -> tuple[float, list[float]]:
    """Have `clients` processes run empty scripts on devices, those of each one after the other.

    :param each: scripts a device
    :return: scripts a second, and how long each one took, in seconds
    """
    shares = [share for share in (urls[first::clients] for first in range(clients)) if share]
    with contextlib.ExitStack() as exit_:
        helpers = [Helper("run_in_turn", str(each), *share) for share in shares]
        results = results_together(helpers, exit_)
    seconds = max(item["ended"] for item in results) - min(item["began"] for item in results)
    samples = [sample for item in results for sample in item["samples"]]
    return len(samples) / seconds, samples


def one_at_a_time(running: Running, rounds: int) -> list[float]:
    """Return the seconds from Run to COMPLETE of empty scripts at one device, a spare worker ready for each."""
    client = Client(running.url)
    samples = []
    for _ in range(rounds):
        running.wait_for_spares(2)
        time.sleep(0.02)
        began = time.perf_counter()
        samples.append(client.wait(client.run("empty.py"), "COMPLETE") - began)
        client.forget()
    client.close()
    return samples


def add_throughput(report: Report, section: str, name: str, urls: list[str], clients: int, each: int) -> float:
    """Measure scripts a second over all devices, and how long one takes meanwhile; returns the first."""
    rate, samples = run_counted(urls, clients, each)
    report.add(Figure(section, f"procedures, {name}, {clients} at a time", "1/s", rate, count=len(samples)))
    report.add(of_samples(section, f"Run → COMPLETE meanwhile, {name}, {clients} at a time", samples))
    return rate


class CountedDatabase:
    """A port in front of a Tango database, which counts what is asked of it; ended by `close`."""

    def __init__(self, host: str) -> None:
        self._port = free_port()
        self.host = f"127.0.0.1:{self._port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.counting_port", str(self._port), host],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def count(self) -> int:
        """Return how many requests there were so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
