"""Files that scripts may have put something else into the place of."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from ska_oet_device.locks import FileLock, is_locked
from ska_oet_device.own_files import (
    NotRegularError,
    make_folder,
    narrow,
    open_folder,
    open_regular,
    read_regular,
    write_regular,
)


def fifo(path):
    os.mkfifo(path)


def folder(path):
    path.mkdir()


def device(path):
    path.symlink_to("/dev/zero")


def link(path):
    path.with_name("another").write_text("of somebody else")
    path.symlink_to(path.with_name("another"))


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


OTHERS = [fifo, folder, device, link, unix_socket]


@pytest.fixture(params=OTHERS, ids=lambda make: make.__name__)
def replaced(request, tmp_path):
    """The path of a file that something else stands in the place of."""
    path = tmp_path / "file"
    request.param(path)
    return path


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_TRUNC])
def test_what_is_no_regular_file_is_not_opened(replaced, flags):
    with pytest.raises(NotRegularError, match="is no regular file any more"):
        os.close(open_regular(replaced, flags))


def test_nor_read(replaced):
    with pytest.raises(NotRegularError):
        read_regular(replaced)


def test_nor_locked(replaced):
    with pytest.raises(NotRegularError):
        FileLock.try_take(replaced)
    with pytest.raises(NotRegularError):
        is_locked(replaced, exclusively=True)


def test_nothing_is_written_to_where_a_link_leads(tmp_path):
    link(tmp_path / "file")
    write_regular(tmp_path / "file", b"ours")
    assert (tmp_path / "another").read_text() == "of somebody else"
    assert not (tmp_path / "file").is_symlink()
    assert read_regular(tmp_path / "file") == b"ours"


def test_a_file_is_truncated_only_if_it_is_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    os.close(open_regular(path, os.O_WRONLY | os.O_TRUNC))
    assert path.read_text() == ""


def test_what_is_opened_waits_like_any_file_and_is_not_inherited(tmp_path):
    descriptor = open_regular(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        assert os.get_blocking(descriptor)
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_of_a_file_that_is_too_large_nothing_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 11)
    assert read_regular(tmp_path / "file", 11) == b"x" * 11
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_regular(tmp_path / "file", 10)


def test_a_link_to_a_folder_is_no_folder(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="link"):
        os.close(open_folder(tmp_path / "link"))


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o027])
def test_what_is_made_is_for_our_user_alone_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        make_folder(tmp_path / "a" / "b")
        os.close(open_regular(tmp_path / "a" / "b" / "file", os.O_WRONLY | os.O_CREAT))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/file")]
    assert modes == [0o700, 0o700, 0o600]


def test_what_others_may_read_is_narrowed_and_only_that(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o664)
    (tmp_path / "folder").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert not narrow(tmp_path / "link")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o664
    assert [narrow(tmp_path / name) for name in ("file", "folder", "file", "nothing")] == [True, True, False, False]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700
