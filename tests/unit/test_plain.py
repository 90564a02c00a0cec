"""Plain data in, plain data out."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import math
import os
import pathlib
import pickle
import time
import tracemalloc
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.mptools import NotPlainError, TooLargeError, dumps, loads

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
)
HASHABLE = st.recursive(ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
PLAIN = st.recursive(
    ATOMS | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=3)
    ),
    max_leaves=20,
)


class Receiver(enum.Enum):
    SKA001 = "ska001"
    ODD = object()


class Band(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass(frozen=True)
class Target:
    name: str
    coordinates: tuple[float, float]


class Model(pydantic.BaseModel):
    name: str


class LikeAnArray:
    def tolist(self) -> list[int]:
        return [1, 2]


class MyString(str):
    __slots__ = ()


class MyList(list):
    pass


class MyDict(dict):
    pass


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("hostile")


class HostileText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("hostile")


def sent(value: Any) -> Any:
    return loads(dumps(value))


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


class TestWhatIsPlain:
    @given(PLAIN)
    def test_arrives_as_it_was_sent(self, value):
        arrived = sent(value)
        assert arrived == value
        assert type(arrived) is type(value)

    def test_nan_arrives_too(self):
        assert math.isnan(sent(math.nan))
        assert math.isnan(sent({"a": [1, (math.nan,)]})["a"][1][0])

    @pytest.mark.parametrize(
        "value",
        [
            {"!": [1]},
            {"!bytes": "0001"},
            {"!dict": [[1, 2]]},
            {"!no such mark": 1},
            {"!": 1, "a": 2},
            {"": 1},
            {"a": {"!": []}},
            {1: "a", "1": "b"},
            {None: 1, True: 2, (1, "a"): 3},
            "!",
            ['{"!": 1}'],
        ],
        ids=repr,
    )
    def test_what_looks_like_a_mark_is_none(self, value):
        assert same(sent(value), value)

    @pytest.mark.parametrize(
        "value", [10**5000, -(2**20_000), [1, 10**5000], {"a": {"b": 10**4400}}], ids=["", "", "", ""]
    )
    def test_integers_of_thousands_of_digits_arrive(self, value):
        assert sent(value) == value

    def test_what_is_shared_arrives_as_many_times_as_it_is_named(self):
        shared = [1]
        arrived = sent([shared, shared])
        assert arrived == [[1], [1]]
        assert arrived[0] is not arrived[1]

    @pytest.mark.parametrize("levels", [100, 190])
    def test_what_nests_no_deeper_than_clients_may_ask_for_arrives(self, levels):
        nested: Any = 1
        for _ in range(levels):
            nested = (nested,)
        assert sent(nested) == nested


class TestWhatIsNotPlain:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (Receiver.SKA001, "ska001"),
            (Receiver.ODD, "ODD"),
            (Band.ONE, 1),
            (Target("M31", (1.0, 2.0)), {"name": "M31", "coordinates": (1.0, 2.0)}),
            (MyString("text"), "text"),
            (MyList([1]), [1]),
            (MyDict(a=MyList([Band.ONE])), {"a": [1]}),
            (pathlib.PurePosixPath("/a/b"), "/a/b"),
            (datetime.date(2026, 11, 22), "2026-11-22"),
            (LikeAnArray(), [1, 2]),
            (Model(name="M31"), {"name": "M31"}),
            ([Target("M31", (0, 0))], [{"name": "M31", "coordinates": (0, 0)}]),
            ({Receiver.SKA001: Band.ONE}, {"ska001": 1}),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_becomes_what_stands_for_it(self, value, expected):
        assert same(sent(value), expected)

    def test_an_unknown_object_becomes_a_piece_of_its_repr(self):
        arrived = sent(object())
        assert arrived.startswith("<object object at")
        assert len(sent(type("Long", (), {"__repr__": lambda self: "x" * 100_000})())) == 10_000

    @pytest.mark.parametrize(
        "value", [len, Target, lambda: None, contextlib, ValueError("why")], ids=lambda each: type(each).__name__
    )
    def test_functions_classes_and_modules_become_text(self, value):
        assert isinstance(sent(value), str)

    def test_an_object_that_cannot_be_shown_travels_all_the_same(self):
        assert "Unshowable" in sent({"a": Unshowable()})["a"]

    def test_text_with_a_will_of_its_own_travels_all_the_same(self):
        assert isinstance(sent(HostileText("a")), str)

    def test_other_keys_than_text_become_what_stands_for_them(self):
        assert sent({Band.ONE: 1, MyString("a"): 2, datetime.date(2026, 11, 22): 3}) == {1: 1, "a": 2, "2026-11-22": 3}

    def test_what_could_not_be_read_again_is_refused_where_it_is_sent(self):
        # A dataclass becomes a dictionary, and a dictionary cannot be in a set or be a key.
        for value in ({Target("M31", (0, 0))}, {Target("M31", (0, 0)): 1}):
            with pytest.raises(NotPlainError):
                dumps(value)

    def test_what_nests_without_end_is_refused_where_it_is_sent(self):
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        with pytest.raises(NotPlainError, match="deeply"):
            dumps(nested)

    def test_a_circle_is_refused_where_it_is_sent(self):
        circle: list[Any] = []
        circle.append(circle)
        with pytest.raises(NotPlainError, match="deeply"):
            dumps(circle)
        with pytest.raises(NotPlainError):
            dumps({"a": circle}, 1_000_000)

    @given(
        st.recursive(ATOMS | st.sampled_from([Receiver.SKA001, Band.ONE]), lambda inner: st.lists(inner, max_size=3))
    )
    def test_is_plain_after_the_first_journey(self, value):
        once = sent(value)
        assert same(sent(once), once)


def exploding(levels: int, leaf: Any) -> Any:
    """Return some hundred bytes that stand for a value without end."""
    value = [leaf]
    for _ in range(levels):
        value = [value, value]
    return value


def endless(kind: str) -> Any:
    """Return what says of itself that it is large, in one of the ways in which values are made plain."""
    large = exploding(36, 1)
    return type("Large", (), {kind: lambda self: large})()


MEGABYTE = 1024 * 1024


class TestWhatIsTooLarge:
    @pytest.mark.parametrize(
        "value",
        [
            exploding(36, 1),
            exploding(36, math.nan),
            exploding(36, "text"),
            exploding(300, b"x"),
            {"a": {"b": (exploding(60, ()),)}},
            ["x" * 1000] * 10**6,
            [b"x" * 1000] * 10**6,
            dict.fromkeys(range(10**6)),
            {str(number): None for number in range(10**6)},
            list(range(10**6)),
            "x" * 2 * MEGABYTE,
            "\x00" * MEGABYTE,  # one character, six of JSON
            bytes(MEGABYTE),
            endless("tolist"),
            endless("isoformat"),
            endless("model_dump"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_is_refused_where_it_is_sent_in_no_time(self, value):
        began = time.monotonic()
        with pytest.raises(TooLargeError):
            dumps(value, MEGABYTE)
        assert time.monotonic() - began < 10  # some tenths; without a bound nobody would live to see it

    @pytest.mark.parametrize("leaf", [1, math.nan, b"x"])
    def test_takes_no_more_memory_than_some_times_what_is_allowed(self, leaf):
        value = exploding(36, leaf)
        tracemalloc.start()
        try:
            with pytest.raises(TooLargeError):
                dumps(value, 50_000)
            assert tracemalloc.get_traced_memory()[1] < 100 * 50_000
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        "value",
        [
            {"text": "é" * 20 * MEGABYTE},
            {"é" * 20 * MEGABYTE: 1},
            {str(number): "é" * MEGABYTE for number in range(50)},
            dict.fromkeys(map(str, range(10_000)), 10**4000),
            [10**4000] * 10_000,
            [-(10**4000)] * 10_000,
        ],
        ids=["text", "key", "texts", "integers", "list of integers", "list of negative integers"],
    )
    def test_is_counted_before_it_is_written(self, value):
        tracemalloc.start()
        try:
            with pytest.raises(TooLargeError):
                dumps(value, MEGABYTE)
            assert tracemalloc.get_traced_memory()[1] < 10 * MEGABYTE
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        "value", [1, [], [1], [[]], [[1], [1]], [1, [], ()], {"": []}, [{}, {"a": 1}], [[[[]]]]], ids=str
    )
    def test_what_is_just_as_long_as_allowed_is_written(self, value):
        length = len(dumps(value))
        assert len(dumps(value, length)) == length

    @given(PLAIN, st.integers(0, 300))
    def test_is_said_of_what_is_longer_than_allowed_and_of_nothing_else(self, value, largest):
        length = len(dumps(value))
        if length <= largest:
            assert len(dumps(value, largest)) == length
        else:
            with pytest.raises(TooLargeError):
                dumps(value, largest)

    def test_keys_of_one_hash_are_refused_where_they_are_sent_and_where_they_are_read(self):
        keys = [number * (2**61 - 1) for number in range(1000)]
        stream = dumps(list(range(1000)))
        assert len({hash(key) for key in keys}) == 1
        for value in (set(keys), dict.fromkeys(keys)):
            with pytest.raises(NotPlainError, match="hash"):
                dumps(value)
        stream = dumps(keys).decode()
        for hostile in (f'{{"!set":{stream}}}', f'{{"!dict":[{",".join(f"[{key},1]" for key in keys)}]}}'):
            with pytest.raises(NotPlainError, match="hash"):
                loads(hostile.encode())


class TestHostileBytes:
    @pytest.mark.parametrize(
        "hostile", [pickle.dumps({"a": os.system}), pickle.dumps([1]), b"cos\nsystem\n.", b"\x80\x05."]
    )
    def test_a_pickle_is_refused(self, hostile):
        with pytest.raises(NotPlainError):
            loads(hostile)

    @pytest.mark.parametrize(
        "hostile",
        [
            b'{"!eval":"1"}',
            b'{"!":5}',
            b'{"!set":[[]]}',
            b'{"!dict":[[[],1]]}',
            b'{"!dict":[1]}',
            b'{"!dict":{"a":1}}',
            b'{"!bytes":2000000000}',
            b'{"!bytearray":2000000000}',
            b'{"!complex":["1","2"]}',
            b'{"!complex":[1,2,3]}',
            b'{"!int":7}',
            b'{"!int":"0o7"}',
            b"[" * 100_000,
            b'{"!":[' * 100_000,
            b"1 2",
            b"",
            "ä".encode(),
            b"9" * 100_000,
        ],
        ids=lambda hostile: hostile[:20].decode(errors="replace"),
    )
    def test_what_is_no_message_is_refused(self, hostile):
        with pytest.raises(NotPlainError):
            loads(hostile)

    @pytest.mark.parametrize(
        "piece",
        ["[],", "{},", "0.1,", '"",', '{"!":[]},', '{"!set":[]},', '{"!bytes":""},', '{"a":[]},', "9,", "[[]],"],
    )
    def test_no_bytes_take_more_than_some_times_their_size(self, piece):
        stream = f"[{piece * (200_000 // len(piece))}0]".encode()
        tracemalloc.start()
        try:
            loads(stream)
            assert tracemalloc.get_traced_memory()[1] < 40 * len(stream)
        finally:
            tracemalloc.stop()

    @given(
        st.binary(max_size=200)
        | st.text(alphabet='[]{}",:!set0159.e-+bytesdicNaInfy \\u', max_size=200).map(str.encode)
    )
    def test_arbitrary_bytes_are_plain_or_refused(self, data):
        with contextlib.suppress(NotPlainError):
            loads(data)

    @given(PLAIN, st.data())
    def test_a_message_with_a_wrong_byte_is_plain_or_refused(self, value, data):
        stream = bytearray(dumps(value))
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(NotPlainError):
            loads(stream)

    def test_a_message_cut_short_is_refused(self):
        stream = dumps({"a": [1, 2, "three"]})
        for length in range(len(stream)):
            with pytest.raises(NotPlainError):
                loads(stream[:length])
