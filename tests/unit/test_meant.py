"""Which procedure a Stop or a Start without an id means."""

from __future__ import annotations

import pytest

from ska_oet_device.errors import InvalidStateError
from ska_oet_device.procedure.application import ProcedureHistory, ProcedureSummary
from ska_oet_device.procedure.application._meant import to_be_started, to_be_stopped
from ska_oet_device.procedure.application._procedure import Procedure
from ska_oet_device.procedure.domain import FileSystemScript, ProcedureState

S = ProcedureState


def one(
    pid: int,
    state: S,
    *,
    function: str = "",
    starting: bool = False,
    stopping: bool = False,
    queued: int = 0,
    abort_of: int | None = None,
) -> Procedure:
    summary = ProcedureSummary(pid, FileSystemScript("file://a.py"), (), ProcedureHistory(), state)
    procedure = Procedure(summary, abort_of=abort_of, function=function)
    procedure.is_starting, procedure.queued_starts = starting, queued
    procedure.stopping = "It is being stopped." if stopping else ""
    procedure.waits_for_turn = abort_of is not None and state is not S.RUNNING
    return procedure


READY = one(1, S.READY)
RUNNING = one(2, S.RUNNING, function="main")


class TestStop:
    @pytest.mark.parametrize(
        "active",
        [
            RUNNING,
            one(2, S.READY, starting=True),
            one(2, S.READY, function="main"),
            one(2, S.RUNNING, function="main", stopping=True),
        ],
        ids=["running", "being-started", "still-ending", "being-stopped"],
    )
    def test_means_the_one_that_has_the_turn_whatever_else_lives(self, active):
        unknown = one(5, S.UNKNOWN, function="main")
        assert to_be_stopped([READY, active, one(3, S.LOADING), unknown]) is active

    @pytest.mark.parametrize("state", [S.CREATING, S.LOADING, S.READY, S.UNKNOWN])
    def test_means_the_only_one_that_lives(self, state):
        only = one(7, state)
        assert to_be_stopped([only]) is only

    def test_means_the_one_that_is_being_stopped_while_its_abort_script_is_prepared(self):
        stopped = one(3, S.LOADING, stopping=True)
        assert to_be_stopped([stopped, one(4, S.IDLE, abort_of=3)]) is stopped

    @pytest.mark.parametrize(
        ("living", "said"),
        [
            ([], "no procedure is alive"),
            ([READY, one(3, S.LOADING)], "procedure 1 is READY, procedure 3 is LOADING"),
            ([READY, one(3, S.UNKNOWN, function="main")], "procedure 1 is READY, procedure 3 is UNKNOWN"),
            (
                [READY, one(4, S.RUNNING, function="main", abort_of=3)],
                r"procedure 4 \(the abort script of procedure 3\) is RUNNING: it is stopped only by its id",
            ),
            ([one(4, S.READY, abort_of=3)], r"procedure 4 \(the abort script of procedure 3\) is READY"),
            ([one(i, S.READY) for i in range(1, 31)], "procedure 30 is READY and 20 older ones"),
        ],
        ids=["nothing", "several", "unknown-and-another", "abort-script", "abort-script-alone", "many"],
    )
    def test_is_refused_where_that_is_not_clear(self, living, said):
        with pytest.raises(InvalidStateError, match=said):
            to_be_stopped(living)


class TestStart:
    def test_means_the_newest_that_is_ready(self):
        newest = one(8, S.READY, function="calibrate")
        assert to_be_started([READY, newest, one(9, S.RUNNING)], force=False) is newest

    @pytest.mark.parametrize(
        "other",
        [
            one(9, S.READY, function="main"),
            one(9, S.READY, starting=True),
            one(9, S.READY, stopping=True),
            one(9, S.READY, abort_of=3),
            one(9, S.IDLE, abort_of=3),
            one(9, S.LOADING, stopping=True),
            one(9, S.UNKNOWN),
        ],
        ids=["ending", "starting", "stopping", "abort", "abort-comes", "stopped-on-its-way", "unknown"],
    )
    @pytest.mark.parametrize("force", [False, True], ids=["plain", "forced"])
    def test_does_not_mean_what_cannot_be_started_or_is_not_for_anybody_to_start(self, other, force):
        assert to_be_started([READY, other], force=force) is READY

    @pytest.mark.parametrize("state", [S.CREATING, S.IDLE, S.PREP_ENV, S.LOADING, S.INITIALISING])
    def test_ahead_of_time_means_a_newer_one_that_is_on_its_way(self, state):
        coming = one(9, state)
        assert to_be_started([READY, coming], force=True) is coming
        with pytest.raises(
            InvalidStateError, match=f"procedure 1 is READY, .*: procedure 9 is {state.name}; say which"
        ):
            to_be_started([READY, coming], force=False)

    def test_an_older_one_on_its_way_does_not_matter(self):
        assert to_be_started([one(0, S.LOADING), READY], force=False) is READY

    @pytest.mark.parametrize(
        ("living", "said"),
        [
            ([], "no procedure is READY: none is alive"),
            (
                [RUNNING, one(3, S.READY, starting=True)],
                "procedure 2 is RUNNING, procedure 3 is READY and being started",
            ),
        ],
        ids=["nothing", "busy"],
    )
    @pytest.mark.parametrize("force", [False, True], ids=["plain", "forced"])
    def test_is_refused_where_none_is_ready(self, living, said, force):
        with pytest.raises(InvalidStateError, match=said):
            to_be_started(living, force=force)

    def test_ahead_of_time_is_refused_where_the_newest_starts_by_itself(self):
        with pytest.raises(InvalidStateError, match="procedure 9 is LOADING, and has been asked to start already"):
            to_be_started([READY, one(9, S.LOADING, queued=1)], force=True)
