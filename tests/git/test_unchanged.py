"""A later run of a commit gets that commit's files, whatever an earlier one has done to them."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.two_users import as_an_ordinary_owner

from ska_oet_device.files import remove_tree


def unlocked(path: Path) -> Path:
    """Return a path that its owner may write to, as root may without asking."""
    for each in (path.parent, path):
        if each.exists():
            each.chmod(0o755)
    return path


def appends(top):
    with open(unlocked(top / "neighbour.py"), "a") as file:
        file.write("VALUE = 2\n")


def writes_in_place_and_sets_the_time_back(top):
    path = unlocked(top / "neighbour.py")
    noted = path.stat()
    path.write_text("VALUE = 2\n")
    os.utime(path, ns=(noted.st_atime_ns, noted.st_mtime_ns))
    path.chmod(0o444)
    top.chmod(0o555)


def writes_its_results_beside_itself(top):
    unlocked(top / "scripts" / "results.csv").write_text("1,2,3\n")


def plants_a_module(top):
    unlocked(top / "scripts" / "numpy.py").write_text("")


def runs_sed(top):
    unlocked(top / "neighbour.py")
    subprocess.run(["sed", "-i", "s/1/2/", str(top / "neighbour.py")], check=True)


def makes_a_repository_of_it(top):
    subprocess.run(["git", "init", "--quiet", str(unlocked(top))], check=True)


def leads_elsewhere(top):
    other = top.parent.parent / "other.py"
    other.write_text("VALUE = 2\n")
    unlocked(top / "neighbour.py").unlink()
    (top / "neighbour.py").symlink_to(other)


def removes_a_file(top):
    unlocked(top / "neighbour.py").unlink()


def removes_all_of_it(top):
    remove_tree(top)


def is_elsewhere_by_a_link(top):
    top.rename(top.with_name("moved"))
    (unlocked(top.with_name("moved") / "neighbour.py")).write_text("VALUE = 2\n")
    top.symlink_to("moved")


CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

CHANGES = [
    (appends, "neighbour.py was changed"),
    (writes_in_place_and_sets_the_time_back, "neighbour.py was changed"),
    (writes_its_results_beside_itself, "results.csv was added"),
    (plants_a_module, "scripts/numpy.py was added"),
    (runs_sed, "neighbour.py was changed"),
    (makes_a_repository_of_it, ".git was added"),
    (leads_elsewhere, "neighbour.py was changed"),
    (removes_a_file, "neighbour.py is missing"),
    (removes_all_of_it, ""),
    (is_elsewhere_by_a_link, "neighbour.py was changed"),
]


def content(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


class TestACheckoutThatWasChanged:
    @pytest.mark.parametrize(("change", "said"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
    @pytest.mark.parametrize("by_branch", [pytest.param(True, marks=pytest.mark.long), False])
    def test_is_made_anew_for_the_next_who_asks(self, client, upstream, caplog, change, said, by_branch):
        first = client.get()
        before = content(first.path)
        change(first.path)
        with caplog.at_level(logging.WARNING):
            again = client.get() if by_branch else client.get(commit=first.commit)
        assert again == first
        assert content(again.path) == before
        assert said in caplog.text.replace("\n", "")
        assert not again.path.is_symlink()
        assert client.get(commit=first.commit) == first
        assert caplog.text.count("is made anew") <= 1

    @pytest.mark.parametrize("what", [".", "scripts"])
    def test_so_that_it_cannot_be_read_is_made_anew_too(self, client, upstream, what):
        """By a server that is not root, as it should be."""
        first = client.get()
        before = content(first.path)
        (first.path / what).chmod(0)
        code = (
            "import sys, pathlib; from ska_oet_device.procedure.gitmanager import GitArgs, checkout; "
            "url, commit, store = sys.argv[1:]; print(checkout(GitArgs(url, None, commit), pathlib.Path(store)).path)"
        )
        for _ in range(2):  # there is one already to be kept
            assert as_an_ordinary_owner(code, client.url, first.commit, client.store) == str(first.path)
            assert content(first.path) == before
            (first.path / what).chmod(0)

    def test_is_kept_once_for_whoever_misses_what_he_has_written(self, client, upstream, caplog):
        for number in (1, 2):
            got = client.get()
            unlocked(got.path / "results.csv").write_text(f"{number}\n")
        client.get()
        (kept,) = got.path.parent.glob("*.changed")
        assert str(kept) in caplog.text
        assert (kept / "results.csv").read_text() == "2\n"

    def test_has_no_byte_code_that_is_not_of_the_commit(self, client, upstream):
        """A process that a script starts would take it for the source's."""
        got = client.get()
        got.path.chmod(0o755)
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(got.path)], check=True)
        assert Path(importlib.util.cache_from_source(str(got.path / "neighbour.py"))).exists()
        client.get()
        assert not list(got.path.rglob("__pycache__"))

    def test_is_made_anew_where_nothing_is_known_of_it(self, client, upstream):
        """As after an update from a version that kept no manifests."""
        got = client.get()
        for manifest in got.path.parent.glob("*.manifest"):
            manifest.unlink()
        writes_in_place_and_sets_the_time_back(got.path)
        assert (client.get(commit=got.commit).path / "neighbour.py").read_text() == "VALUE = 1\n"

    @pytest.mark.parametrize("odd", [lambda path: path.write_bytes(b"odd"), lambda path: path.unlink(), os.mkfifo])
    def test_is_made_anew_where_its_manifest_is_odd(self, client, upstream, odd):
        got = client.get()
        (manifest,) = got.path.parent.glob("*.manifest")
        if odd is os.mkfifo:
            manifest.unlink()
        odd(manifest)
        assert client.get(commit=got.commit) == got
        assert content(got.path)["neighbour.py"] == "VALUE = 1\n"

    def test_is_the_same_one_after_a_restored_backup_or_a_new_link(self, client, upstream, store):
        got = client.get()
        os.link(got.path / "neighbour.py", store / "backup")
        inode = got.path.stat().st_ino
        (manifest,) = got.path.parent.glob("*.manifest")
        before = manifest.read_bytes()
        assert client.get().path.stat().st_ino == inode
        assert manifest.read_bytes() != before
