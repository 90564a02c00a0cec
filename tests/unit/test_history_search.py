"""Looking for procedures: in the database of a history, and among those that are known in memory, with one meaning."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from support.owners import main_process

from ska_oet_device.errors import HistoryError, TooLargeError
from ska_oet_device.procedure.application import Caller, HistoryQuery, ProcedureSummary
from ska_oet_device.procedure.application import _past as past
from ska_oet_device.procedure.application._procedure import Procedure
from ska_oet_device.procedure.application._procedures import Procedures
from ska_oet_device.procedure.application._stored import summary_of
from ska_oet_device.procedure.domain import ProcedureState as S
from ska_oet_device.procedure.history import (
    HistoryStore,
    MemoryHistory,
    ProcedureFilter,
    SqlHistory,
    StoredCall,
    StoredProcedure,
    _search,
)

DEVICE = "mid-oet/subarray/01"
GIT = {
    "script_type": "git",
    "script_uri": "git://scripts/observe.py",
    "git_args": {"git_repo": "https://gitlab.com/ska/oso.git", "git_branch": "v1.2", "git_commit": None},
    "create_env": False,
}
NOBODY = Caller("python3 pid 7 on host ws1")


def file(uri: str) -> dict[str, Any]:
    return {"script_type": "filesystem", "script_uri": uri}


class Kept:
    """A history in a database, and what is put into it."""

    def __init__(self, history: SqlHistory) -> None:
        self.history = history

    def add(
        self,
        script: dict[str, Any],
        created: float,
        *ended: Any,
        args: dict[str, Any] | None = None,
        by: Caller = NOBODY,
        **values: Any,
    ) -> int:
        uid, history = self.history.next_id(), self.history
        call = StoredCall("main", {"args": [], "kwargs": args or {}}, created)
        states = ((S.CREATING, created),)
        new = StoredProcedure(uid, f"run-{uid}", "tango://x#1", script, None, S.CREATING, states=states, calls=(call,))
        history.add_procedure(new, history.next_event(uid, new.run_id, None, S.CREATING, created, None), nothing)
        history.add_request("Run", by.client, by.user, uid, created, "accepted")
        if ended:
            state, reason = ended
            event = history.next_event(uid, new.run_id, S.RUNNING, state, created + 5, reason)
            exit_ = {"exit_code": 1, "signal": None, "reason": reason, **values.pop("exit", {})}
            told = {"state": state, "stacktrace": None, "exit": exit_, "os_pid": None, "function": "main", **values}
            history.keep(event, told, nothing)
        return uid

    def find(self, before: int = 10**6, limit: int = 100, **wanted: Any) -> list[int]:
        return list(self.history.find(ProcedureFilter(**wanted), before, limit).ids)


def nothing() -> None: ...


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Seven procedures, numbered from 1."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgresql_server").url
    store = HistoryStore(main_process())
    try:
        history, problem = store.open(DEVICE, url, tmp_path_factory.mktemp("history"))
        assert (problem, history.problem) == ("", "")
        assert isinstance(history, SqlHistory)
        kept = Kept(history)
        kept.add(file("file:///scripts/Observe_100%.py"), 100.0, S.COMPLETE, "completed")
        kept.add(file("file:///scripts/calibrate.py"), 200.0, S.FAILED, "ValueError: azimuth 900", stacktrace="in slew")
        stop = {"stop_reason": "Clouds\0"}
        kept.add(file("file:///scripts/grün.py"), 300.0, S.STOPPED, "stopped on request", exit=stop)
        kept.add(GIT, 400.0, S.COMPLETE, "completed", by=Caller("tangogql pid 9", "Zoë"))
        kept.add(file("file:///scripts/a.py"), 500.0, args={"target": 'M31 "é"\\n', "args": 1})
        kept.add(file("file:///scripts/observe_1000.py"), 600.0)
        kept.add(file("file:///scripts/observe_1.py"), 50.0)  # while the clock was wrong
        assert history.wait(10)
        engine = history._writer.engine
        with engine.connect(), engine.connect(), engine.connect():  # which stay open: no test makes one more
            pass
        yield kept
    finally:
        store.close()


QUESTIONS = [
    ({}, [7, 6, 5, 4, 3, 2, 1]),
    ({"since": 200.0, "until": 400.0}, [3, 2]),
    ({"since": 600.0}, [6]),
    ({"until": 100.0}, [7]),
    ({"since": 700.0}, []),
    ({"script": "observe"}, [7, 6, 4, 1]),
    ({"script": "100%"}, [1]),
    ({"script": "e_1"}, [7, 6, 1]),
    ({"script": "observe/1"}, []),
    ({"script": "OBSERVE_1"}, [7, 6, 1]),
    ({"script": "gitlab"}, []),
    ({"script": "grün"}, [3]),
    ({"state": S.CREATING}, [7, 6, 5]),
    ({"state": S.UNKNOWN}, []),
    ({"user": "zoë"}, [4]),
    ({"user": "ws1"}, [7, 6, 5, 3, 2, 1]),
    ({"user": "Run"}, []),
    ({"text": "gitlab"}, [4]),
    ({"text": "v1.2"}, [4]),
    ({"text": "azimuth 900"}, [2]),
    ({"text": "SLEW"}, [2]),
    ({"text": "clouds"}, [3]),
    ({"text": "clouds\0"}, [3]),
    ({"text": "stopped on"}, [3]),
    ({"text": "tangogql"}, [4]),
    ({"text": 'M31 "é"\\n'}, [5]),
    ({"text": "kwargs"}, []),
    ({"text": "target"}, [5]),
    ({"text": "filesystem"}, []),
    ({"text": "exit_code"}, []),
    ({"text": "accepted"}, []),
    ({"text": "\0"}, [3]),
    ({"run_id": "run-4"}, [4]),
    ({"run_id": "run-4", "state": S.FAILED}, []),
    ({"run_id": "run-"}, []),
    ({"script": "observe", "state": S.COMPLETE, "until": 300.0}, [1]),
    ({"before": 4}, [3, 2, 1]),
    ({"before": 1}, []),
    ({"before": 6, "limit": 2}, [5, 4]),
    ({"before": 6, "limit": 2, "script": "observe"}, [4, 1]),
]
questions = pytest.mark.parametrize(("asked", "found"), QUESTIONS, ids=[f"q{i}" for i in range(len(QUESTIONS))])


class TestTheDatabase:
    @questions
    def test_finds_what_is_asked_for(self, kept, asked, found):
        assert kept.find(**asked) == found

    def test_does_not_tell_what_is_to_be_skipped_and_goes_on_behind_it(self, kept):
        assert kept.history.find(ProcedureFilter(), 10**6, 3, {7, 5}).ids == (6, 4, 3)

    def test_says_where_it_has_stopped_when_the_time_is_over(self, kept, monkeypatch):
        monkeypatch.setattr(_search, "BUDGET", -1.0)
        monkeypatch.setattr(_search, "_FIRST_PART", 2)
        found = kept.history.find(ProcedureFilter(text="observe_1000"), 7, 10)
        assert (found.ids, found.looked_to) == ((), 7)

    @pytest.mark.parametrize("pace", [0.0, 1000.0], ids=["slow", "quick"])
    def test_looks_through_parts_of_any_size(self, kept, monkeypatch, pace):
        monkeypatch.setattr(_search, "BUDGET", 60.0)
        monkeypatch.setattr(_search, "_FOR_A_PART", pace)
        monkeypatch.setattr(_search, "_FIRST_PART", 1)
        monkeypatch.setattr(_search, "_LARGEST_PART", 2)
        assert kept.find(text="observe") == [7, 6, 4, 1]
        assert kept.find(text="observe", limit=2) == [7, 6]


def procedures_with(*summaries: ProcedureSummary) -> Procedures:
    procedures = Procedures(lambda: 100)
    for summary in summaries:
        procedures.add(Procedure(summary))
    return procedures


class TestWhatIsKnownInMemory:
    @pytest.fixture(scope="class")
    def known(self, kept) -> list[ProcedureSummary]:
        return [summary_of(each) for _, each in sorted(kept.history.procedures(range(1, 8)).items())]

    @questions
    def test_is_found_as_the_database_finds_it(self, kept, known, asked, found):
        query = HistoryQuery(
            ProcedureFilter(**{key: value for key, value in asked.items() if key not in ("before", "limit")}),
            asked.get("before", 0),
            asked.get("limit", 100),
        )
        everything = past.Past(procedures_with(*known), MemoryHistory(DEVICE), DEVICE)
        assert [summary.id for summary in everything.find(query)] == found
        some = past.Past(procedures_with(*known[::2]), kept.history, DEVICE)
        assert [summary.id for summary in some.find(query)] == found

    @pytest.mark.parametrize(
        ("user", "found"), [("ZOë", [4]), ("zOË", []), ("ZOË", [])], ids=["ascii", "other", "both"]
    )
    def test_has_other_letters_than_those_of_ascii_as_they_are_written_as_sqlite_has_them(self, known, user, found):
        query = HistoryQuery(ProcedureFilter(user=user))
        everything = past.Past(procedures_with(*known), MemoryHistory(DEVICE), DEVICE)
        assert [summary.id for summary in everything.find(query)] == found

    def test_is_the_truth_where_the_history_says_otherwise(self, kept, known):
        (living,) = (each for each in known if each.id == 5)
        changed = ProcedureSummary(**{**vars(living), "state": S.RUNNING})
        found = past.Past(procedures_with(changed), kept.history, DEVICE)
        wanted = HistoryQuery(ProcedureFilter(state=S.RUNNING))
        assert [(summary.id, summary.state) for summary in found.find(wanted)] == [(5, S.RUNNING)]
        assert 5 not in [each.id for each in found.find(HistoryQuery(ProcedureFilter(state=S.CREATING)))]

    def test_is_told_by_its_run_though_the_history_is_not_there(self, known):
        class Away(MemoryHistory):
            def find(self, *asked: Any) -> Any:
                raise HistoryError("the history cannot be read")

        found = past.Past(procedures_with(*known), Away(DEVICE), DEVICE)
        assert [each.id for each in found.find(HistoryQuery(ProcedureFilter(run_id="run-3")))] == [3]
        with pytest.raises(HistoryError):
            found.find(HistoryQuery(ProcedureFilter(run_id="run-99")))


class TestPages:
    def test_nothing_found_in_the_time_for_it_is_refused_and_says_how_to_go_on(self, kept, monkeypatch):
        monkeypatch.setattr(_search, "BUDGET", -1.0)
        with pytest.raises(TooLargeError, match='go on with "before": 6,'):
            past.Past(procedures_with(), kept.history, DEVICE).find(HistoryQuery(ProcedureFilter(text="no such"), 6))

    def test_one_is_read_however_late_it_is_and_the_rest_is_left_to_the_next_page(self, kept, monkeypatch):
        monkeypatch.setattr(past, "_BUDGET", -1.0)
        monkeypatch.setattr(past, "_LOADED_TOGETHER", 2)
        found = past.Past(procedures_with(), kept.history, DEVICE).find(HistoryQuery(ProcedureFilter()))
        assert [each.id for each in found] == [7, 6]

    def test_procedures_with_too_many_entries_make_a_short_page(self, kept, monkeypatch):
        real = kept.history.procedures

        def few(ids: Any, longest: int = 0) -> Any:
            if len(ids) > 2:
                raise TooLargeError("too many")
            return real(ids)

        monkeypatch.setattr(kept.history, "procedures", few)
        found = past.Past(procedures_with(), kept.history, DEVICE).find(HistoryQuery(ProcedureFilter()))
        assert [each.id for each in found] == [7]
        assert (
            past.Past(procedures_with(), kept.history, DEVICE).find(HistoryQuery(ProcedureFilter(), before=3))[0].id
            == 2
        )

    @pytest.mark.parametrize("gone", [{5}, {7, 6, 5, 4, 3, 2, 1}], ids=["one", "all"])
    def test_what_is_forgotten_while_it_is_looked_for_is_left_out(self, kept, monkeypatch, gone):
        real = kept.history.procedures
        monkeypatch.setattr(kept.history, "procedures", lambda ids, longest: real(set(ids) - gone, longest))
        found = past.Past(procedures_with(), kept.history, DEVICE).find(HistoryQuery(ProcedureFilter()))
        assert [each.id for each in found] == [pid for pid in range(7, 0, -1) if pid not in gone]


def test_procedures_of_an_earlier_version_are_found_like_new_ones(kept):
    """It had no table by which procedures are looked for."""
    engine = kept.history._writer.engine
    with engine.begin() as connection:
        for table in ("lookup", "schema_version"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    engine.dispose()
    kept.history.introduce()
    for asked, found in QUESTIONS:
        assert kept.find(**asked) == found, asked
    kept.history.introduce()
    assert kept.find() == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("condition", ["created >= 1", "run_id = 'x'"])
def test_what_is_looked_for_by_time_or_run_is_read_from_an_index(tmp_path: Path, condition: str):
    store = HistoryStore(main_process())
    try:
        history, _ = store.open(DEVICE, "", tmp_path)
        assert isinstance(history, SqlHistory)
        with history._writer.engine.connect() as connection:
            told = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN SELECT min(id + 0), max(id + 0) FROM lookup WHERE device = 'x' AND {condition}"
            ).all()
        assert re.search(r"USING (COVERING )?INDEX lookup_(created|run) ", str(told))
    finally:
        store.close()


def test_what_is_unfinished_or_old_is_read_from_an_index(tmp_path: Path):
    store = HistoryStore(main_process())
    try:
        history, _ = store.open(DEVICE, "", tmp_path)
        assert isinstance(history, SqlHistory)
        told: list[str] = []

        def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith(("SELECT procedure.", "SELECT request.")):
                rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                told.append(rows[0][-1])

        event.listen(history._writer.engine, "before_cursor_execute", explain)
        history.unfinished()
        history.add_request("Stop", "c", None, 1, time.time(), "accepted")
        history.forget_before(time.time() - 1000)
        assert history.wait(10)
        for index, what in (("state", "device=? AND state=?"), ("age", "device=? AND changed")):
            assert [each for each in told if f"procedure_{index} ({what}" in each], told
        assert [each for each in told if "request_age (device=? AND time" in each], told
    finally:
        store.close()


def test_what_is_forgotten_is_not_found(tmp_path: Path):
    store = HistoryStore(main_process())
    try:
        history, _ = store.open(DEVICE, "", tmp_path)
        assert isinstance(history, SqlHistory)
        kept, now = Kept(history), time.time()
        kept.add(file("file:///old.py"), now - 1000, S.COMPLETE, "completed")
        kept.add(file("file:///new.py"), now, S.COMPLETE, "completed")
        history.forget_before(now - 500)
        assert history.wait(10)
        assert kept.find() == [2]
    finally:
        store.close()
