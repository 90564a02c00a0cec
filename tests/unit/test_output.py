"""The files that scripts' output goes to: pages, tails, and what is dropped."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from ska_oet_device.procedure import output as module
from ska_oet_device.procedure.output import OutputFiles

MIB = 1024 * 1024


@pytest.fixture
def files(tmp_path: Path) -> OutputFiles:
    files = OutputFiles(tmp_path / "output")
    assert files.prepare() == ""
    return files


def write(files: OutputFiles, data: bytes | str, uid: int = 1) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    files.path(uid).write_bytes(data)
    return data


def pages(files: OutputFiles, limit: int, *, ended: bool = True) -> list[module.Page]:
    found = [files.read(1, 0, limit, ended=ended)]
    while not found[-1].complete and found[-1].next_offset > found[-1].offset:
        found.append(files.read(1, found[-1].next_offset, limit, ended=ended))
    return found


class TestPages:
    @pytest.mark.parametrize("limit", range(1, 14))
    def test_put_together_are_the_text_whatever_the_characters(self, files, limit):
        chance = random.Random(limit)
        text = "".join(chance.choice(["a", "é", "€", "😀", "\n", "\0", "\uffff"]) for _ in range(400))
        write(files, text)
        found = pages(files, limit)
        assert "".join(page.text for page in found) == text
        assert all(0 < page.next_offset - page.offset <= max(limit, 4) for page in found)
        assert found[-1].complete

    @pytest.mark.parametrize("limit", [1, 4, 5, 6, 7, 100])
    def test_put_together_are_what_any_bytes_look_like(self, files, limit):
        data = write(files, random.Random(1).randbytes(2000))
        assert "".join(page.text for page in pages(files, limit)) == data.decode("utf-8", "replace")

    @pytest.mark.parametrize("cut", [1, 2, 3])
    def test_of_a_living_script_leave_a_character_that_is_not_whole(self, files, cut):
        whole = "ab😀cd".encode()
        write(files, whole[: 2 + cut])
        first = files.read(1, 0, 100, ended=False)
        assert (first.text, first.next_offset, first.complete) == ("ab", 2, False)
        again = files.read(1, 2, 100, ended=False)
        assert (again.text, again.next_offset, again.complete) == ("", 2, False)
        write(files, whole)
        assert files.read(1, 2, 100, ended=False).text == "😀cd"

    def test_of_a_script_that_ended_within_a_character_show_that(self, files):
        write(files, "ab😀".encode()[:-1])
        page = files.read(1, 0, 100, ended=True)
        assert (page.text, page.complete) == ("ab\ufffd", True)

    def test_where_there_is_nothing(self, files):
        assert files.read(9, 0, 10, ended=False) == module.Page("", 0, 0, False)
        assert files.read(9, 5, 10, ended=True) == module.Page("", 5, 5, True)

    @pytest.mark.parametrize("offset", [3, 4, 1000, 2**63 - 1])
    def test_at_and_beyond_the_end(self, files, offset):
        write(files, "abc")
        assert files.read(1, offset, 10, ended=True) == module.Page("", 3, 3, True)
        assert files.read(1, offset, 10, ended=False).complete is False

    def test_are_of_bounded_size(self, files):
        write(files, b"x" * (2 * module.LARGEST_PAGE))
        assert len(files.read(1, 0, 2**62, ended=True).text) == module.LARGEST_PAGE


class TestTrim:
    def test_drops_the_middle_and_keeps_offsets(self, files):
        data = write(files, b"".join(b"%07d\n" % number for number in range(5 * MIB // 8)))
        files.trim(1, MIB)
        assert files.size(1) == len(data)
        assert files.path(1).stat().st_blocks * 512 <= MIB + 2 * 4096
        found = pages(files, 64 * 1024)
        text = "".join(page.text for page in found)
        head, _, rest = text.partition("\n[")
        number, _, tail = rest.partition(" bytes of output were dropped here: MaxOutput]\n")
        assert data.startswith(head.encode())
        assert data.endswith(tail.encode())
        assert len(head) + int(number) + len(tail) == len(data)
        assert found[-1].complete

    def test_again_and_again_while_it_grows(self, files):
        total = 0
        for _ in range(10):
            with files.path(1).open("ab") as file:
                file.write(b"y" * MIB)
            total += MIB
            files.trim(1, MIB)
            assert files.path(1).stat().st_blocks * 512 <= MIB + 2 * 4096
        text = "".join(page.text for page in pages(files, 10**6))
        assert text.count("dropped here") == 1
        assert files.size(1) == total

    @pytest.mark.parametrize("limit", [0, 10 * MIB])
    def test_leaves_what_is_within_the_limit(self, files, limit):
        data = write(files, b"z" * MIB)
        files.trim(1, limit)
        assert files.path(1).read_bytes() == data

    def test_of_nothing_is_nothing(self, files):
        files.trim(9, MIB)

    def test_on_a_file_system_without_holes_is_said(self, files, monkeypatch, caplog):
        def refuse(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(module, "_punch_hole", refuse)
        write(files, b"z" * (2 * MIB))
        files.trim(1, MIB)
        assert "cannot be shortened" in caplog.text


class TestTail:
    def test_is_the_last_lines(self, files):
        write(files, "".join(f"line {number}\n" for number in range(1000)))
        assert files.tail(1).splitlines() == [f"line {number}" for number in range(950, 1000)]

    def test_begins_with_a_whole_line(self, files):
        write(files, "é" * 3000 + "\n" + "ü" * 3000 + "\nend\n")
        assert files.tail(1).splitlines() == ["ü" * 3000, "end"]

    def test_of_one_endless_line_is_its_end(self, files):
        write(files, b"x" * 100_000 + b"end")
        assert files.tail(1).endswith("xend")

    def test_of_nothing_is_empty(self, files):
        assert files.tail(9) == ""


class TestFolder:
    def test_knows_the_highest_id(self, files):
        assert files.highest_id() == 0
        for uid in (3, 20, 7):
            write(files, "x", uid)
        (files.path(1).parent / "other.log").touch()
        (files.path(1).parent / "99.txt").touch()
        assert files.highest_id() == 20

    def test_forgets_old_files_but_those_of_the_living(self, files):
        for uid in (1, 2, 3):
            write(files, "x", uid)
        for uid in (1, 2):
            os.utime(files.path(uid), (100, 100))
        files.forget_before(1000.0, keep=[2])
        assert [files.path(uid).exists() for uid in (1, 2, 3)] == [False, True, True]

    def test_that_cannot_be_made_is_said(self, tmp_path):
        (tmp_path / "output").write_text("in the way")
        assert "cannot be kept" in OutputFiles(tmp_path / "output" / "of-a-device").prepare()
