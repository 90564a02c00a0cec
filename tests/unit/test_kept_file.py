"""The file of a procedure's output never has more than its limit on the disk, and keeps beginning and end."""

from __future__ import annotations

import fcntl
import os
import resource
import sys
import termios

import pytest
from support.forked import in_a_child

from ska_oet_device.own_files import NotRegularError
from ska_oet_device.procedure.output import OutputFiles
from ska_oet_device.procedure.recorder import _kept_file as module
from ska_oet_device.procedure.recorder._kept_file import BLOCK, KeptFile

MIB = 1024 * 1024
PIECE = 64 * 1024


class Kept:
    """A file that is written by way of a pipe, as the recorder does it, and looked at after each piece."""

    def __init__(self, folder, limit):
        self.path = folder / "1.log"
        self.limit = limit
        self.file = KeptFile(str(self.path), limit)
        self.reader, self.writer = os.pipe()
        self.most = 0

    def print(self, data, piece=PIECE):
        for start in range(0, len(data), piece):
            os.write(self.writer, data[start : start + piece])
            while waiting := int.from_bytes(fcntl.ioctl(self.reader, termios.FIONREAD, bytes(4)), sys.byteorder):
                self.file.take(self.reader, min(waiting, self.file.piece))
                self.most = max(self.most, self.on_disk)

    @property
    def on_disk(self):
        return self.path.stat().st_blocks * 512


@pytest.fixture
def kept(tmp_path):
    made = []

    def make(limit):
        made.append(Kept(tmp_path, limit))
        return made[-1]

    yield make
    for each in made:
        each.file.close()
        os.close(each.reader)
        os.close(each.writer)


def numbered(size):
    return b"".join(b"%07d\n" % number for number in range(size // 8))


@pytest.mark.parametrize("limit", [1, BLOCK, 5000, 3 * BLOCK, 200_000, MIB + 17])
@pytest.mark.parametrize("piece", [PIECE, 1000])
def test_it_never_has_more_than_its_limit_and_offsets_stay(kept, tmp_path, limit, piece):
    made, data = kept(limit), numbered(100_000 + 2 * limit)
    made.print(data, piece)
    assert made.most <= limit + 2 * BLOCK
    files = OutputFiles(tmp_path)
    assert files.size(1) == len(data)
    text, offset, complete = "", 0, False
    while not complete:
        page = files.read(1, offset, MIB, ended=True)
        text, offset, complete = text + page.text, page.next_offset, page.complete
    head, _, rest = text.partition("\n[")
    number, _, tail = rest.partition(" bytes of output were dropped here: MaxOutput]\n")
    assert data.startswith(head.encode())
    assert data.endswith(tail.encode())
    assert len(head) + int(number) + len(tail) == len(data)
    assert len(head) + len(tail) >= limit - 2 * BLOCK


@pytest.mark.parametrize("limit", [0, MIB])
def test_what_is_within_the_limit_is_all_there(kept, limit):
    made, data = kept(limit), numbered(MIB)
    made.print(data)
    assert made.path.read_bytes() == data


def test_a_lower_limit_holds_at_once_and_a_higher_one_from_then_on(kept):
    made = kept(MIB)
    made.print(numbered(2 * MIB))
    made.file.shorten(200_000)
    assert made.on_disk <= 200_000 + 2 * BLOCK
    made.file.shorten(2 * MIB)
    made.most = 0
    made.print(numbered(5 * MIB))
    assert MIB < made.on_disk <= made.most <= 2 * MIB + 2 * BLOCK


def test_who_goes_on_with_a_file_keeps_it_within_its_limit(kept):
    kept(MIB).print(numbered(3 * MIB))
    second = kept(MIB)
    second.print(numbered(3 * MIB))
    assert second.most <= MIB + 2 * BLOCK
    assert second.path.stat().st_size == 6 * MIB


def test_where_nothing_can_be_given_back_it_ends_at_its_limit(kept, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module, "_punch_hole", refuse)
    made = kept(MIB)
    made.print(numbered(3 * MIB))
    assert made.file.problem == "Operation not supported"
    assert made.path.stat().st_size == MIB


@in_a_child
def test_what_cannot_be_written_is_lost_and_nothing_else(tmp_path):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    made = Kept(tmp_path, 0)
    made.print(numbered(MIB))
    assert made.path.read_bytes() == numbered(MIB)[:100_000]


def test_where_the_kernel_does_not_splice_it_is_written_all_the_same(kept, monkeypatch):
    def refuse(*_: object, **__: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "splice", refuse)
    made, data = kept(0), numbered(MIB)
    made.print(data)
    assert made.path.read_bytes() == data


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "link to the folder"])
def test_what_scripts_have_put_there_is_not_written_to(tmp_path, kind):
    folder, secret = (tmp_path / "output").resolve(), tmp_path / "secret"
    secret.write_text("a secret")
    folder.mkdir()
    path = folder / "1.log"
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError if kind == "link to the folder" else NotRegularError):
        KeptFile(str(path), 0)
    assert secret.read_text() == "a secret"
