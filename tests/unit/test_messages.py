"""The messages that cross pipes, the journal that keeps them, and the history in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.mptools import Channel, FrameReader, NotPlainError, dumps
from ska_oet_device.procedure import messages
from ska_oet_device.procedure.domain import ProcedureState
from ska_oet_device.procedure.history import MemoryHistory
from ska_oet_device.procedure.supervision._journal import _CONGESTED, Journal

VALUES = {
    "str": st.text(),
    "int": st.integers(),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "ProcedureState": st.sampled_from(ProcedureState),
    "Plain": st.dictionaries(st.text(), st.integers()),
    "list[str]": st.lists(st.text()),
    "dict[str, float]": st.dictionaries(st.text(), st.floats(allow_nan=False)),
    "list[Plain]": st.lists(st.dictionaries(st.text(), st.integers())),
}


def any_message(cls: type) -> st.SearchStrategy:
    def strategy(name: str) -> st.SearchStrategy:
        return st.none() | VALUES[name[: -len(" | None")]] if name.endswith(" | None") else VALUES[name]

    return st.builds(cls, **{field.name: strategy(field.type) for field in dataclasses.fields(cls)})


KINDS = list(messages._BY_NAME.values())


def opened(frame: bytes) -> object:
    (found,) = FrameReader().feed(frame)
    assert found.tag == messages.CONTROL
    return messages.from_payload(found.payload)


class TestMessages:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    @given(data=st.data())
    def test_every_message_survives_the_pipe(self, kind, data):
        message = data.draw(any_message(kind))
        arrived = opened(messages.to_frame(message))
        assert arrived == message
        assert type(arrived) is kind

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    def test_every_message_is_frozen(self, kind):
        assert kind.__dataclass_params__.frozen

    def test_what_a_worker_tells_itself_does_not_cross_a_pipe(self):
        assert messages.UserFnComplete not in KINDS
        assert messages.UserFnFailed not in KINDS

    @pytest.mark.parametrize(
        "value",
        [None, 3, "Load", (), ("Load",), ("Load", []), ("Load", [1] * 99), ("NoSuch", []), ([], []), ("Ping", 3)],
        ids=repr,
    )
    def test_what_is_no_message_is_refused(self, value):
        with pytest.raises(NotPlainError):
            messages.from_payload(dumps(value))

    @given(st.binary(max_size=100))
    def test_arbitrary_bytes_are_a_message_or_refused(self, payload):
        with contextlib.suppress(NotPlainError):
            messages.from_payload(payload)


class Reader:
    """The device server's end, as a journal needs it."""

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair()
        self.channel, self._reading = Channel(ours), Channel(self._theirs)
        self.flushed = 0

    def after_send(self) -> None:
        self.flushed += 1

    def heard(self) -> list[object]:
        return [messages.from_payload(frame.payload) for frame in self._reading.drain()]

    def close(self) -> None:
        self.channel.close()
        self._theirs.close()


@pytest.fixture
def new_reader():
    made: list[Reader] = []

    def new() -> Reader:
        made.append(Reader())
        return made[-1]

    yield new
    for reader in made:
        reader.close()


DEVICE = "mid-oet/subarray/01"


def change(state: ProcedureState, time: float) -> messages.LifecycleMessage:
    return messages.LifecycleMessage(3, state, DEVICE, time)


CAUGHT_UP = "caught up"


def numbers(heard: list[object]) -> list[object]:
    """The numbers of what was announced, and where the journal said that all of it had been told."""
    return [CAUGHT_UP if message == messages.CaughtUp() else message.number for message in heard]


