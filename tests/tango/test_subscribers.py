"""A subscriber that does not read costs little memory, and gets the newest values when it reads again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from support.processes import suspend
from support.tango_server import Oet
from support.waiting import wait_until

pytestmark = pytest.mark.long

MEGABYTE = 1024 * 1024
_GROWTH = 200 * MEGABYTE  # what may wait for one subscriber is 128 MiB

_CLIENT = """
import sys, tango
proxy = tango.DeviceProxy(sys.argv[1])
newest = {}
def note(data):
    if not data.err:
        newest[data.attr_value.name.lower()] = data.attr_value.value
for name in sys.argv[2:]:
    proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, note)
print("subscribed", flush=True)
for name in sys.stdin:
    print(newest.get(name.strip().lower(), "").replace(chr(10), " "), flush=True)
"""


class Subscriber:
    """A client in a process of its own."""

    def __init__(self, url: str, *attributes: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, url, *attributes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "subscribed"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def newest(self, attribute: str) -> str:
        """Return the value that it has got last."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{attribute}\n")
        self.process.stdin.flush()
        return self._line()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def subscriber() -> Iterator[Callable[..., Subscriber]]:
    """Start subscribers."""
    started: list[Subscriber] = []

    def start(url: str, *attributes: str) -> Subscriber:
        started.append(Subscriber(url, *attributes))
        return started[-1]

    yield start
    for each in started:
        each.end()


def _memory(oet: Oet) -> int:
    return int(oet.server.device_server().memory_info().rss)


def _run(oet: Oet, count: int) -> None:
    for _ in range(count):
        oet.recorder.wait_for_end(oet.run("raises.py", "x" * 50_000))
        oet.recorder.clear()


def test_one_that_is_stopped_costs_little_however_large_the_arguments_are(own_server, subscriber):
    oet = own_server(HistoryLength=60)
    stopped = [subscriber(oet.url, "procedures", "stacktrace", "procedureScripts", "Status") for _ in range(3)]
    _run(oet, 60)
    before = _memory(oet)
    for each in stopped:
        suspend(each.process.pid)
    _run(oet, 60)
    assert _memory(oet) - before < _GROWTH
    for each in stopped:
        each.process.send_signal(signal.SIGCONT)
    _run(oet, 1)
    oet.settle()
    for each in stopped:
        wait_until(lambda each=each: each.newest("procedures") == oet.proxy.procedures, 20, "it has the newest value")


def test_a_large_message_is_pushed_with_its_size_and_script_events_has_the_whole(own_server):
    oet = own_server()
    oet.recorder.wait_for_end(oet.run("flood_pubsub.py", count=1, size=100_000))
    pushed = json.loads(oet.recorder.values("scriptEvent")[-1])
    (kept,) = json.loads(oet.proxy.ScriptEvents(pushed["sequence"] - 1))
    assert kept["kwargs"] == {"number": 1, "text": "x" * 100_000}
    assert pushed["kwargs"] is None
    assert pushed["size"] >= 100_000
    assert {**pushed, "kwargs": kept["kwargs"]} == {**kept, "size": pushed["size"]}


def test_subscribers_that_die_leave_nothing_behind(own_server, subscriber):
    oet = own_server()
    server = oet.server.device_server()
    _run(oet, 3)
    descriptors = server.num_fds()
    dying = [subscriber(oet.url, "procedures", "lifecycleEvent") for _ in range(5)]
    for each in dying:
        suspend(each.process.pid)
    _run(oet, 3)
    for each in dying:
        each.end()
    _run(oet, 3)
    wait_until(lambda: server.num_fds() <= descriptors + 1, 20, "their connections are closed")
