"""The files that scripts' output goes to: pages, tails, and what is dropped."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from ska_oet_device.procedure import output as module
from ska_oet_device.procedure.output import OutputFiles
from ska_oet_device.retention import FIRST_DATE

T = FIRST_DATE


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
            os.utime(files.path(uid), (T + 100, T + 100))
        files.forget_before(T + 1000.0, keep=[2])
        assert [files.path(uid).exists() for uid in (1, 2, 3)] == [False, True, True]

    def test_the_folder_of_a_run_goes_with_its_file_and_what_it_links_to_stays(self, files, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "data").touch()
        for uid in (1, 2, 3):
            folder = files.run_folders.path(uid)
            folder.mkdir(parents=True)
            (folder / "data").touch()
            (folder / "link").symlink_to(tmp_path / "elsewhere")
            write(files, "x", uid)
        for uid in (1, 2):
            os.utime(files.path(uid), (T + 100, T + 100))
        files.forget_before(T + 1000.0, keep=[2])
        assert [files.run_folders.path(uid).exists() for uid in (1, 2, 3)] == [False, True, True]
        assert (tmp_path / "elsewhere" / "data").exists()

    def test_the_folder_of_a_run_that_printed_nothing_goes_by_its_own_time(self, files, caplog):
        for uid in (1, 2, 3, 4):
            files.run_folders.path(uid).mkdir(parents=True)
        write(files, "x", 4)
        for uid in (1, 2, 4):
            os.utime(files.run_folders.path(uid), (T + 100, T + 100))
        files.forget_before(T + 1000.0, keep=[2])
        assert [files.run_folders.path(uid).exists() for uid in (1, 2, 3, 4)] == [False, True, True, True]
        assert not caplog.records

    def test_a_folder_of_a_run_has_its_id_though_nothing_was_printed(self, files):
        write(files, "x", 3)
        for name in ("20", "0x30", "elsewhere"):
            files.run_folders.path(1).with_name(name).mkdir(parents=True)
        assert files.highest_id() == 20

    @pytest.mark.parametrize("place", ["runs", "1"])
    def test_a_link_in_the_place_of_a_folder_of_runs_leads_to_nothing_that_is_deleted(self, files, tmp_path, place):
        elsewhere = tmp_path / "elsewhere"
        (elsewhere / "1").mkdir(parents=True)
        (elsewhere / "1" / "data").touch()
        runs = files.run_folders.path(1).parent
        if place == "runs":
            runs.symlink_to(elsewhere)
        else:
            runs.mkdir()
            (runs / "1").symlink_to(elsewhere / "1")
        write(files, "x", 1)
        os.utime(files.path(1), (T + 100, T + 100))
        write(files, "x", 2)
        files.forget_before(T + 1000.0)
        assert not files.path(1).exists()
        assert (elsewhere / "1" / "data").exists()

    @pytest.mark.parametrize("newest", [T + 2.0, T + 1e10])
    def test_forgets_nothing_while_all_are_old_or_of_days_to_come(self, files, newest):
        for uid, time in ((1, T), (2, newest)):
            write(files, "x", uid)
            os.utime(files.path(uid), (time, time))
        files.forget_before(T + 1000.0)
        assert files.path(1).exists()
        assert files.path(2).exists()

    def test_takes_one_of_1970_to_be_as_old_as_the_next(self, files):
        for uid, time in enumerate((T + 1.0, 5.0, T + 2.0, 6.0, T + 2000.0, 7.0), 1):
            write(files, "x", uid)
            os.utime(files.path(uid), (time, time))
        files.forget_before(T + 1000.0)
        assert [uid for uid in range(1, 7) if files.path(uid).exists()] == [4, 5, 6]

    def test_that_cannot_be_made_is_said(self, tmp_path):
        (tmp_path / "output").write_text("in the way")
        assert "cannot be kept" in OutputFiles(tmp_path / "output" / "of-a-device").prepare()


class TestWhatAScriptHasPutThere:
    """A script may write to the folder, and put something else into the place of its file."""

    @pytest.fixture(params=["fifo", "link", "folder"])
    def replaced(self, request, files, tmp_path):
        path = files.path(1)
        (tmp_path / "secret").write_text("a secret")
        os.utime(tmp_path / "secret", (1, 1))
        if request.param == "fifo":
            os.mkfifo(path)
        elif request.param == "link":
            path.symlink_to(tmp_path / "secret")
        else:
            path.mkdir()
        return files

    def test_is_not_read(self, replaced):
        with pytest.raises(module.OutputError, match="output file of procedure 1 is no regular file any more"):
            replaced.read(1, 0, 100, ended=True)
        assert replaced.tail(1) == "[the output file of procedure 1 is no regular file any more]"
        assert replaced.size(1) == 0

    def test_what_it_leads_to_is_not_deleted(self, replaced, tmp_path):
        os.utime(replaced.path(1), (T, T), follow_symlinks=False)
        write(replaced, "young", 2)
        replaced.forget_before(T + 1000.0)
        assert (tmp_path / "secret").read_text() == "a secret"
        assert not replaced.path(1).is_symlink()

    def test_a_link_in_the_place_of_the_folder_leads_nowhere(self, files, tmp_path):
        folder = files.path(1).parent
        folder.rmdir()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "1.log").write_text("of another")
        os.utime(elsewhere / "1.log", (T, T))
        (elsewhere / "2.log").touch()
        folder.symlink_to(elsewhere)
        with pytest.raises(module.OutputError):
            files.read(1, 0, 100, ended=True)
        files.forget_before(T + 1000.0)
        assert (elsewhere / "1.log").exists()
        assert files.highest_id() == 0
        assert "cannot be kept" in files.prepare()


class TestNames:
    """Of what stands in the folder only what we could have written ourselves counts."""

    ODD = ("9223372036854775805.log", "²", "².log", "٣.log", "007.log", "-4.log", "+5.log", "0.log", "8.LOG")

    def test_an_odd_one_is_nobodys_id(self, files):
        for name in self.ODD:
            (files.path(1).parent / name).write_text("odd")
        (files.path(1).parent / "99.log").mkdir()
        write(files, "mine", 3)
        assert files.highest_id() == 3

    def test_an_odd_one_is_not_deleted(self, files):
        for name in self.ODD:
            (files.path(1).parent / name).write_text("odd")
            os.utime(files.path(1).parent / name, (T, T))
        write(files, "old", 3)
        os.utime(files.path(3), (T, T))
        write(files, "young", 4)
        files.forget_before(T + 1000.0)
        assert sorted(os.listdir(files.path(1).parent)) == sorted([*self.ODD, "4.log"])

    def test_many_files_leave_no_descriptor_open(self, files):
        before = len(os.listdir("/proc/self/fd"))
        for uid in range(1, 1001):
            files.path(uid).touch()
        assert files.highest_id() == 1000
        files.forget_before(0.0)
        assert len(os.listdir("/proc/self/fd")) == before
