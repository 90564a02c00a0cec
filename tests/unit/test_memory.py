"""What was written to memorised attributes is kept by a thread, for which no write waits long."""

from __future__ import annotations

import enum
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.waiting import wait_until

from ska_oet_device.procedure.ui import _memory
from ska_oet_device.procedure.ui._memory import Memory, text_of, value_of


class Kept:
    """A store that may fail, or hang; no Tango server is here whose database could."""

    def __init__(self, **kept: list[str]) -> None:
        self.kept = dict(kept)
        self.asked: list[tuple[str, list[str]]] = []
        self.puts: list[tuple[str, list[str]]] = []
        self.fails = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def _answer(self) -> None:
        self.goes_on.wait()
        if self.fails:
            raise RuntimeError("it is away")

    def values(self, device: str, names: Sequence[str]) -> dict[str, list[str]]:
        self._answer()
        return {name: self.kept[name] for name in names if name in self.kept}

    def put(self, device: str, name: str, pieces: Sequence[str]) -> None:
        self.asked.append((name, list(pieces)))
        self._answer()
        self.puts.append((name, list(pieces)))
        self.kept[name] = [*pieces, *self.kept.get(name, [])[len(pieces) :]]  # as DatabaseDS does

    def delete(self, device: str, name: str) -> None:
        self._answer()
        self.kept.pop(name, None)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "AGAIN_AFTER", 0.01)


def memory_of(kept: Kept) -> Memory:
    return Memory("a/b/c", ["one", "two"], kept)


def test_what_is_kept_is_told_once():
    memory = memory_of(Kept(one=["true"]))
    assert memory.take() == {"one": "true"}
    assert memory.take() == {}


def test_what_was_written_meanwhile_goes_before_what_is_kept():
    kept = Kept(one=["old"], two=["old"])
    memory = memory_of(kept)
    memory.keep("one", "new")
    assert memory.take() == {"two": "old"}
    memory.wait(10)
    assert kept.kept["one"] == ["new"]


def test_a_database_that_fails_is_asked_again_and_gets_the_newest_value_alone(caplog):
    kept = Kept()
    kept.fails = True
    memory = memory_of(kept)
    assert memory.take() == {}
    for text in ("first", "second", "third"):
        memory.keep("one", text)
    wait_until(lambda: ("one", ["third"]) in kept.asked, what="nobody is about to ask for an earlier one")
    kept.fails = False
    memory.wait(10)
    assert kept.puts == [("one", ["third"])]
    assert [record.getMessage() for record in caplog.records].count(
        "what was written to one cannot be kept yet: the Tango database fails: RuntimeError: it is away"
    ) == 1


def test_a_write_does_not_wait_for_a_database_that_hangs(monkeypatch, caplog):
    monkeypatch.setattr(_memory, "_READING", 0.05)
    kept = Kept(one=["old"], two=["kept"])
    kept.goes_on.clear()
    memory = memory_of(kept)
    began = time.monotonic()
    assert memory.take() == {}
    memory.keep("one", "new")
    assert time.monotonic() - began < 5
    memory.wait(0.05)
    assert "what was written to one is not kept" in caplog.text
    kept.goes_on.set()
    memory.wait(10)
    assert kept.kept["one"] == ["new"]
    assert wait_until(memory.take, 10) == {"two": "kept"}


def test_of_many_writes_while_a_database_hangs_only_the_first_waits(monkeypatch):
    monkeypatch.setattr(_memory, "_KEEPING", 3.0)
    kept = Kept()
    kept.goes_on.clear()
    memory = memory_of(kept)
    began = time.monotonic()
    for number in range(20):
        memory.keep("one", str(number))
        memory.keep("two", str(number))
    assert time.monotonic() - began < 30  # and not 120
    kept.goes_on.set()
    memory.wait(10)
    assert kept.kept == {"one": ["19"], "two": ["19"]}
    memory.keep("one", "again")  # waits again, and so is kept when it returns
    assert kept.kept["one"] == ["again"]


