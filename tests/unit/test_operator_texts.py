"""What operators read of procedures: short, in one line, and the same until something happens."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ska_oet_device.procedure.application import (
    ArgCapture,
    ProcedureHistory,
    ProcedureSummary,
    RequestRecord,
    Snapshot,
)
from ska_oet_device.procedure.domain import FileSystemScript, GitScript, ProcedureInput
from ska_oet_device.procedure.state import ProcedureState as S
from ska_oet_device.procedure.ui._operator_texts import HEAD, MOST_ROWS, details_of, table_of

BEGAN = 1_795_327_200.0  # 2026-11-22 06:00:00 UTC


def summary(pid: int = 1, *states: tuple[S, float], uri: str = "file://a.py", **more: Any) -> ProcedureSummary:
    entered = tuple((state, BEGAN + after) for state, after in (states or ((S.READY, 0.0),)))
    return ProcedureSummary(
        id=pid,
        script=FileSystemScript(uri),
        script_args=(ArgCapture("init", ProcedureInput(), BEGAN),),
        history=ProcedureHistory(entered, **more),
        state=entered[-1][0],
        requested_by=(RequestRecord("Run", "python pid 1", "Ada", BEGAN),),
    )


def rows_of(*summaries: ProcedureSummary, living: int = 0) -> list[tuple[str, ...]]:
    return list(table_of(Snapshot(summaries, summaries[len(summaries) - living :] if living else ())))[1:]


def test_an_empty_table_has_the_names_of_its_columns():
    assert table_of(Snapshot()) == (HEAD,)


def test_a_row_says_what_and_since_when_and_who():
    running = summary(3, (S.READY, 0.0), (S.RUNNING, 2.0))
    assert rows_of(running, living=1) == [("3", "a.py", "RUNNING", "2026-11-22 06:00:02Z", "", "Ada", "")]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0.0 s"),
        (12.34, "12.3 s"),
        (59.99, "60.0 s"),
        (65.4, "1 min 05 s"),
        (3599.9, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_duration_is_from_the_first_call_to_the_end(seconds, shown):
    ended = summary(1, (S.READY, 0.0), (S.RUNNING, 1.0), (S.READY, 1.0 + seconds / 2), (S.COMPLETE, 1.0 + seconds))
    assert rows_of(ended)[0][4] == shown


def test_one_that_never_ran_has_no_duration():
    assert rows_of(summary(1, (S.READY, 0.0), (S.STOPPED, 9.0)))[0][4] == ""


def test_a_clock_that_was_set_back_makes_no_duration_below_zero():
    assert rows_of(summary(1, (S.RUNNING, 9.0), (S.COMPLETE, 0.0)))[0][4] == "0.0 s"


def test_the_newest_come_first_and_those_that_live_are_always_there():
    many = [summary(pid, (S.COMPLETE, 0.0)) for pid in range(2, 500)]
    old = summary(1, (S.READY, 0.0))
    rows = [int(row[0]) for row in list(table_of(Snapshot((old, *many), (old,))))[1:]]
    assert len(rows) == MOST_ROWS
    assert rows == [*range(499, 499 - MOST_ROWS + 1, -1), 1]


def test_of_too_many_that_live_the_newest_are_there():
    living = tuple(summary(pid) for pid in range(1, 300))
    rows = [int(row[0]) for row in list(table_of(Snapshot(living, living)))[1:]]
    assert rows == [*range(299, 299 - MOST_ROWS, -1)]


def test_whatever_is_said_a_table_has_less_than_an_event_may():
    exit_ = {"reason": "見" * 10_000, "stop_reason": "\n\x1b[31m\0" * 1000}
    worst = dataclasses.replace(
        summary(10**18, (S.FAILED, 0.0), uri=f"file://{'見' * 4000}", exit=exit_),
        requested_by=(RequestRecord("Run", "c" * 1000, "見" * 1000, BEGAN),),
    )
    rows = list(table_of(Snapshot((worst,) * 200)))
    assert sum(len(cell) for row in rows for cell in row) < 64 * 1024
    assert all(cell.isprintable() for row in rows for cell in row)
    for row in rows:
        "".join(row).encode("latin-1")


def test_why_it_was_stopped_and_that_it_is_an_abort_script_is_noted():
    stopped = summary(1, (S.STOPPED, 0.0), exit={"reason": "stopped on request", "stop_reason": "clouds"})
    abort = dataclasses.replace(summary(2), requested_by=(RequestRecord("Stop", "x", None, BEGAN),))
    dropped = summary(3, dropped_starts=((BEGAN, "another one has the turn"),))
    assert [row[6] for row in rows_of(stopped, abort, dropped)] == [
        "another one has the turn",
        "abort script",
        "stopped on request; clouds",
    ]


def test_a_script_in_git_is_named_by_its_uri():
    git = dataclasses.replace(summary(1), script=GitScript("git://a.py"))
    assert rows_of(git)[0][1] == "git://a.py"


def test_the_details_tell_who_why_and_where():
    failed = summary(
        7,
        (S.RUNNING, 0.0),
        (S.FAILED, 65.0),
        exit={"reason": "ValueError: wind"},
        stacktrace="Traceback\n  line\nValueError: wind",
        dropped_starts=((BEGAN, "another one has the turn"),),
    )
    assert details_of(failed).splitlines() == [
        "procedure 7: file://a.py",
        "FAILED since 2026-11-22 06:01:05Z, ran 1 min 05 s",
        "Run by Ada at 2026-11-22 06:00:00Z",
        "ValueError: wind",
        "start dropped at 2026-11-22 06:00:00Z: another one has the turn",
        "Traceback",
        "  line",
        "ValueError: wind",
    ]


def test_long_details_fit_an_event():
    assert len(details_of(summary(1, (S.FAILED, 0.0), stacktrace="見" * 100_000))) <= 64 * 1024


def test_one_of_which_nothing_is_known_is_told_all_the_same():
    bare = dataclasses.replace(summary(1), requested_by=(), history=ProcedureHistory())
    assert rows_of(bare)[0][5:] == ("", "")
    assert "procedure 1" in details_of(bare)
