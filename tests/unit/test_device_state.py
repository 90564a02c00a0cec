"""What a device keeps on the disk: for our user alone, and made anew where somebody removes it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.owners import main_process

from ska_oet_device.procedure.hosting import DeviceState
from ska_oet_device.procedure.output import OutputError
from ska_oet_device.procedure.ownership import StateHeldError

DEVICE = "mid-oet/subarray/01"


@contextlib.contextmanager
def state_in(root: Path, boot: str = "boot", *, is_default: bool = False) -> Iterator[DeviceState]:
    state = DeviceState(root, "db:1", DEVICE, main_process(boot), is_default=is_default)
    try:
        yield state
    finally:
        state.close()


def modes_below(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode) for path in root.rglob("*")}


class TestPrivacy:
    def test_what_is_made_is_for_our_user_alone(self, tmp_path):
        before = os.umask(0)
        try:
            with state_in(tmp_path / "state"):
                modes = modes_below(tmp_path)
        finally:
            os.umask(before)
        assert modes
        assert all(mode in (0o700, 0o600) for mode in modes.values()), modes

    @pytest.fixture
    def lax(self, tmp_path):
        """A state folder that an earlier version has made, in a folder that others may read."""
        root = tmp_path / "ska-oet-device"
        output = root / "devices" / "db:1" / "mid-oet" / "subarray" / "01" / "output"
        output.mkdir(parents=True)
        for name in ("git/checkouts", "git/repositories", "environments"):
            (root / name).mkdir(parents=True)
        for path in (output / "1.log", output.parent / "owner", root / "history.sqlite3", root / "unheard-a@b.json"):
            path.touch()
        for path in [root, *root.rglob("*")]:
            path.chmod(0o775 if path.is_dir() else 0o664)
        return root

    def test_what_was_open_to_others_is_narrowed_at_the_start(self, lax, caplog):
        caplog.set_level("INFO")
        with state_in(lax, is_default=True):
            modes = modes_below(lax.parent)
        left = {name.removeprefix("ska-oet-device/"): oct(mode) for name, mode in modes.items() if mode & 0o077}
        # Nobody comes to what is in a folder that is closed.
        assert left.keys() <= {"devices/db:1/mid-oet/subarray/01/owner", "git/checkouts", "git/repositories"}
        assert "were open to other users" in caplog.text

    @pytest.mark.parametrize("name", ["ska-oet-device", "shared-with-a-group"])
    def test_a_folder_that_a_site_has_chosen_itself_stays_as_it_is(self, lax, name):
        chosen = lax.rename(lax.with_name(name))
        chosen.chmod(0o2770)
        with state_in(chosen):
            assert stat.S_IMODE(chosen.stat().st_mode) == 0o2770
            assert stat.S_IMODE((chosen / "devices").stat().st_mode) == 0o700
            assert stat.S_IMODE((chosen / "history.sqlite3").stat().st_mode) == 0o660, "the group's, too"

    @pytest.mark.parametrize(("folder", "history"), [(0o775, 0o660), (0o750, 0o640), (0o700, 0o600), (0o705, 0o600)])
    def test_a_history_has_no_more_for_its_group_than_its_folder_allows(self, lax, folder, history):
        lax.chmod(folder)
        with state_in(lax):
            assert stat.S_IMODE((lax / "history.sqlite3").stat().st_mode) == history

    def test_byte_code_of_an_earlier_version_is_removed(self, lax):
        (lax / f"pycache{lax}" / "git").mkdir(parents=True)
        with state_in(lax):
            assert not (lax / "pycache").exists()

    def test_byte_code_of_modules_in_checkouts_is_removed(self, lax):
        (lax / "git" / "pycache" / "srv").mkdir(parents=True)
        with state_in(lax):
            assert not (lax / "git" / "pycache").exists()
            assert (lax / "git" / "checkouts").is_dir()

    def test_but_not_what_somebody_else_calls_so(self, lax):
        (lax / "pycache" / "something").mkdir(parents=True)
        with state_in(lax):
            assert (lax / "pycache" / "something").exists()


class TestOutputThatASiteHasMovedByALink:
    @pytest.mark.parametrize("is_there", [True, False])
    def test_is_where_the_link_leads(self, tmp_path, is_there):
        place, large = tmp_path / "devices" / "db:1" / DEVICE, tmp_path / "large disk" / "output"
        place.mkdir(parents=True)
        (place / "output").symlink_to(large)
        if is_there:
            large.mkdir(parents=True)
            (large / "4.log").write_text("of earlier")
        with state_in(tmp_path) as state:
            assert state.problem == ""
            assert state.output.highest_id() == (4 if is_there else 0)
            assert state.output.path(5) == large / "5.log"
            state.output.path(5).write_text("printed")
            assert state.output.read(5, 0, 100, ended=True).text == "printed"

    def test_a_link_that_a_script_puts_there_is_not_followed(self, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "5.log").write_text("of another")
        with state_in(tmp_path) as state:
            folder = state.output.path(5).parent
            folder.rename(folder.with_name("aside"))
            folder.symlink_to(tmp_path / "elsewhere")
            with pytest.raises(OutputError):
                state.output.read(5, 0, 100, ended=True)

    @pytest.mark.parametrize("what", ["link", "dangling", "file", "fifo"])
    def test_what_a_script_puts_there_is_put_aside(self, tmp_path, what, caplog):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        with state_in(tmp_path / "state") as state:
            folder = state.output.path(5).parent
            folder.rename(folder.with_name("theirs"))
            match what:
                case "link":
                    folder.symlink_to(elsewhere)
                case "dangling":
                    folder.symlink_to(tmp_path / "nothing")
                case "file":
                    folder.write_text("in the way")
                case "fifo":
                    os.mkfifo(folder)
            for _ in range(3):
                state.look_after()
            assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
            assert folder.is_dir()
            assert not folder.is_symlink()
            (aside,) = folder.parent.glob("output.not-ours-*")
            assert aside.name in state.output.problem
            assert caplog.text.count("was replaced while it was in use") == 1
            state.output.path(5).write_text("printed")
            assert state.output.read(5, 0, 100, ended=True).text == "printed"
        assert elsewhere.is_dir()
        assert list(elsewhere.iterdir()) == []
        assert not (tmp_path / "nothing").exists()

    def test_a_link_further_up_is_neither_followed_nor_touched(self, tmp_path, caplog):
        with state_in(tmp_path / "state") as state:
            state.output.path(5).write_text("printed")
            (tmp_path / "state").rename(tmp_path / "moved")
            (tmp_path / "state").symlink_to(tmp_path / "moved")
            for _ in range(3):
                state.output.look_after()
            assert "a link leads to" in state.output.problem
            assert caplog.text.count("a link leads to") == 1
            assert (tmp_path / "state").is_symlink()
            with pytest.raises(OutputError):
                state.output.read(5, 0, 100, ended=True)
            (tmp_path / "state").unlink()
            (tmp_path / "moved").rename(tmp_path / "state")
            state.output.look_after()
            assert state.output.problem == ""
            assert state.output.read(5, 0, 100, ended=True).text == "printed"


class TestAFolderThatIsRemoved:
    @pytest.mark.long  # the lock of another server is waited for, 5 s
    @pytest.mark.parametrize("what", ["", "devices", "devices/db:1/mid-oet/subarray/01/owner"])
    def test_is_owned_again(self, tmp_path, what, caplog):
        root = tmp_path / "state"
        with state_in(root) as state:
            state.numbers.note(ids=7, sequence=70)
            shutil.rmtree(root / what) if (root / what).is_dir() else (root / what).unlink()
            state.look_after()
            state.look_after()
            assert caplog.text.count("it is begun anew") == 1
            with pytest.raises(StateHeldError):
                DeviceState(root, "db:1", DEVICE, main_process("another"))
            state.numbers.note(ids=8)
            assert state.output.prepare() == ""
        with state_in(root, "later") as state:
            assert (state.numbers.known.ids, state.numbers.known.sequence) == (8, 70)

    @pytest.mark.parametrize("what", ["numbers", "output"])
    def test_in_part_is_made_again(self, tmp_path, what):
        with state_in(tmp_path) as state:
            state.numbers.note(ids=7)
            path = state.output.path(1).parent.with_name(what)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            state.look_after()
            assert path.exists()
        with state_in(tmp_path) as state:
            assert state.numbers.known.ids == 7

    def test_that_cannot_be_made_is_said_once(self, tmp_path, caplog):
        root = tmp_path / "state"
        with state_in(root) as state:
            shutil.rmtree(root)
            root.write_text("in the way")
            for _ in range(3):
                state.look_after()
            assert caplog.text.count("was removed") == 1
            root.unlink()
            state.look_after()
            assert state.output.prepare() == ""
