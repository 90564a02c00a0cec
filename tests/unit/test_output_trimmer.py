"""MaxOutput holds for whoever prints: in any state, after the end, and with a limit that changes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.waiting import wait_until

from ska_oet_device.procedure.hosting._output_trimmer import OutputTrimmer
from ska_oet_device.procedure.output import OutputFiles
from ska_oet_device.procedure.state import ProcedureState

LIMIT = 64 * 1024


class Printing:
    """The output files of one device, and a limit that can be changed."""

    def __init__(self, files: OutputFiles) -> None:
        self.files = files
        self.limit = LIMIT
        self.trimmer = OutputTrimmer(files, lambda: self.limit)

    def print(self, uid: int, size: int) -> None:
        with self.files.path(uid).open("ab") as file:
            file.write(b"x" * size)

    def kept(self, uid: int) -> int:
        return self.files.path(uid).stat().st_blocks * 512

    def wait_until_short(self, uid: int) -> None:
        wait_until(lambda: self.kept(uid) <= self.limit, 5, f"the output of {uid} is within its limit")


@pytest.fixture
def printing(tmp_path) -> Iterator[Printing]:
    files = OutputFiles(tmp_path)
    assert files.prepare() == ""
    printing = Printing(files)
    yield printing
    printing.trimmer.close()


def test_who_lives_at_the_start_is_looked_at(printing):
    printing.print(1, 4 * LIMIT)
    printing.trimmer.start([1])
    printing.wait_until_short(1)
    printing.print(1, 4 * LIMIT)
    printing.wait_until_short(1)


@pytest.mark.parametrize("state", [state for state in ProcedureState if not state.is_terminal])
def test_who_lives_is_looked_at_in_any_state(printing, state):
    printing.trimmer.start([])
    printing.trimmer.note(1, state)
    printing.print(1, 4 * LIMIT)
    printing.wait_until_short(1)


def test_who_has_ended_is_looked_at_once_more(printing):
    printing.trimmer.start([1])
    printing.print(1, 4 * LIMIT)
    printing.trimmer.note(1, ProcedureState.COMPLETE)
    printing.wait_until_short(1)
    printing.print(1, 4 * LIMIT)
    printing.print(2, 4 * LIMIT)
    printing.trimmer.note(2, ProcedureState.FAILED)  # it came and went between two looks
    printing.wait_until_short(2)
    assert printing.kept(1) > LIMIT


def test_a_new_limit_counts_at_once(printing):
    printing.limit = 0
    printing.trimmer.start([1])
    printing.print(1, 4 * LIMIT)
    time.sleep(0.5)
    assert printing.kept(1) >= 4 * LIMIT
    printing.limit = LIMIT
    printing.wait_until_short(1)


def test_a_file_that_does_not_grow_is_left_alone(printing, monkeypatch):
    trimmed = []
    trim = printing.files.trim
    monkeypatch.setattr(printing.files, "trim", lambda *args: trimmed.append(args) or trim(*args))
    printing.print(1, 4 * LIMIT)
    printing.trimmer.start([1])
    printing.wait_until_short(1)
    time.sleep(0.5)
    assert len(trimmed) == 1


def test_at_the_end_who_has_ended_is_looked_at_once_more(printing):
    printing.trimmer.start([])
    printing.trimmer.note(1, ProcedureState.RUNNING)
    printing.print(1, 4 * LIMIT)
    printing.trimmer.note(1, ProcedureState.COMPLETE)
    printing.trimmer.close()
    assert printing.kept(1) <= LIMIT
