"""Who owns the state of a device: names, folders, and the lock file."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.owners import elsewhere, main_process

from ska_oet_device.locks import FileLock
from ska_oet_device.procedure.ownership import (
    Owner,
    StateHeldError,
    claim_folder,
    former_state_folder,
    state_folder,
    state_key,
)

DEVICE = "mid-oet/subarray/01"
_parts = st.text("abc_-.%:/ ", min_size=1, max_size=6).filter(lambda text: "/" not in text)


class TestNames:
    def test_are_the_same_in_upper_and_lower_case_as_tangos_are(self):
        assert state_key("DB:10000", "Mid-OET/Subarray/01") == state_key("db:10000", DEVICE)

    def test_of_any_length_fit_into_the_history(self):
        keys = {state_key(f"{'h' * 250}{number}:10000", DEVICE) for number in range(3)}
        assert len(keys) == 3
        assert all(len(key) <= 255 for key in keys)

    @given(st.lists(st.tuples(_parts, _parts, _parts, _parts), min_size=2, max_size=2, unique=True))
    def test_no_two_devices_share_a_folder(self, two):
        folders = {state_folder(Path("/state"), "/".join(parts)) for parts in two}
        assert len(folders) == 2
        assert all(Path("/state/devices") in folder.parents for folder in folders)
        assert all(".." not in folder.parts for folder in folders)


class TestFormerNames:
    """What an earlier version kept in the folder of a device that was called like a file of ours is taken up."""

    def test_of_a_device_that_had_its_folder_alone(self, tmp_path):
        former = tmp_path / "devices" / "db:1" / "mid" / "x" / "output"
        former.mkdir(parents=True)
        (former / "owner").touch()
        assert former_state_folder(tmp_path, "db:1/mid/x/output") == former
        assert state_folder(tmp_path, "db:1/mid/x/output") == former.with_name("%6Futput")

    def test_but_not_of_one_whose_folder_was_another_device_too(self, tmp_path):
        (tmp_path / "devices" / "engine" / "a" / "output").mkdir(parents=True)
        (tmp_path / "devices" / "engine" / "a" / "owner").touch()
        assert former_state_folder(tmp_path, "engine/a/output") is None
        assert former_state_folder(tmp_path, "engine/a//b") is None

    def test_an_ordinary_device_has_none(self, tmp_path):
        assert former_state_folder(tmp_path, f"db:1/{DEVICE}") is None


class TestOwner:
    def test_lives_as_long_as_its_process(self):
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        owner = Owner.of_main("boot", process.pid)
        try:
            assert owner.lives()
            assert Owner.from_text(owner.as_text()) == owner
        finally:
            process.communicate(b"\n")
        assert owner.lives() is False

    def test_whose_process_id_was_given_to_another_process_does_not_live(self):
        assert main_process().lives() is False
        assert main_process(lives=True).lives() is True

    def test_that_proc_hides_may_live(self, monkeypatch):
        owner, gone = main_process(lives=True), main_process()
        monkeypatch.setattr("ska_oet_device.procedure.ownership.stat_of", lambda pid: None)
        assert owner.lives() is None
        assert dataclasses.replace(gone, pid=2**22 + 1).lives() is False

    def test_of_another_host_cannot_be_seen(self):
        assert elsewhere().lives() is None

    @pytest.mark.parametrize("text", [None, "", "nonsense", "[]", "{}", '{"boot": "b"}', "null"])
    def test_that_cannot_be_read_is_none(self, text):
        assert Owner.from_text(text) is None


class TestClaim:
    def test_is_refused_while_the_owner_lives_even_if_nobody_holds_the_lock(self, tmp_path):
        claim = claim_folder(tmp_path, main_process("first", lives=True))
        claim.lock.close()  # its device server is being started anew
        with pytest.raises(StateHeldError, match=r"belongs to main process \d+ on host .*, which is running"):
            claim_folder(tmp_path, main_process("second", lives=True))
        assert claim_folder(tmp_path, main_process("first", lives=True)).previous == main_process("first", lives=True)

    def test_waits_for_the_device_server_of_a_main_that_is_gone(self, tmp_path):
        claim = claim_folder(tmp_path, main_process("first"))
        threading.Timer(0.2, claim.lock.close).start()
        assert claim_folder(tmp_path, main_process("second", lives=True), 20).previous == main_process("first")

    def test_waits_no_longer_than_it_is_told(self, tmp_path):
        claim = claim_folder(tmp_path, main_process("first"))
        with pytest.raises(StateHeldError, match="in use by main process"):
            claim_folder(tmp_path, main_process("second", lives=True), 0.1)
        claim.lock.close()

    def test_may_follow_an_owner_that_has_let_go_and_still_lives_for_a_moment(self, tmp_path):
        claim = claim_folder(tmp_path, main_process("first", lives=True))
        claim.let_go()
        claim.lock.close()
        assert claim_folder(tmp_path, main_process("second", lives=True)).previous is None

    def test_may_be_given_up_more_than_once(self, tmp_path):
        claim = claim_folder(tmp_path, main_process(lives=True))
        for _ in range(2):
            claim.let_go()
            claim.close()
        claim_folder(tmp_path, main_process("another", lives=True)).close()

    def test_of_a_folder_that_cannot_be_made_is_an_error_of_the_system(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            claim_folder(tmp_path / "file" / "folder", main_process())

    def test_is_given_up_with_the_process(self, tmp_path):
        code = (
            "import sys; from pathlib import Path; from support.owners import main_process\n"
            "from ska_oet_device.procedure.ownership import claim_folder\n"
            "claim = claim_folder(Path(sys.argv[1]), main_process('child')); print('held', flush=True); input()"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            assert FileLock.try_take(tmp_path / "owner") is None
        finally:
            child.kill()
            child.communicate()
        assert claim_folder(tmp_path, main_process("second", lives=True)).previous is not None
