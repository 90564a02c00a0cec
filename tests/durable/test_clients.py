"""Clients that are many, slow, or die while they are subscribed: the server and the others do not notice."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time

import pytest
import tango
from support.connection import until_connected
from support.durable import Station, gapless
from support.processes import suspend
from support.waiting import wait_until

_CLIENT = """
import sys, time, tango
proxy = tango.DeviceProxy(sys.argv[1])
def note(data):
    if sys.argv[2] == "slow":
        time.sleep(0.5)
for name in ("lifecycleEvent", "procedures", "State"):
    proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, note)
print("subscribed", flush=True)
time.sleep(300)
"""


@pytest.fixture(scope="module")
def made(database, scripts, tmp_path_factory):
    """A server for all tests of this module."""
    made = Station(database, "clients", tmp_path_factory.mktemp("clients"), {"ScriptRoots": [scripts]})
    try:
        made.start()
        yield made
    finally:
        made.clean_up()


@pytest.fixture
def client(made):
    """Start clients in processes of their own, subscribed."""
    processes: list[subprocess.Popen[str]] = []

    def start(how: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, made.oet.url, how], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "subscribed\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def is_as_quick_as_ever(made: Station, count: int = 20) -> None:
    """Run scripts one after another; every event arrives, in order and soon."""
    recorder = made.oet.recorder
    recorder.clear()
    took: list[float] = []
    for _ in range(count):
        started = time.monotonic()
        uid = made.oet.run("quick.py")
        took.append(time.monotonic() - started)
        assert recorder.wait_for_end(uid, 20)["state"] == "COMPLETE"
    assert statistics.median(took) < 1.0, "on a quiet machine 5 ms; a busy one may hold up one or the other"
    sequences = [event["sequence"] for event in recorder.lifecycle()]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert gapless(made.events())


@pytest.mark.long
def test_a_slow_client(made, client):
    client("slow")
    is_as_quick_as_ever(made)


def test_a_client_that_is_stopped(made, client):
    import signal

    process = client("quick")
    suspend(process.pid)
    is_as_quick_as_ever(made)
    process.send_signal(signal.SIGCONT)


def test_clients_that_die_while_subscribed(made, client):
    processes = [client("quick") for _ in range(3)]
    uid = made.oet.ready("quick.py")
    for process in processes:
        process.kill()
    is_as_quick_as_ever(made)
    made.oet.stop(uid)
    # Nothing is on its way to the recorder when the next test clears it.
    assert made.oet.recorder.wait_for_end(uid)["state"] == "STOPPED"


def test_200_subscriptions(made):
    counts = [0] * 200
    proxies = [tango.DeviceProxy(made.oet.url) for _ in range(200)]
    ids = []

    def counter(index: int):
        def note(data) -> None:
            if not data.err and data.attr_value.value and '"COMPLETE"' in data.attr_value.value:
                counts[index] += 1

        return note

    try:
        for index, proxy in enumerate(proxies):
            ids.append(proxy.subscribe_event("lifecycleEvent", tango.EventType.CHANGE_EVENT, counter(index)))
        wait_until(lambda: len(set(counts)) == 1, 10)  # each has got the current value
        until_connected(proxies[-1])
        before = counts[0]
        is_as_quick_as_ever(made, 5)
        wait_until(lambda: counts == [before + 5] * 200, 20, "each subscription has got each event")
    finally:
        for proxy, subscription in zip(proxies, ids, strict=False):
            with contextlib.suppress(tango.DevFailed):
                proxy.unsubscribe_event(subscription)
