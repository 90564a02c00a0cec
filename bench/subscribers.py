"""What subscribers cost: the lag of lifecycle events where summaries are large, and memory for one that was stopped."""

from __future__ import annotations

import json
import time

import tango

from .client import Client
from .figures import Figure, Report, of_samples
from .helpers import Helper
from .stack import Stack

SECTION = "Subscribers"

LAG = "lag of lifecycleEvent, 100 ended procedures of 100 kB arguments, a subscriber of procedures"
STOPPED = "RSS more in the device server, 100 procedures after a subscriber of procedures was stopped"

_ENDED, _ARGUMENTS = 100, 100_000  # procedures; characters of the arguments of each
_STOPPED_ARGUMENTS = 50_000


def measure(report: Report, stack: Stack, *, quick: bool) -> None:
    """Measure both, each on a server of its own."""
    _lag(report, stack, 10 if quick else 50)
    _stopped(report, stack, 100)


def _lag(report: Report, stack: Stack, count: int) -> None:
    """Run scripts when the attributes are full: from the time that an event tells to when it is here."""
    with stack.server(HistoryLength=_ENDED) as running:
        client = Client(running.url)
        _run(client, _ENDED, _ARGUMENTS)
        helper = Helper("watch", running.url, "procedures")
        try:
            helper.wait_until_ready()
            lags: list[float] = []

            def note(data: tango.EventData) -> None:
                now = time.time()
                event = json.loads(data.attr_value.value) if not data.err else {}
                if event:
                    lags.append(now - event["time"])

            subscription = client.proxy.subscribe_event("lifecycleEvent", tango.EventType.CHANGE_EVENT, note)
            lags.clear()  # the first value is an old one
            _run(client, count, _ARGUMENTS)
            client.proxy.unsubscribe_event(subscription)
        finally:
            helper.end()
        client.close()
    report.add(of_samples(SECTION, LAG, lags))


def _stopped(report: Report, stack: Stack, count: int) -> None:
    """Stop a subscriber (SIGSTOP) when the attributes are full, and look at what the device server has grown by."""
    with stack.server(HistoryLength=_ENDED) as running:
        client = Client(running.url)
        _run(client, _ENDED, _STOPPED_ARGUMENTS)
        helper = Helper("watch", running.url, "procedures")
        try:
            helper.wait_until_ready()
            _run(client, _ENDED, _STOPPED_ARGUMENTS)
            server = running.server.device_server()
            before = server.memory_info().rss
            helper.pause()
            _run(client, count, _STOPPED_ARGUMENTS)
            grown = (server.memory_info().rss - before) / 1e6
        finally:
            helper.end()
        client.close()
    report.add(Figure(SECTION, STOPPED, "MB", grown, count=count, note="50 kB arguments"))


def _run(client: Client, count: int, characters: int) -> None:
    for _ in range(count):
        client.wait(client.run("takes.py", text="x" * characters), "COMPLETE", seconds=60)
        client.forget()
