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
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.mptools import NotPlainError, dumps, loads

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

    def test_shared_and_circular_structures_keep_their_shape(self):
        shared = [1]
        arrived = sent([shared, shared])
        assert arrived[0] is arrived[1]
        circle: list[Any] = []
        circle.append(circle)
        arrived = sent(circle)
        assert arrived[0] is arrived


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
        ids=repr,
    )
    def test_becomes_what_stands_for_it(self, value, expected):
        assert same(sent(value), expected)

    def test_an_unknown_object_becomes_a_piece_of_its_repr(self):
        arrived = sent(object())
        assert arrived.startswith("<object object at")
        assert len(sent(type("Long", (), {"__repr__": lambda self: "x" * 100_000})())) == 10_000

    @pytest.mark.parametrize("value", [len, Target, lambda: None, contextlib, ValueError("why")], ids=repr)
    def test_functions_classes_and_modules_become_text(self, value):
        assert isinstance(sent(value), str)

    def test_an_object_that_cannot_be_shown_travels_all_the_same(self):
        assert "Unshowable" in sent({"a": Unshowable()})["a"]

    def test_text_with_a_will_of_its_own_travels_all_the_same(self):
        assert isinstance(sent(HostileText("a")), str)

    def test_classes_of_plain_types_stay_what_they_are(self):
        assert sent([int, dict]) == [int, dict]

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

    @given(
        st.recursive(ATOMS | st.sampled_from([Receiver.SKA001, Band.ONE]), lambda inner: st.lists(inner, max_size=3))
    )
    def test_is_plain_after_the_first_journey(self, value):
        once = sent(value)
        assert same(sent(once), once)


class Marker:
    ran = False

    def __reduce__(self):
        return (os.system, ("echo this ran",))


def _mark() -> None:
    Marker.ran = True


class TestHostileBytes:
    def test_naming_a_class_or_function_is_refused_and_nothing_runs(self):
        class Payload:
            def __reduce__(self):
                return (_mark, ())

        Marker.ran = False
        with pytest.raises(NotPlainError, match="_mark"):
            loads(pickle.dumps(Payload()))
        assert Marker.ran is False
        with pytest.raises(NotPlainError, match="system"):
            loads(pickle.dumps(Marker()))

    @pytest.mark.parametrize("name", ["eval", "exec", "getattr", "__import__", "open", "object", "type"])
    def test_no_other_builtin_is_let_through(self, name):
        with pytest.raises(NotPlainError, match=name):
            loads(f"cbuiltins\n{name}\n.".encode())

    @pytest.mark.parametrize("name", ["str.format", "dict.fromkeys"])
    def test_no_attribute_of_a_plain_type_is_let_through(self, name):
        stream = b"\x80\x04\x8c\x08builtins\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
        with pytest.raises(NotPlainError):
            loads(stream)

    @given(st.binary(max_size=200))
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
