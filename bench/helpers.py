"""Clients in processes of their own, told what to do on standard input: ``python -m bench.helpers run URL …``."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import psutil
import tango

from .client import Client
from .stack import ROOT


class Helper:
    """One such process, seen from the one that started it."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.helpers", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        if self._answer() != "ready":
            raise RuntimeError("a helper of the benchmark could not start")

    def tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def ask(self, text: str) -> str:
        """Tell something, and return the line that it answers."""
        self.tell(text)
        return self._answer()

    def result(self) -> dict[str, Any]:
        """Return what it has found out; it ends then."""
        found: dict[str, Any] = json.loads(self._answer())
        self._process.communicate()
        return found

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def pause(self) -> None:
        """Stop it (SIGSTOP): it reads nothing any more."""
        self._process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        """End it, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def results_together(helpers: Sequence[Helper], exit_: ExitStack) -> list[dict[str, Any]]:
    """Have helpers do their work at the same time, once all are ready; they end with the stack, whatever happens."""
    for helper in helpers:
        exit_.callback(helper.end)
        helper.wait_until_ready()
    for helper in helpers:
        helper.tell("go")
    return [helper.result() for helper in helpers]


def _run(url: str, count: str) -> dict[str, Any]:
    """Run an empty script so many times, one after the other."""
    client = Client(url)
    client.wait(client.run("empty.py"), "COMPLETE")
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.time()
    for _ in range(int(count)):
        client.wait(client.run("empty.py"), "COMPLETE")
    return {"began": began, "ended": time.time()}


def _run_in_turn(count: str, *urls: str) -> dict[str, Any]:
    """Run an empty script on each of some devices in turn, so many times."""
    clients = [Client(url) for url in urls]
    for client in clients:
        client.wait(client.run("empty.py"), "COMPLETE", seconds=60)
        client.forget()
    print("ready", flush=True)
    sys.stdin.readline()
    samples = []
    began = time.time()
    for _ in range(int(count)):
        for client in clients:
            before = time.perf_counter()
            samples.append(client.wait(client.run("empty.py"), "COMPLETE", seconds=60) - before)
            client.forget()
    return {"began": began, "ended": time.time(), "samples": samples}


def _listen(*urls: str) -> dict[str, Any]:
    """Subscribe to the lifecycle events of devices until something is told: numbers, and how late each was."""
    heard: dict[str, set[int]] = {url: set() for url in urls}
    lags: list[float] = []

    def note(url: str, data: tango.EventData) -> None:
        now = time.time()
        event = json.loads(data.attr_value.value) if not data.err else {}
        if event and event["sequence"] not in heard[url]:
            heard[url].add(event["sequence"])
            lags.append(now - event["time"])

    began = time.perf_counter()
    proxies = [tango.DeviceProxy(url) for url in urls]
    for url, proxy in zip(urls, proxies, strict=True):
        proxy.subscribe_event("lifecycleEvent", tango.EventType.CHANGE_EVENT, functools.partial(note, url))
    seconds = time.perf_counter() - began
    print("ready", flush=True)
    sys.stdin.readline()
    lags.clear()  # the first values are old ones
    for numbers in heard.values():
        numbers.clear()
    print("listens", flush=True)
    sys.stdin.readline()
    received = {url: len(numbers) for url, numbers in heard.items()}
    return {"subscribing": seconds, "received": received, "lags": lags, "descriptors": psutil.Process().num_fds()}


def _subscribe(url: str) -> dict[str, Any]:
    """Receive lifecycle events until the one with the number that is told; look at them afterwards only."""
    texts: list[str] = []
    proxy = tango.DeviceProxy(url)

    def note(data: tango.EventData) -> None:
        if not data.err:
            texts.append(data.attr_value.value)

    proxy.subscribe_event("lifecycleEvent", tango.EventType.CHANGE_EVENT, note)
    first = proxy.lifecycleSequence
    print("ready", flush=True)
    last = int(sys.stdin.readline())
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and json.loads(texts[-1])["sequence"] < last:
        time.sleep(0.02)
    numbers = [json.loads(text)["sequence"] for text in texts]
    received = [number for number in numbers if first < number <= last]
    return {"expected": last - first, "received": len(set(received)), "repeated": len(received) - len(set(received))}


def _watch(url: str, name: str) -> dict[str, Any]:
    """Subscribe to an attribute, and look at nothing, until something is told."""
    counted = 0

    def note(data: tango.EventData) -> None:
        nonlocal counted
        counted += not data.err

    proxy = tango.DeviceProxy(url)
    proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, note)
    print("ready", flush=True)
    sys.stdin.readline()
    return {"received": counted}


_HELPERS: dict[str, Callable[..., dict[str, Any]]] = {
    "run": _run,
    "subscribe": _subscribe,
    "watch": _watch,
    "run_in_turn": _run_in_turn,
    "listen": _listen,
}

if __name__ == "__main__":
    print(json.dumps(_HELPERS[sys.argv[1]](*sys.argv[2:])), flush=True)
