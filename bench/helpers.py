"""Clients in processes of their own, told what to do on standard input: ``python -m bench.helpers run URL …``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

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


_HELPERS: dict[str, Callable[..., dict[str, Any]]] = {"run": _run, "subscribe": _subscribe, "watch": _watch}

if __name__ == "__main__":
    print(json.dumps(_HELPERS[sys.argv[1]](*sys.argv[2:])), flush=True)