class TestJournal:
    def test_numbers_what_it_announces_and_sends_it_at_once(self, new_reader):
        journal, reader = Journal(), new_reader()
        journal.connect(reader.channel, reader.after_send)
        journal.announce(ready := change(ProcedureState.READY, 1.5))
        journal.announce(loaded := messages.ProvenanceMessage(3, {"path": "/a.py"}, DEVICE))
        assert reader.heard() == [
            messages.CaughtUp(),
            dataclasses.replace(ready, number=1),
            dataclasses.replace(loaded, number=2),
        ]
        assert reader.flushed == 3

    def test_keeps_what_nobody_hears_and_tells_it_later(self, new_reader):
        journal, reader = Journal(), new_reader()
        for _ in range(3):
            journal.announce(change(ProcedureState.READY, 1.0))
        journal.connect(reader.channel, reader.after_send)
        assert numbers(reader.heard()) == [1, 2, 3, CAUGHT_UP]

    @given(acknowledged=st.integers(-1, 12))
    def test_tells_a_new_reader_what_was_not_acknowledged(self, acknowledged):
        journal, reader = Journal(), Reader()
        for _ in range(10):
            journal.announce(change(ProcedureState.READY, 1.0))
        journal.acknowledge(acknowledged)
        journal.acknowledge(acknowledged)
        journal.connect(reader.channel, reader.after_send)
        assert numbers(reader.heard()) == [*range(max(acknowledged, 0) + 1, 11), CAUGHT_UP]
        journal.announce(change(ProcedureState.READY, 1.0))
        assert numbers(reader.heard()) == [11]
        reader.close()

    def test_tells_again_after_a_reader_was_lost(self, new_reader):
        journal, first, second = Journal(), new_reader(), new_reader()
        journal.connect(first.channel, first.after_send)
        journal.announce(change(ProcedureState.IDLE, 1.0))
        journal.disconnect()
        journal.announce(change(ProcedureState.READY, 2.0))
        journal.connect(second.channel, second.after_send)
        assert numbers(first.heard()) == [CAUGHT_UP, 1]
        assert numbers(second.heard()) == [1, 2, CAUGHT_UP]

    def test_does_not_keep_what_need_not_be_kept(self, new_reader):
        journal, reader = Journal(), new_reader()
        journal.send(messages.to_frame(messages.Pong(1)))
        assert journal.pubsub(b"nobody listens") is True
        journal.connect(reader.channel, reader.after_send)
        assert reader.heard() == [messages.CaughtUp()]

    def test_says_when_the_reader_is_too_slow_and_when_that_is_over(self, new_reader):
        journal, reader = Journal(), new_reader()
        journal.connect(reader.channel, reader.after_send)
        frame = messages.to_frame(messages.PubSub("a", {"b": "x" * 100_000}))
        sent = 0
        while journal.pubsub(frame):
            sent += len(frame)
            assert sent < 2 * _CONGESTED
        assert journal.congested
        while journal.congested:
            reader.heard()
            reader.channel.flush()
        assert journal.pubsub(frame) is True
        journal.disconnect()
        assert not journal.congested

    def test_keeps_little_of_scripts_that_do_not_wait_and_all_of_those_that_do(self, new_reader):
        # What comes behind it, whether a state or the question whether the reader lives, waits for so much.
        journal, reader = Journal(), new_reader()
        journal.connect(reader.channel, reader.after_send)
        frame = messages.to_frame(messages.PubSub("a", {"b": "x" * 10_000}))
        for _ in range(1000):
            journal.pubsub(frame, waits=False)
        assert reader.channel.pending < 1_100_000
        before = reader.channel.pending
        for _ in range(10):
            assert journal.pubsub(frame) is False
        assert reader.channel.pending == before + 10 * len(frame)


def record(history: MemoryHistory, count: int) -> None:
    for number in range(count):
        event = history.next_event(number, "run", None, ProcedureState.CREATING, 1.0, None)
        history.keep(event, {}, lambda: None)


class TestMemoryHistory:
    def test_gives_ids_that_count_up(self):
        history = MemoryHistory()
        assert [history.next_id() for _ in range(3)] == [1, 2, 3]

    def test_numbers_events_without_gaps(self):
        history = MemoryHistory()
        assert history.last_sequence == 0
        record(history, 5)
        assert history.last_sequence == 5
        assert [event.sequence for event in history.events_after(0, 100)] == [1, 2, 3, 4, 5]

    def test_returns_what_was_recorded(self):
        history = MemoryHistory()
        event = history.next_event(3, "run", ProcedureState.READY, ProcedureState.RUNNING, 2.5, "why")
        assert history.events_after(0, 1) == []
        told: list[str] = []
        history.keep(event, {}, lambda: told.append("then"))
        assert told == ["then"]
        assert history.events_after(0, 1) == [event]
        assert dataclasses.astuple(event) == (1, 3, "run", ProcedureState.READY, ProcedureState.RUNNING, 2.5, "why")

    @given(count=st.integers(0, 40), after=st.integers(0, 50), limit=st.integers(0, 50))
    def test_returns_the_events_after_a_number_oldest_first_up_to_the_limit(self, count, after, limit):
        history = MemoryHistory()
        record(history, count)
        expected = list(range(after + 1, count + 1))[:limit]
        assert [event.sequence for event in history.events_after(after, limit)] == expected

    def test_forgets_the_oldest_beyond_its_limit(self, monkeypatch):
        monkeypatch.setattr("ska_oet_device.procedure.history._memory.EVENTS_KEPT", 10)
        history = MemoryHistory()
        record(history, 25)
        assert [event.sequence for event in history.events_after(0, 100)] == list(range(16, 26))
        assert [event.sequence for event in history.events_after(20, 2)] == [21, 22]
        assert history.last_sequence == 25
