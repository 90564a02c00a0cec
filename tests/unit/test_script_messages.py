"""What scripts publish: numbered, kept, thinned, and never told before the change that it came behind."""

from __future__ import annotations

import json
import random
from typing import NamedTuple

import pytest

from ska_oet_device.errors import InvalidArgumentError
from ska_oet_device.mptools import dumps
from ska_oet_device.procedure.script_message import Data
from ska_oet_device.procedure.ui import _script_messages
from ska_oet_device.procedure.ui._devstring import LARGEST_EVENT
from ska_oet_device.procedure.ui._script_messages import BURST, TOKEN_BYTES, ScriptMessages, Thinner

MEGABYTE = 1024 * 1024


class Item(NamedTuple):
    number: int
    process_uid: int = 1
    after: int = 0
    size: int = 10


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def thinner(clock):
    return Thinner(clock)


def taken(thinner: Thinner[Item], told: int = 0) -> list[tuple[int, int]]:
    """Take all that there is now: its number, and how many were skipped for it."""
    found = []
    while (item := thinner.take(told)) is not None:
        found.append((item[0].number, item[1]))
    return found


class TestThinner:
    @pytest.mark.parametrize("count", [1, 2, 3, BURST])
    def test_a_burst_goes_through_whole(self, thinner, count):
        for number in range(count):
            thinner.put(Item(number))
        assert taken(thinner) == [(number, 0) for number in range(count)]

    def test_behind_a_burst_the_newest_waits_for_a_token_and_tells_how_many_it_stands_for(self, thinner, clock):
        for number in range(BURST + 50):
            thinner.put(Item(number))
        assert taken(thinner) == [(number, 0) for number in range(BURST)]
        assert thinner.due(0) == pytest.approx(1 / BURST)
        clock.now += 1.01 / BURST
        assert taken(thinner) == [(BURST + 49, 49)]
        assert thinner.due(0) is None

    def test_at_the_rate_of_new_tokens_nothing_is_ever_skipped(self, thinner, clock):
        chance = random.Random(1)
        found = []
        for number in range(5 * BURST):
            clock.now += chance.uniform(0, 2) / BURST * 1.01
            thinner.put(Item(number))
            found += taken(thinner)
        clock.now += 1
        found += taken(thinner)
        assert found == [(number, 0) for number in range(5 * BURST)]

    @pytest.mark.parametrize("seed", range(10))
    def test_everything_is_pushed_or_counted_in_order_and_no_faster_than_promised(self, thinner, clock, seed):
        chance = random.Random(seed)
        began, number, found = clock.now, 0, []
        for _ in range(3000):
            clock.now += chance.choice([0.0, 0.00001, 0.001, 0.02])
            for _ in range(chance.choice([0, 1, 1, 2, 30])):
                thinner.put(Item(number))
                number += 1
            if chance.random() < 0.5:
                found += taken(thinner)
        clock.now += 5
        found += taken(thinner)
        expected = -1
        for shown, skipped in found:
            expected += 1 + skipped
            assert shown == expected
        assert expected == number - 1
        assert len(found) <= BURST + (clock.now - began) * BURST

    def test_whoever_pushes_is_woken_for_the_first_thing_only(self, thinner):
        woken = [thinner.put(Item(number)) for number in range(BURST + 3)]
        assert woken == [True] + [False] * (BURST + 2)
        taken(thinner)
        assert thinner.due(0) is not None  # what stands at the door has its time, and needs nobody to wake
        assert thinner.put(Item(0)) is False

    def test_who_pushes_nothing_for_long_does_not_gather_without_end(self, thinner, clock):
        for number in range(20_000):
            clock.now += 1 / BURST
            thinner.put(Item(number))
        found = taken(thinner)
        assert len(found) == _script_messages._MOST_READY + 1
        assert sum(1 + skipped for _, skipped in found) == 20_000
        assert found[-1][0] == 19_999

    def test_large_things_do_not_gather_without_end(self, thinner, clock):
        for number in range(100):
            clock.now += 1
            thinner.put(Item(number, size=4 * MEGABYTE))
        assert len(taken(thinner)) <= 6

    @pytest.mark.parametrize(("tokens", "count"), [(2, 100), (4, 50), (5, 40), (20, 40)])
    def test_large_things_take_more_tokens_five_at_most(self, thinner, tokens, count):
        for number in range(BURST):
            thinner.put(Item(number, size=(tokens - 1) * TOKEN_BYTES))
        assert len(taken(thinner)) == count

    def test_nothing_is_pushed_before_the_change_that_it_came_behind(self, thinner):
        thinner.put(Item(1, after=7))
        thinner.put(Item(2, after=7))
        assert taken(thinner, told=6) == []
        assert thinner.due(6) is None
        assert thinner.due(7) == 0.0
        assert taken(thinner, told=7) == [(1, 0), (2, 0)]

    def test_what_came_before_a_change_is_pushed_before_it_whoever_stands_in_front(self, thinner):
        for number, uid in enumerate((1, 2, 1, 2)):
            thinner.put(Item(number, uid, after=uid))
        thinner.put(Item(4, 1, after=9))  # the change itself, and what comes behind it
        assert thinner.count_before(1, 9) == 3
        assert thinner.count_before(2, 9) == 4
        assert thinner.count_before(3, 9) == 0

    def test_what_stands_at_the_door_is_let_in_before_the_change_behind_it(self, thinner, clock):
        for number in range(BURST + 5):
            thinner.put(Item(number, after=3))
        assert len(taken(thinner, told=3)) == BURST
        assert thinner.count_before(1, 4) == 1
        assert taken(thinner, told=3) == [(BURST + 4, 4)]
        thinner.put(Item(999, after=4))
        clock.now += 1.1 / BURST  # it pays for the one that did not wait
        assert taken(thinner, told=4) == []
        clock.now += 1.0 / BURST
        assert taken(thinner, told=4) == [(999, 0)]


