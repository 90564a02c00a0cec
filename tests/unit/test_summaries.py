"""Summaries as text: the same as their data, whatever they have been through and whoever was asked for before."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.procedure.application import ArgCapture, ProcedureHistory, ProcedureSummary, RequestRecord
from ska_oet_device.procedure.domain import FileSystemScript, ProcedureInput, ProcedureState
from ska_oet_device.procedure.ui import _summaries
from ska_oet_device.procedure.ui._answers import summary_data
from ska_oet_device.procedure.ui._devstring import to_json
from ska_oet_device.procedure.ui._summaries import summaries_json, summary_json

_EMPTY = ProcedureSummary(
    id=3,
    script=FileSystemScript("file:///a.py"),
    script_args=(),
    history=ProcedureHistory(),
    state=ProcedureState.READY,
    uri="tango://host:10000/mid-oet/subarray/01#3",
)


def _after(summary: ProcedureSummary, calls: int) -> ProcedureSummary:
    """Return what becomes of a summary by so many calls of a function."""
    states, captures = summary.history.process_states, summary.script_args
    first = len(captures)
    for number in range(first, first + calls):
        states += ((ProcedureState.RUNNING, number + 0.25), (ProcedureState.READY, number + 0.5))
        # Keys and text that look like a summary's own.
        captures += (ArgCapture("step", ProcedureInput(process_states=None, text='"history": []'), float(number)),)
    requests = tuple(RequestRecord("Start", "python", None, capture.time) for capture in captures)
    history = replace(summary.history, process_states=states)
    return replace(summary, script_args=captures, requested_by=requests, history=history)


def _says_what_it_is(summary: ProcedureSummary) -> bool:
    return summary_json(summary) == to_json(summary_data(summary))


@given(st.lists(st.integers(0, 60), max_size=6), st.uuids())
def test_a_procedure_that_is_called_again_and_again(calls, run_id):
    summary = replace(_EMPTY, run_id=str(run_id))
    for count in calls:
        summary = _after(summary, count)
        assert _says_what_it_is(summary)


def test_an_earlier_summary_is_told_as_it_was():
    earlier = _after(replace(_EMPTY, run_id="one"), 100)
    later = _after(earlier, 100)
    assert all(_says_what_it_is(summary) for summary in (later, earlier, later))


def test_procedures_of_the_same_id_are_not_taken_for_each_other():
    one, other = (_after(replace(_EMPTY, run_id=run), count) for run, count in (("a", 70), ("b", 90)))
    told = [summary_data(each) for each in (one, other, one)]
    assert json.loads(summaries_json([one, other, one])) == json.loads(to_json(told))


def test_only_what_is_new_is_encoded(monkeypatch):
    summary = _after(replace(_EMPTY, run_id="grows"), 200)
    summary_json(summary)
    encoded: list[object] = []
    monkeypatch.setattr(_summaries, "to_json", lambda value: encoded.append(value) or to_json(value))
    summary_json(_after(summary, 1))
    assert len(encoded) < 40


@pytest.mark.parametrize("count", [10, 100])
def test_texts_of_the_newest_are_kept(count):
    for number in range(count):
        summary_json(_after(replace(_EMPTY, run_id=f"run-{number}"), 40))
    assert len(_summaries._STATES._known) <= 64
