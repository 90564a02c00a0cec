"""A small file is written behind whoever has something to keep, and again where that has failed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.hanging import hold_writes
from support.waiting import wait_until

from ska_oet_device import file_behind
from ska_oet_device.file_behind import FileBehind


class Owner:
    """Whoever has something to keep."""

    def __init__(self, path: Path | None) -> None:
        self.contents: dict[str, Any] = {}
        self.file = FileBehind(path, lambda: dict(self.contents), "what is of use")

    def keep(self, patience: float = 10, **contents: Any) -> None:
        self.contents = contents
        self.file.look(patience)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_behind, "_AGAIN_AFTER", 0.02)
    monkeypatch.setattr(file_behind, "_AGAIN_AFTER_AT_MOST", 0.02)


def test_what_is_kept_is_there_for_the_next_one_and_nothing_leaves_no_file(tmp_path):
    path = tmp_path / "kept.json"
    owner = Owner(path)
    assert owner.file.holds == {}
    owner.keep(name="見")
    assert json.loads(path.read_text()) == owner.file.holds == Owner(path).file.holds == {"name": "見"}
    assert path.stat().st_mode & 0o077 == 0
    owner.keep()
    assert not path.exists()


def test_without_a_path_nothing_is_kept():
    owner = Owner(None)
    owner.keep(number=1)
    assert owner.file.close(0)
    assert owner.file.holds == {}


def test_what_cannot_be_written_is_written_when_it_can_be_though_nobody_asks_again(tmp_path, at_once, caplog):
    path = tmp_path / "away" / "kept.json"
    owner = Owner(path)
    owner.keep(number=1)
    owner.keep(number=2)
    assert owner.file.holds == {}
    path.parent.mkdir()
    wait_until(lambda: path.exists() and json.loads(path.read_text()) == {"number": 2}, what="it is tried again")
    wait_until(lambda: "is kept again" in caplog.text, what="the log says so")
    assert caplog.text.count("what is of use cannot be kept") == 1
    owner.keep(number=3)
    assert json.loads(path.read_text()) == {"number": 3}


def test_at_the_end_nobody_waits_for_what_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(file_behind, "_AGAIN_AFTER", 1000.0)
    owner = Owner(tmp_path / "away" / "kept.json")
    owner.keep(number=1)
    assert owner.file.close(10)


def test_a_new_one_does_not_wait_for_the_pause_behind_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(file_behind, "_AGAIN_AFTER", 1000.0)
    path = tmp_path / "away" / "kept.json"
    owner = Owner(path)
    owner.keep(number=1)
    path.parent.mkdir()
    owner.keep(number=2)
    assert json.loads(path.read_text()) == {"number": 2}
    assert owner.file.close(10)


def test_of_those_who_wait_for_a_disk_that_hangs_only_the_first_does_so_in_vain(tmp_path, monkeypatch):
    goes_on = hold_writes(monkeypatch)
    owner = Owner(tmp_path / "kept.json")
    began = time.monotonic()
    for number in range(1, 31):
        owner.keep(2.0, number=number)
    assert time.monotonic() - began < 20  # and not 60
    assert not owner.file.close(0.01)
    goes_on.set()
    assert owner.file.close(10)
    assert owner.file.holds == {"number": 30}
    owner.keep(number=31)  # waits again, and so is written when it returns
    assert owner.file.holds == {"number": 31}


def test_whatever_is_wrong_with_what_is_to_be_kept_the_next_one_is_kept(tmp_path, at_once, caplog):
    owner = Owner(tmp_path / "kept.json")
    owner.keep(odd=object())
    assert "not JSON serializable" in caplog.text
    owner.keep(number=1)
    assert owner.file.holds == {"number": 1}
