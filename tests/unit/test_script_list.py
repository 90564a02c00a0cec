"""The list of scripts follows the folders, in time, and waits for none."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import wait_until

from ska_oet_device.config import Settings
from ska_oet_device.procedure.application._script_list import MOST_SCRIPTS, ScriptList
from ska_oet_device.procedure.domain import FileSystemScript, Listing, find_script, list_scripts, uri_of
from ska_oet_device.procedure.domain import _listing as listing

MAIN = "def main(): pass\n"


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MAIN)
    return path


def is_quiet() -> bool:
    return not any(thread.name == "scripts" for thread in threading.enumerate())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def scripts():
    """A list; nobody looks any more when the test is over."""
    made = ScriptList()
    yield made
    wait_until(is_quiet, 10, "no thread looks")


def look(scripts: ScriptList, *roots: Path) -> None:
    """Do what the device does once a second, until the list has looked at everything."""
    for folder in list(scripts._folders.values()):
        folder.due = 0.0
    scripts.look_again(tuple(map(str, roots)))
    wait_until(is_quiet, 10, "it has looked")


def names(scripts: ScriptList) -> list[str]:
    return [uri.removeprefix("file://") for uri in scripts.uris]


def test_a_change_of_a_folder_is_found_and_told_once(scripts, root):
    told: list[tuple[str, ...]] = []
    scripts.on_change = lambda: told.append(scripts.uris)
    look(scripts, root)
    write(root / "a.py")
    look(scripts, root)
    assert names(scripts) == ["a.py"]
    write(root / "deep/er/b.py")
    look(scripts, root)
    assert names(scripts) == ["a.py", "deep/er/b.py"]
    look(scripts, root)
    (root / "a.py").unlink()
    look(scripts, root)
    assert [len(uris) for uris in told] == [1, 2, 1]


def test_a_folder_is_not_read_again_while_its_time_says_that_nothing_has_changed(root):
    write(root / "sub/a.py")
    for folder in (root, root / "sub"):
        os.utime(folder, (1e9, 1e9))
    found = list_scripts(str(root), [str(root)])
    assert found.is_current
    write(root / "sub/b.py")
    assert not found.is_current


def test_one_that_was_changed_a_moment_ago_is_read_again(root, monkeypatch):
    """Its time has steps: what comes in the same one is not seen by it."""
    monkeypatch.setattr(listing, "_SETTLES_AFTER", 3600.0)
    write(root / "a.py")
    assert not list_scripts(str(root), [str(root)]).is_current


def test_a_root_that_is_no_folder_has_no_scripts_and_is_looked_for_again(scripts, root):
    absent = root / "absent"
    look(scripts, absent)
    assert scripts.uris == ()
    write(absent / "a.py")
    look(scripts, absent)
    assert names(scripts) == ["a.py"]


def test_a_root_that_hangs_keeps_nobody_from_the_others_and_what_was_known_of_it_stays(root, tmp_path):
    """No file system here hangs at will: the gate stands for it."""
    hangs, gate, looks = tmp_path / "hangs", threading.Event(), []
    write(hangs / "known.py")
    write(root / "a.py")
    gate.set()

    def look_or_hang(where: str, roots: object) -> Listing:
        looks.append(where)
        if where == str(hangs):
            gate.wait(30)
        return list_scripts(where, roots)  # type: ignore[arg-type]

    scripts = ScriptList(look=look_or_hang)
    roots = [str(hangs), str(root)]
    scripts.look_again(roots)
    wait_until(lambda: names(scripts) == ["a.py", "known.py"], 10, "both are listed")
    gate.clear()
    looks.clear()
    write(root / "b.py")
    for _ in range(20):  # as for 20 seconds
        for folder in scripts._folders.values():
            folder.due = 0.0
        began = time.monotonic()
        scripts.look_again(roots)
        assert time.monotonic() - began < 5
        wait_until(lambda: not scripts._folders[str(root)].is_looked_at, 10, "the other one was looked at")
        wait_until(lambda: str(hangs) in looks, 10, "the first look hangs")
    assert names(scripts) == ["a.py", "b.py", "known.py"]
    assert looks.count(str(hangs)) == 1, "one thread hangs, and no more"
    scripts.look_again([str(root)])
    assert names(scripts) == ["a.py", "b.py"]
    scripts.look_again(roots)
    assert looks.count(str(hangs)) == 1, "it hangs still"
    gate.set()
    wait_until(is_quiet, 10, "no thread looks")


def test_what_goes_wrong_in_a_look_leaves_the_list_and_is_tried_again(scripts, root, caplog):
    write(root / "a.py")
    look(scripts, root)
    scripts._list_scripts = lambda *_: 1 / 0
    write(root / "b.py")
    look(scripts, root)
    assert names(scripts) == ["a.py"]
    assert "cannot be looked at" in caplog.text
    scripts._list_scripts = list_scripts
    look(scripts, root)
    assert names(scripts) == ["a.py", "b.py"]


def test_no_more_are_listed_than_an_event_may_hold_and_a_sentence_says_so(scripts, root):
    for number in range(MOST_SCRIPTS + 5):
        write(root / f"{number:04}.py")
    look(scripts, root)
    assert len(scripts.uris) == MOST_SCRIPTS
    assert "1005 scripts" in scripts.remark
    for number in range(10):
        (root / f"{number:04}.py").unlink()
    look(scripts, root)
    assert (len(scripts.uris), scripts.remark) == (MOST_SCRIPTS - 5, "")


def test_long_names_are_fewer(scripts, root):
    for number in range(500):
        write(root / f"{'x' * 200}{number:04}.py")
    look(scripts, root)
    assert sum(map(len, scripts.uris)) <= 64 * 1024
    assert "lists the first 3" in scripts.remark


def test_a_folder_with_more_than_can_be_looked_at_is_named(scripts, root, monkeypatch):
    monkeypatch.setattr(listing, "_MOST_LOOKED_AT", 10)
    for number in range(20):
        write(root / f"{number:04}.py")
    look(scripts, root)
    assert len(scripts.uris) == 10
    assert str(root) in scripts.remark


def test_one_that_cannot_be_read_hides_its_name_in_later_roots_as_prepare_has_it(scripts, root, tmp_path):
    later = tmp_path / "later"
    write(later / "a.py")
    with (root / "a.py").open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    look(scripts, root, later)
    assert scripts.uris == ()
    (root / "a.py").unlink()
    (root / "a.py").mkdir()
    look(scripts, root, later)
    assert names(scripts) == ["a.py"]


def test_what_a_link_leads_to_counts_as_for_prepare(scripts, root, tmp_path):
    other, outside = tmp_path / "other", write(tmp_path / "outside.py")
    write(other / "far.py")
    (root / "into_other.py").symlink_to(other / "far.py")
    (root / "leads_out.py").symlink_to(outside)
    (root / "folder").symlink_to(other)
    (root / "round").symlink_to(root)
    look(scripts, root, other)
    assert names(scripts) == ["far.py", "folder/far.py", "into_other.py"]
    settings = Settings(script_roots=(str(root), str(other)))
    for uri in scripts.uris:
        assert find_script(FileSystemScript(uri), settings)
    look(scripts, root)
    assert scripts.uris == ()


def test_a_root_that_is_a_link_itself_is_looked_into(scripts, root, tmp_path):
    write(root / "a.py")
    (tmp_path / "current").symlink_to(root)
    look(scripts, tmp_path / "current")
    assert names(scripts) == ["a.py"]


@given(st.text(min_size=1, max_size=60))
def test_a_uri_leads_back_to_its_name_and_can_be_seen(name):
    uri = uri_of(name)
    assert FileSystemScript(uri).path == name if uri else True
    assert uri.isprintable()
    uri.encode("latin-1")


def test_names_of_bytes_that_are_no_text_have_no_uri():
    assert uri_of(os.fsdecode(b"a\xff.py")) == ""
    assert uri_of("ü.py") == "file://ü.py"
    assert uri_of("見%.py") == "file://%E8%A6%8B%25.py"
