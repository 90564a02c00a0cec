"""What main does for one procedure does not cost what all of them cost; with processes that are a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.modelled import Clock, Kernel, Process

from ska_oet_device.mptools import Frame
from ska_oet_device.procedure.messages import LISTENING, PUBSUB, Broadcast, Load
from ska_oet_device.procedure.script_message import said
from ska_oet_device.procedure.supervision import ScriptSupervisor, _supervisor


class Station:
    """A supervisor, and the processes of its procedures."""

    def __init__(self) -> None:
        self.passed_on: list[tuple[bytes, bool]] = []
        self.has_room = True
        self.kernel = Kernel()
        pool = SimpleNamespace(take=self.kernel.take, note_activity=lambda: None)
        announcer = SimpleNamespace(tell=lambda message: None, announce=lambda announcement: None, pubsub=self._pubsub)
        self.supervisor = ScriptSupervisor(Clock(), self.kernel, pool, announcer)

    def _pubsub(self, frame: bytes, *, waits: bool = True) -> bool:
        self.passed_on.append((frame, waits))
        return self.has_room

    def load(self, device: str, uid: int) -> Any:
        self.supervisor.create(Load(uid, f"{device}-{uid}", {}, "/a.py", [], {}, {}, {}, 5.0, device=device))
        process = list(self.kernel.processes.values())[-1]
        process.calls = []
        for name in ("send", "pause", "resume"):
            setattr(process, name, lambda *_, name=name: process.calls.append(name))
        return process


@pytest.fixture
def station():
    return Station()


MESSAGE = Frame(PUBSUB, said("topic", {"a": 1}, 1.0))


def publish(process: Process) -> None:
    process.on_frame(MESSAGE)


def listen(process: Process) -> None:
    process.on_frame(Frame(LISTENING, b""))


class TestAMessage:
    def test_passes_through_those_alone_who_listen(self, station, monkeypatch):
        speaker, listener, deaf = (station.load("one", uid) for uid in (1, 2, 3))
        elsewhere = station.load("two", 1)
        for process in (speaker, listener, elsewhere):
            listen(process)
            process.calls.clear()
        deaf.calls.clear()
        gone_through = []
        hear = _supervisor.SupervisedScript.hear
        monkeypatch.setattr(ScriptSupervisor, "_all", lambda self: pytest.fail("it goes through all"))
        monkeypatch.setattr(
            _supervisor.SupervisedScript,
            "hear",
            lambda self, data: (gone_through.append(self.key), hear(self, data))[1],
        )
        publish(speaker)
        assert gone_through == [("one", 2)]
        station.supervisor.broadcast(Broadcast(device="one", topic="topic", data={"a": 1}))
        assert listener.calls == ["send", "send"]
        assert speaker.calls == ["send"]
        assert deaf.calls == elsewhere.calls == []

    def test_of_a_script_that_is_ending_may_be_dropped(self, station):
        process = station.load("one", 1)
        publish(process)
        station.supervisor.stop_all("the test says so")
        publish(process)
        assert [waits for _, waits in station.passed_on] == [True, False]


class TestThoseThatWait:
    def test_are_read_again_and_no_others(self, station):
        flooder, other = station.load("one", 1), station.load("one", 2)
        station.has_room = False
        publish(flooder)
        assert flooder.calls[-1] == "pause"
        other.calls.clear()
        station.supervisor.resume_paused()
        station.supervisor.resume_paused()
        assert flooder.calls[-2:] == ["pause", "resume"]
        assert other.calls == []