@pytest.mark.parametrize("sizes", [[10, 130_000, 10], [130_000, 0, 70_000], [60_000, 60_001, 60_000]])
def test_long_texts_are_kept_in_pieces_that_every_database_takes_and_leave_nothing_of_longer_ones(sizes):
    kept = Kept()
    for number, size in enumerate(sizes):
        memory = memory_of(kept)  # as after a restart
        memory.take()
        text = str(number) * size
        memory.keep("one", text)
        memory.wait(10)
        assert memory_of(kept).take().get("one", "") == text
        assert all(len(piece) <= 60_000 for piece in kept.kept.get("one", ()))


class Mode(enum.IntEnum):
    ONLINE = 0
    OFFLINE = 1


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [(bool, True, "true"), (bool, False, "false"), (str, "", ""), (str, "a b", "a b"), (Mode, Mode.OFFLINE, "1")],
)
def test_a_value_comes_back_as_it_was(dtype, value, text):
    assert text_of(value) == text
    assert value_of(dtype, text) == value


@pytest.mark.parametrize(("dtype", "text"), [(bool, "perhaps"), (bool, ""), (Mode, "7"), (int, "x")])
def test_a_text_that_is_no_value_is_an_error(dtype, text):
    with pytest.raises((ValueError, KeyError)):
        value_of(dtype, text)


def test_what_the_database_has_not_taken_is_set_aside_and_the_next_server_takes_it_up(monkeypatch, tmp_path):
    aside, kept = tmp_path / "unkept.json", Kept(one=["old"], two=["kept"])
    kept.goes_on.clear()
    memory = Memory("a/b/c", ["one", "two"], kept, aside=aside)
    memory.keep("one", "first")
    memory.keep("one", "new")
    wait_until(lambda: aside.exists() and json.loads(aside.read_text()) == {"one": "new"}, 20, "it is set aside")
    other = Kept(one=["old"], two=["kept"])
    second = Memory("a/b/c", ["one", "two"], other, aside=aside)
    assert second.take() == {"one": "new", "two": "kept"}
    second.wait(20)
    assert (other.kept["one"], aside.exists()) == (["new"], False)
    assert second.take() == {}
    kept.goes_on.set()
    memory.wait(20)


def test_while_the_database_answers_nothing_is_set_aside(tmp_path):
    aside = tmp_path / "unkept.json"
    memory = Memory("a/b/c", ["one"], Kept(), aside=aside)
    for text in ("first", "second"):
        memory.keep("one", text)
    memory.wait(20)
    assert not aside.exists()


def test_what_is_set_aside_is_told_although_the_database_is_away_and_never_goes_before_what_is_written(tmp_path):
    aside = tmp_path / "unkept.json"
    aside.write_text('{"one": "left", "two": "left", "strange": "x"}')
    kept = Kept()
    kept.fails = True
    memory = Memory("a/b/c", ["one", "two"], kept, aside=aside)
    memory.keep("one", "new")
    assert memory.take() == {"two": "left"}
    kept.fails = False
    memory.wait(20)
    assert kept.kept == {"one": ["new"], "two": ["left"]}
    assert not aside.exists()


@pytest.mark.parametrize("content", ["nonsense", "[1]", "3", "[" * 100_000, ""])
def test_a_file_that_is_none_is_not_taken_and_the_log_says_so(tmp_path, caplog, content):
    aside = tmp_path / "unkept.json"
    aside.write_text(content)
    memory = Memory("a/b/c", ["one"], Kept(one=["kept"]), aside=aside)
    assert memory.take() == {"one": "kept"}
    assert f"what was kept in {aside} is of no use" in caplog.text


def test_a_file_that_cannot_be_written_is_told_and_what_was_written_is_kept_all_the_same(caplog):
    kept = Kept()
    kept.goes_on.clear()
    memory = Memory("a/b/c", ["one"], kept, aside=Path("/dev/null/unkept.json"))
    memory.keep("one", "new")
    wait_until(lambda: "has not taken yet cannot be kept: " in caplog.text, 20, "the log says so")
    kept.goes_on.set()
    memory.wait(20)
    assert kept.kept["one"] == ["new"]