def published(messages: ScriptMessages, count: int, **data: object) -> list[int]:
    """Publish `count` messages, and return their numbers."""
    first = messages._sequence + 1
    for number in range(count):
        messages.put(1, 0, "a.topic", {"number": number, **data}, 1.5, b"")
    return list(range(first, first + count))


class TestScriptMessages:
    @pytest.fixture(autouse=True)
    def _unhurried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have no answer end for the time that it takes, which another process may have taken."""
        monkeypatch.setattr(_script_messages, "_ANSWER_TIME", 60.0)

    def test_are_numbered_without_gaps_whether_they_are_pushed_or_not(self):
        messages = ScriptMessages()
        numbers = published(messages, 3 * BURST)
        told = json.loads(messages.after(0))
        assert [each["sequence"] for each in told] == numbers
        assert told[0] == {
            "sequence": numbers[0],
            "process_uid": 1,
            "topic": "a.topic",
            "kwargs": {"number": 0},
            "time": 1.5,
            "skipped": 0,
        }

    def test_there_are_none_before_the_first(self):
        assert json.loads(ScriptMessages().after(0)) == []

    def test_those_after_a_number_are_told(self):
        messages = ScriptMessages()
        numbers = published(messages, 5)
        assert [each["sequence"] for each in json.loads(messages.after(numbers[2]))] == numbers[3:]
        assert json.loads(messages.after(numbers[-1])) == []

    def test_at_most_a_thousand_are_told_and_the_newest_ten_thousand_are_kept(self):
        messages = ScriptMessages()
        numbers = published(messages, 10_500)
        found: list[int] = []
        while page := json.loads(messages.after(found[-1] if found else 0)):
            assert len(page) <= 1000
            found += [each["sequence"] for each in page]
        assert found == numbers[-10_000:]

    def test_a_number_that_was_never_given_is_an_earlier_servers(self):
        messages = ScriptMessages()
        numbers = published(messages, 2)
        assert [each["sequence"] for each in json.loads(messages.after(2**62))] == numbers

    def test_a_negative_number_is_refused(self):
        with pytest.raises(InvalidArgumentError, match="-1"):
            ScriptMessages().after(-1)

    def test_the_numbers_of_a_later_server_are_higher(self):
        first = ScriptMessages()
        numbers = published(first, 1000)
        assert published(ScriptMessages(), 1)[0] > numbers[-1]

    def test_large_ones_do_not_gather_without_end(self):
        messages = ScriptMessages()
        published(messages, 100, text="x" * MEGABYTE)
        assert messages._kept_bytes <= _script_messages._MOST_KEPT_BYTES
        assert sum(len(message.payload) for message in messages._kept) == messages._kept_bytes
        assert 20 < len(messages._kept) < 40
        messages.put(1, 0, "a.topic", {}, 1.0, b"x" * 60 * MEGABYTE)
        assert len(messages._kept) == 1

    def test_an_answer_is_bounded_in_size_and_tells_one_at_least(self):
        messages = ScriptMessages()
        numbers = published(messages, 20, text="x" * 300_000)
        answer = messages.after(0)
        assert len(answer) < 1.1 * MEGABYTE
        assert [each["sequence"] for each in json.loads(answer)] == numbers[:3]

    @pytest.mark.parametrize("data", [{"raw": b"\xff" * 900_000}, {"text": "x" * 5 * MEGABYTE}], ids=["JSON", "bytes"])
    def test_one_that_is_too_large_is_told_without_what_it_carries(self, data):
        messages = ScriptMessages()
        published(messages, 1, **data)
        (told,) = json.loads(messages.after(0))
        assert told["kwargs"] is None
        assert told["topic"] == "a.topic"

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            ({"a": "ä", "b": [1, 2.5, None, True]}, {"a": "ä", "b": [1, 2.5, None, True]}),
            ({"a": (1, [2])}, {"a": [1, [2]]}),
            ({"a": b"x"}, {"a": "b'x'"}),
            ({"a": float("nan"), "b": -float("inf")}, {"a": "nan", "b": "-inf"}),
            ({"a": {"!": [1]}}, {"a": {"!": [1]}}),
            ({"a": "NaN"}, {"a": "NaN"}),
            ({"a": {1: "x"}}, {"a": {"1": "x"}}),
        ],
        ids=repr,
    )
    def test_carry_what_json_can_say_of_it(self, data, told):
        messages = ScriptMessages()
        payload = dumps(data)
        messages.put(1, 0, "t", Data(payload), 1.0, payload)
        messages.put(1, 0, "t", data, 1.0, b"")
        assert [each["kwargs"] for each in json.loads(messages.after(0))] == [told, told]

    @pytest.mark.parametrize("payload", [b"{", b"[1]", b"5", b"null", b'{"!":[1]}', b'{"a":1}}', b"x" * 100, b"\xff"])
    def test_that_a_script_has_written_itself_are_told_without_what_they_carry(self, payload):
        messages = ScriptMessages()
        messages.put(1, 0, "t", Data(payload), 1.0, payload)
        (told,) = json.loads(messages.after(0))
        assert told["kwargs"] is None

    def test_one_of_more_lists_than_are_read_in_no_time_is_told_without_them(self):
        messages = ScriptMessages()
        for count in (45_000, 349_000):
            payload = b'{"a":[' + b"[]," * count + b"0]}"
            messages.put(1, 0, "t", Data(payload), 1.0, payload)
        few = json.loads(messages.after(0))[0]  # an answer ends when it has taken long
        (many,) = json.loads(messages.after(few["sequence"]))
        assert len(few["kwargs"]["a"]) == 45_001
        assert many["kwargs"] is None

    @pytest.mark.parametrize(("length", "whole"), [(60_000, True), (70_000, False), (900_000, False)])
    def test_an_event_is_small_and_tells_the_size_of_what_it_leaves_out(self, length, whole):
        messages = ScriptMessages()
        published(messages, 1, text="x" * length)
        message, skipped = messages.waiting.take(0)
        text = _script_messages.pushed_json(message, skipped)
        told, (kept,) = json.loads(text), json.loads(messages.after(0))
        assert len(text) <= LARGEST_EVENT
        assert kept["kwargs"]["text"] == "x" * length
        assert told == (kept if whole else {**kept, "kwargs": None, "size": len(message.payload)})
