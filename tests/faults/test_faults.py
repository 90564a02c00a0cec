"""Kill -9 and SIGSTOP at random moments, under load; then: is everything that was said true?

A round: start a server if there is none; a load of scripts begins, ends, fails and is stopped by
three clients; meanwhile one of the processes is killed or stopped for a while.  After the last
round everything that clients saw is compared with the history.  The same seed gives the same
choices; the moments are the machine's.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango
from support.connection import until_connected
from support.durable import Station, gapless, python_with
from support.tango_server import TERMINAL, Database, subscription_terms
from support.waiting import wait_until

from ska_oet_device.client._publisher import forget_former

_SCRIPTS = {
    "quick.py": "def main(*args):\n    print('done')\n",
    "fails.py": "def main(*args):\n    raise ValueError('as it should')\n",
    "waits.py": "import time\ndef main(seconds=60.0):\n    time.sleep(seconds)\n",
    "leaves.py": "import subprocess\ndef main():\n    subprocess.Popen(['sleep', '60'], start_new_session=True)\n",
}
_FAULTS = (
    "worker",
    "device server",
    "device server",
    "main",
    "database",
    "stop main",
    "stop device server",
    "stop worker",
    "stop template",
    "template",
)


# A proxy that cannot ask for the list of commands has no attribute of a command's name.
_NOT_SERVED = (tango.DevFailed, AttributeError)


class Load:
    """Clients that prepare, start and stop scripts as fast as they are served, and expect failures."""

    def __init__(self, station: Station, seed: int) -> None:
        self._station = station
        self._chance = random.Random(seed)
        self._end = threading.Event()
        self.accepted: dict[int, str] = {}
        self.unexpected: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(self._chance.random(),)) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _run(self, seed: float) -> None:
        chance = random.Random(seed)
        with tango.EnsureOmniThread():
            proxy = tango.DeviceProxy(self._station.oet.url)
            while not self._end.is_set():
                try:
                    self._once(proxy, chance)
                except _NOT_SERVED:
                    self._end.wait(0.05)  # busy, or somebody has just been killed
                except BaseException as error:
                    self.unexpected.append(error)
                    return

    def _once(self, proxy: tango.DeviceProxy, chance: random.Random) -> None:
        script = chance.choice(list(_SCRIPTS))
        uid = json.loads(proxy.Run(f"file://{script}"))["id"]
        self.accepted[uid] = script
        self._end.wait(chance.uniform(0.0, 0.1))
        while not self._end.is_set():  # nobody else stops it, or starts it when its start was dropped
            with contextlib.suppress(*_NOT_SERVED):
                proxy.Stop(str(uid))
                return
            self._end.wait(0.05)

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.unexpected == []


class Faults:
    """Does what the name of a fault says; remembers when main was killed."""

    def __init__(self, station: Station, database: Database, chance: random.Random) -> None:
        self._station = station
        self._database = database
        self._chance = chance
        self.mains_killed = 0

    def do(self, fault: str) -> None:
        server = self._station.server
        if fault == "worker":
            self._kill(server.workers())
        elif fault == "device server":
            self._kill([server.device_server()])
        elif fault == "template":
            self._kill([server.template()])
        elif fault == "database":
            self._database.kill_and_start_again()
        elif fault == "main":
            self.mains_killed += 1
            self._station.kill_main()
            self._station.start()
        elif fault == "stop main":
            self._pause([server.process])
        elif fault == "stop device server":
            self._pause([server.device_server()])
        elif fault == "stop template":
            self._pause([server.template()])
        else:
            self._pause(server.workers())

    def _kill(self, processes: list[psutil.Process]) -> None:
        if processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._chance.choice(processes).kill()

    def _pause(self, processes: list[psutil.Process]) -> None:
        if not processes:
            return
        process = self._chance.choice(processes)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
            time.sleep(self._chance.uniform(0.1, 1.0))  # the fault itself, and not a wait for something
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


class Witness:
    """A client that subscribes to lifecycleEvent, and remembers everything it was ever told."""

    def __init__(self, url: str) -> None:
        self.told: list[dict[str, Any]] = []
        self._proxy = tango.DeviceProxy(url)
        try:
            forget_former(self._proxy, "lifecycleEvent")
            self._id = self._proxy.subscribe_event("lifecycleEvent", tango.EventType.CHANGE_EVENT, self._note)
        except tango.DevFailed as failure:
            terms = subscription_terms(self._proxy, "lifecycleEvent")
            raise AssertionError(f"the server says {terms}") from failure
        until_connected(self._proxy)

    def _note(self, data: Any) -> None:
        event = json.loads(data.attr_value.value) if not data.err else {}
        if event:
            self.told.append(event)

    def close(self) -> None:
        with contextlib.suppress(*_NOT_SERVED):
            self._proxy.unsubscribe_event(self._id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name, text in _SCRIPTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def station(database: Database, folder: Path, tmp_path: Path) -> Iterator[Station]:
    properties = {"ScriptRoots": [folder], "HistoryLength": 100_000, "MaxProcedures": 20, "StopGracePeriod": 2}
    station = Station(database, "faults", tmp_path / "station", properties)
    try:
        # Each of the many crashes counts as the first: a crash loop is another test's subject.
        station.start(python_with("keeper._STABLE_AFTER = 0.0"))
        yield station
    finally:
        station.clean_up()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_lost_and_everything_said_is_true(station, database, rounds, seed, capsys):
    chance = random.Random(seed)
    faults = Faults(station, database, chance)
    witness = Witness(station.oet.url)
    load = Load(station, seed)
    order = [_FAULTS[number % len(_FAULTS)] for number in range(rounds)]
    chance.shuffle(order)
    try:
        for number, fault in enumerate(order):
            time.sleep(chance.uniform(0.2, 1.0))  # the random moment
            with capsys.disabled():
                print(f"\nround {number + 1}: {fault}", end="", flush=True)
            faults.do(fault)
            _serves(station, f"after round {number + 1} ({fault})")
    finally:
        load.end()
    summaries = _all_end(station)
    _every_end_is_true(summaries, load, order)
    events = station.events()
    assert gapless(events)
    _lifecycles_are_whole(events, summaries)
    restarts = order.count("device server") + order.count("main")
    _what_was_told_is_in_the_history(witness.told, events, subscriptions=1 + restarts)
    witness.close()
    assert station.server.stop() == 0  # and no process is left
    with capsys.disabled():
        print(f"\n{len(summaries)} procedures, {len(events)} events, {len(witness.told)} told; {order}")


def _serves(station: Station, when: str) -> None:
    """Wait until a script can be run again."""

    def runs() -> bool:
        with contextlib.suppress(*_NOT_SERVED):
            station.oet.stop(station.oet.prepare("quick.py"))
            return True
        return False

    wait_until(runs, 40, f"{when} a script can be prepared; {station.server.log_text()[-2000:]}")


def _all_end(station: Station) -> dict[int, dict[str, Any]]:
    def ended() -> dict[int, dict[str, Any]] | None:
        with contextlib.suppress(*_NOT_SERVED):
            summaries = station.oet.summaries()
            for summary in summaries:
                if summary["state"] not in TERMINAL:
                    station.oet.stop(summary["id"])
            if all(summary["state"] in TERMINAL for summary in summaries):
                return {summary["id"]: summary for summary in summaries}
        return None

    return wait_until(ended, 40, "every procedure has ended")


def _every_end_is_true(summaries: dict[int, dict[str, Any]], load: Load, order: list[str]) -> None:
    assert set(load.accepted) <= set(summaries), "what was accepted is known"
    assert sorted(summaries) == list(range(1, len(summaries) + 1)), "ids count up without gaps"
    for uid, summary in summaries.items():
        state, reason = summary["state"], summary["history"]["exit"]["reason"]
        assert state != "UNKNOWN", summary
        assert summary["os_pid"] is None
        if state == "COMPLETE":
            assert load.accepted.get(uid, "quick.py") in ("quick.py", "leaves.py"), summary
            assert summary["history"]["exit"]["exit_code"] == 0
        elif state == "FAILED" and "ValueError" not in reason:
            # Then it was one of our faults, and nothing else.
            faults = {"server restarted": "main", "SIGKILL": "worker"}
            assert any(
                text in reason and (fault in order or "device server" in order) for text, fault in faults.items()
            ), summary


def _lifecycles_are_whole(events: list[dict[str, Any]], summaries: dict[int, dict[str, Any]]) -> None:
    for uid, summary in summaries.items():
        own = [event for event in events if event["process_uid"] == uid]
        states = [event["state"] for event in own]
        assert [event["previous"] for event in own] == [None, *states[:-1]], own
        assert states == [state for state, _ in summary["history"]["process_states"]]
        assert [state for state in states if state in TERMINAL] == states[-1:]


def _what_was_told_is_in_the_history(
    told: list[dict[str, Any]], events: list[dict[str, Any]], subscriptions: int
) -> None:
    """Each pushed event was told once, and in order.

    With each new subscription Tango's client also reads the current value, in another thread than
    the one that delivers the pushed ones: that copy may come before older ones, or a second time.
    """
    by_number = {event["sequence"]: event for event in events}
    for event in told:
        assert by_number[event["sequence"]] == event
    lowest_later = 2**63
    copies = []
    for event in reversed(told):
        if event["sequence"] >= lowest_later:
            copies.append(event["sequence"])
        else:
            lowest_later = event["sequence"]
    assert len(copies) <= subscriptions, (copies, [event["sequence"] for event in told])
