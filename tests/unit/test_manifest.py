"""What a folder holds is written down, and each change since is noticed."""

from __future__ import annotations

import errno
import os
import shutil
import stat

import pytest
from support.two_users import as_an_ordinary_owner

from ska_oet_device.manifest import Manifest


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "folder"
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "a.py").write_text("VALUE = 1\n")
    (top / "sub" / "b c\n.py").write_text("VALUE = 2\n")
    (top / os.fsdecode(b"\xff")).write_text("not UTF-8")
    (top / "link").symlink_to("a.py")
    return top


@pytest.fixture
def kept(folder, tmp_path):
    path = tmp_path / "manifest"
    Manifest.take(folder).write(path)
    return path


def rewritten_in_place(path, text):
    """Change a file, and leave its size and its times as they were."""
    noted = path.stat()
    path.write_text(text)
    os.utime(path, ns=(noted.st_atime_ns, noted.st_mtime_ns))


def replaced(path, text):
    other = path.with_name("other")
    other.write_text(text)
    other.rename(path)


def replaced_link(path):
    path.unlink()
    path.symlink_to("b.py")


def made_a_link(path):
    path.rename(path.with_name(".a.py"))
    path.symlink_to(".a.py")


def made_a_fifo(path):
    path.unlink()
    os.mkfifo(path)


class TestManifest:
    def test_says_nothing_of_what_is_as_it_was(self, folder, kept):
        manifest = Manifest.read(kept)
        assert manifest.changes(folder) == ""
        assert not manifest.is_stale
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda top: rewritten_in_place(top / "a.py", "VALUE = 9\n"), "a.py was changed"),
            (lambda top: replaced(top / "a.py", "VALUE = 9\n"), "a.py was changed"),
            (lambda top: (top / "a.py").write_text("longer than before"), "a.py was changed"),
            (lambda top: (top / "a.py").chmod(0o777), "a.py was changed"),
            (lambda top: (top / "a.py").unlink(), "a.py is missing"),
            (lambda top: made_a_link(top / "a.py"), ".a.py was added, a.py was changed"),
            (lambda top: made_a_fifo(top / "a.py"), "a.py was changed"),
            (lambda top: (top / "numpy.py").touch(), "numpy.py was added"),
            (lambda top: (top / "sub" / "numpy").mkdir(), "sub/numpy was added"),
            (lambda top: (top / "sub" / "empty").rmdir(), "sub/empty is missing"),
            (lambda top: (top / "sub" / "empty").chmod(0o700), "sub/empty was changed"),
            (lambda top: replaced_link(top / "link"), "link was changed"),
            (lambda top: rewritten_in_place(top / "sub" / "b c\n.py", "VALUE = 9\n"), "sub/b c?.py was changed"),
            (lambda top: [(top / f"n{number}").touch() for number in range(9)], "6 more"),
        ],
    )  # fmt: skip
    def test_names_what_has_changed(self, folder, kept, change, said):
        change(folder)
        manifest = Manifest.read(kept)
        told = manifest.changes(folder)
        assert sorted(told.split(", ")) == sorted(said.split(", ")) if "more" not in said else told.endswith(said)

    def test_takes_the_content_for_what_counts_where_the_kernel_has_noted_a_change(self, folder, kept):
        os.link(folder / "a.py", folder.parent / "another name")
        rewritten_in_place(folder / "sub" / "b c\n.py", "VALUE = 2\n")
        manifest = Manifest.read(kept)
        assert manifest.changes(folder) == ""
        assert manifest.is_stale
        manifest.write(kept)
        anew = Manifest.read(kept)
        assert anew.changes(folder) == ""
        assert not anew.is_stale

    def test_is_the_same_for_a_copy(self, folder, kept):
        shutil.copytree(folder, folder.parent / "copy", symlinks=True)
        assert Manifest.read(kept).changes(folder.parent / "copy") == ""

    def test_leaves_byte_code_out(self, folder, kept):
        (folder / "sub" / "__pycache__").mkdir()
        (folder / "sub" / "__pycache__" / "a.cpython-310.pyc").touch()
        assert Manifest.read(kept).changes(folder) == ""
        assert "sub/__pycache__ was added" in Manifest.read(kept).changes(folder, byte_code=True)
        (folder / "sub" / "a.pyc").touch()
        assert Manifest.read(kept).changes(folder) == "sub/a.pyc was added"

    def test_can_be_of_some_parts_which_need_not_be_there(self, folder, tmp_path):
        manifest = Manifest.take(folder, "sub", "none")
        (folder / "a.py").unlink()
        assert manifest.changes(folder, "sub", "none") == ""
        (folder / "none").mkdir()
        assert manifest.changes(folder, "sub", "none") == "none was added"
        assert Manifest.take(folder, "nothing").changes(folder, "nothing") == ""

    @pytest.mark.parametrize("content", [b"", b"manifest 2\n", b"manifest 1\nx\0", b"manifest 1\n8 1 1 x a\0", b"\xff"])
    def test_is_none_where_something_else_is_written(self, tmp_path, content):
        (tmp_path / "manifest").write_bytes(content)
        assert Manifest.read(tmp_path / "manifest") is None

    def test_is_none_where_there_is_no_file(self, tmp_path, kept):
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "link").symlink_to(kept)
        for name in ("none", "fifo", "link", "."):
            assert Manifest.read(tmp_path / name) is None

    def test_takes_what_is_not_there_or_cannot_be_read_for_changed(self, folder, kept, tmp_path):
        assert Manifest.read(kept).changes(tmp_path / "none") == ". cannot be read: No such file or directory"
        (folder / "sub").chmod(0)
        told = as_an_ordinary_owner(
            "import sys, pathlib; from ska_oet_device.manifest import Manifest; "
            "print(Manifest.read(pathlib.Path(sys.argv[1])).changes(pathlib.Path(sys.argv[2])))",
            kept,
            folder,
        )
        assert told == "sub cannot be read: Permission denied"

    def test_is_not_made_where_descriptors_are_wanting(self, folder, kept, monkeypatch):
        manifest = Manifest.read(kept)
        monkeypatch.setattr(os, "scandir", no_descriptor)  # a real want would be pytest's, too
        with pytest.raises(OSError, match="Too many open files"):
            manifest.changes(folder)


def no_descriptor(path):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
