"""Summaries as the attribute `procedures` has them: whole where they are short, else shortened; never large."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ska_oet_device.procedure.application import ArgCapture, ProcedureHistory, ProcedureSummary, RequestRecord, Snapshot
from ska_oet_device.procedure.domain import FileSystemScript, GitScript, ProcedureInput, ProcedureState
from ska_oet_device.procedure.gitmanager import GitArgs
from ska_oet_device.procedure.ui import _brief
from ska_oet_device.procedure.ui._answers import brief_summary_data
from ska_oet_device.procedure.ui._brief import LARGEST_LIST, LARGEST_SUMMARY, BriefSummaries, brief_json
from ska_oet_device.procedure.ui._devstring import to_json

_STATES = (
    ProcedureState.CREATING,
    ProcedureState.IDLE,
    ProcedureState.LOADING,
    ProcedureState.IDLE,
    ProcedureState.INITIALISING,
    ProcedureState.READY,
    ProcedureState.RUNNING,
    ProcedureState.READY,
    ProcedureState.COMPLETE,
)
_EXIT = {"exit_code": 0, "signal": None, "reason": "completed", "signals_sent": [], "reaped": []}


def _summary(number: int = 1, *calls: ProcedureInput, state: ProcedureState = ProcedureState.COMPLETE):
    """Return what is known of a procedure as they usually are."""
    return ProcedureSummary(
        id=number,
        script=FileSystemScript("file:///opt/observing/scripts/observe_sb.py"),
        script_args=tuple(ArgCapture("main", call, 1795327200.123456) for call in (ProcedureInput(), *calls)),
        history=ProcedureHistory(tuple((each, 1795327200.123456 + each) for each in _STATES), "Traceback", _EXIT),
        state=state,
        uri=f"tango://databaseds.ska.org:10000/mid-oet/subarray/01#{number}",
        run_id="01999f64-0000-7000-8000-000000000000",
        provenance={"path": "/opt/observing/scripts/observe_sb.py", "sha256": "0" * 64, "git_commit": None},
        requested_by=(RequestRecord("Run", "python pid 4711 on host ws1", None, 1795327200.123456),),
        os_pid=None,
    )


def _snapshot(summaries):
    living = tuple(summary for summary in summaries if not summary.state.is_final)
    return Snapshot(tuple(summaries), living)


def _brief_data(summary: ProcedureSummary):
    return json.loads(brief_json(summary))


def test_a_short_summary_is_whole_but_for_its_stack_trace():
    summary = _summary(3, ProcedureInput("sbi-1", subarray_id=1, receivers=["MKT001", "MKT002"]))
    assert _brief_data(summary) == json.loads(to_json(brief_summary_data(summary)))


@pytest.mark.parametrize(
    ("arguments", "args", "kwargs"),
    [
        (ProcedureInput("x" * 102_400), ["x" * 128 + "…"], {}),
        (ProcedureInput(sb="y" * 90_000, subarray_id=1), [], {"sb": "y" * 128 + "…", "subarray_id": 1}),
        (ProcedureInput(list(range(30_000)), {"a": "z" * 5000}), ["a list of 30000", "an object of 1"], {}),
        (ProcedureInput(*range(5000)), list(range(8)), {}),
    ],
)
def test_long_arguments_are_told_by_their_beginnings_and_their_size(arguments, args, kwargs):
    (_, call) = _brief_data(_summary(1, arguments))["script_args"]
    size = len(json.dumps(arguments.as_data()))
    assert call == {
        "fn": "main",
        "fn_args": {"args": args, "kwargs": kwargs, "shortened": size},
        "time": 1795327200.123456,
    }


def test_of_long_lists_the_newest_are_left_and_the_others_counted():
    summary = _summary(1, *(ProcedureInput(step=number) for number in range(1000)))
    states = tuple((ProcedureState.READY, float(number)) for number in range(2000))
    requests = summary.requested_by * 500
    summary = replace(summary, requested_by=requests, history=replace(summary.history, process_states=states))
    data = _brief_data(summary)
    for name, whole, left in (
        ("script_args", 1001, data["script_args"]),
        ("process_states", 2000, data["history"]["process_states"]),
        ("requested_by", 500, data["requested_by"]),
    ):
        assert left
        assert len(left) + data["left_out"][name] == whole
    assert data["script_args"][-1]["fn_args"]["kwargs"] == {"step": 999}
    assert data["history"]["process_states"][-1] == ["READY", 1999.0]


def test_a_summary_from_which_nothing_is_left_out_does_not_say_so():
    assert "left_out" not in _brief_data(_summary())


def test_the_size_of_arguments_is_found_out_once(monkeypatch):
    summary = _summary(1, ProcedureInput("x" * 100_000))
    brief_json(summary)
    encoded: list[object] = []
    monkeypatch.setattr(_brief, "to_json", lambda value: encoded.append(value) or to_json(value))
    brief_json(replace(summary, state=ProcedureState.RUNNING))
    assert sum(len(to_json(value)) for value in encoded) < 20_000


_TEXTS = st.builds(lambda text, times: text * times, st.text(max_size=4), st.sampled_from([1, 30, 600]))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_TIMES = st.floats(0, 4e9)


def _many(one: st.SearchStrategy):
    """Return a tuple of one thing, again and again."""
    return st.builds(lambda item, times: (item,) * times, one, st.sampled_from([0, 1, 10, 100]))


_INPUTS = st.builds(
    lambda args, kwargs: ProcedureInput(*args, **kwargs), _many(_VALUES), st.dictionaries(_TEXTS, _VALUES, max_size=3)
)
_SCRIPTS = st.builds(lambda text: FileSystemScript(f"file://a{text}"), _TEXTS) | st.builds(
    lambda text, args: GitScript(f"git://a{text}", GitArgs(*args), create_env=True),
    _TEXTS,
    st.tuples(_TEXTS, _TEXTS, _TEXTS),
)
_OBJECTS = st.none() | st.dictionaries(_TEXTS, _VALUES, max_size=10)
_SUMMARIES = st.builds(
    ProcedureSummary,
    id=st.integers(1, 2**63 - 1),
    script=_SCRIPTS,
    script_args=_many(st.builds(ArgCapture, _TEXTS, _INPUTS, _TIMES)),
    history=st.builds(
        ProcedureHistory,
        _many(st.tuples(st.sampled_from(ProcedureState), _TIMES)),
        st.none() | _TEXTS,
        _OBJECTS,
        _many(st.tuples(_TIMES, _TEXTS)),
    ),
    state=st.sampled_from(ProcedureState),
    uri=_TEXTS,
    run_id=_TEXTS,
    provenance=_OBJECTS,
    requested_by=_many(st.builds(RequestRecord, _TEXTS, _TEXTS, _TEXTS, _TIMES)),
    os_pid=st.none() | st.integers(1, 4194304),
)
_KEYS = {
    "id", "uri", "run_id", "script", "provenance", "script_args", "history", "requested_by", "os_pid", "state",
}  # fmt: skip


@settings(max_examples=40)
@given(_SUMMARIES)
def test_whatever_a_procedure_has_been_through_its_summary_is_json_and_not_large(summary):
    text = brief_json(summary)
    assert len(text) <= LARGEST_SUMMARY
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(data) - {"left_out"} == _KEYS
    assert (data["id"], data["state"]) == (summary.id, summary.state.name)
    assert set(data["history"]) == {"process_states", "exit", "dropped_starts"}


@settings(max_examples=8)
@given(st.lists(st.tuples(st.sampled_from([0, 900, 1900]), st.sampled_from(ProcedureState)), min_size=60, max_size=150))
def test_the_list_is_not_large_and_has_the_living_and_the_newest(procedures):
    summaries = [
        _summary(number, ProcedureInput("x" * length), state=state) for number, (length, state) in enumerate(procedures)
    ]
    text = BriefSummaries().json(_snapshot(summaries))
    shown = [each["id"] for each in json.loads(text)]
    living = [each.id for each in summaries if not each.state.is_final]
    ended = [uid for uid in shown if uid not in living]
    assert shown == sorted(shown)
    assert set(living) <= set(shown)
    assert len(text) <= LARGEST_LIST or not ended
    assert ended == [each.id for each in summaries if each.state.is_final][len(summaries) - len(living) - len(ended) :]


def test_a_hundred_procedures_as_they_usually_are_are_all_there():
    summaries = [_summary(number, ProcedureInput(subarray_id=1)) for number in range(1, 101)]
    assert len(json.loads(BriefSummaries().json(_snapshot(summaries)))) == 100


def test_each_summary_is_written_once(monkeypatch):
    summaries = [_summary(number) for number in range(50)]
    views = BriefSummaries()
    views.json(_snapshot(summaries))
    written: list[object] = []
    monkeypatch.setattr(_brief, "to_json", lambda value: written.append(value) or to_json(value))
    views.json(_snapshot([*summaries[:-1], replace(summaries[-1], os_pid=4711)]))
    assert {value["id"] for value in written if isinstance(value, dict) and "id" in value} == {49}


def test_of_many_only_those_that_are_shown_are_written(monkeypatch):
    summaries = [_summary(number, ProcedureInput("x" * 900)) for number in range(5000)]
    summaries[7] = replace(summaries[7], state=ProcedureState.RUNNING)
    written: list[int] = []
    monkeypatch.setattr(_brief, "brief_json", lambda summary: written.append(summary.id) or brief_json(summary))
    shown = [each["id"] for each in json.loads(BriefSummaries().json(_snapshot(summaries)))]
    assert shown[0] == 7
    assert shown[1:] == list(range(5000 - len(shown) + 1, 5000))
    assert len(written) <= len(shown) + 1
