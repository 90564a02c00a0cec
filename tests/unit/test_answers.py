"""What clients are told: as the contract writes it, and always something that a DevString can carry."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.procedure.application import ArgCapture, ProcedureHistory, ProcedureSummary, RequestRecord
from ska_oet_device.procedure.domain import FileSystemScript, ProcedureInput, ProcedureState
from ska_oet_device.procedure.history import LifecycleEvent
from ska_oet_device.procedure.ui._answers import brief_summary_data, event_data
from ska_oet_device.procedure.ui._devstring import LARGEST_EVENT, cut, latin1, to_json
from ska_oet_device.procedure.ui._summaries import summaries_json

SCRIPT = {"script_type": "filesystem", "script_uri": "file:///a.py"}
HELLO = FileSystemScript("file:///a.py")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.integers() | st.text() | st.none() | st.tuples(st.integers()), inner, max_size=4)
        | st.sets(st.integers())
    ),
    max_leaves=15,
)


class TestToJson:
    @given(PLAIN)
    def test_whatever_a_script_sends_becomes_ascii_and_valid_json(self, value):
        text = to_json(value)
        assert text.isascii()
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    @given(JSON.filter(lambda value: "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value)))
    def test_json_stays_what_it_is(self, value):
        assert json.loads(to_json(value)) == value

    @pytest.mark.parametrize(
        "value",
        [CIRCLE, DEEP, 10**5000, {10**5000: 1}, {"a": [10**5000, math.nan]}, {b"a": {1}}, "\ud800"],
        ids=["circle", "deep", "huge", "huge key", "huge with NaN", "bytes and set", "lone surrogate"],
    )
    def test_awkward_values_become_something_rather_than_an_error(self, value):
        text = to_json({"kwargs": value})
        assert text.isascii()
        json.loads(text)

    def test_nan_becomes_text(self):
        assert json.loads(to_json({"a": [math.nan, math.inf]})) == {"a": ["nan", "inf"]}


class TestLatin1:
    @given(st.text(alphabet=st.characters(codec=None)))
    def test_whatever_text_can_be_carried_by_a_devstring(self, text):
        carried = latin1(text)
        carried.encode("latin-1")
        assert "\0" not in carried

    def test_keeps_what_latin_1_has_and_escapes_the_rest(self):
        assert latin1("Zürich → \0€") == "Zürich \\u2192 \\x00\\u20ac"


class TestAnswers:
    def test_a_summary_is_as_the_contract_writes_it(self):
        capture = ArgCapture("init", ProcedureInput(1, a="ü"), 1.5)
        ended = {"exit_code": 0, "signal": None, "reason": "completed", "signals_sent": [], "reaped": []}
        states = ((ProcedureState.CREATING, 1.5), (ProcedureState.COMPLETE, 2.5))
        summary = ProcedureSummary(
            id=3,
            script=HELLO,
            script_args=(capture,),
            history=ProcedureHistory(states, "Traceback …", ended),
            state=ProcedureState.COMPLETE,
            uri="tango://host:10000/mid-oet/subarray/01#3",
            run_id="0199",
            provenance={"path": "/a.py", "sha256": None, "git_commit": None, "environment": None},
            requested_by=(RequestRecord("Prepare", "python pid 4711 on host ws1", "Ada", 1.5),),
            os_pid=None,
        )
        expected = {
            "id": 3,
            "uri": "tango://host:10000/mid-oet/subarray/01#3",
            "run_id": "0199",
            "script": SCRIPT,
            "provenance": {"path": "/a.py", "sha256": None, "git_commit": None, "environment": None},
            "script_args": [{"fn": "init", "fn_args": {"args": [1], "kwargs": {"a": "ü"}}, "time": 1.5}],
            "history": {
                "process_states": [["CREATING", 1.5], ["COMPLETE", 2.5]],
                "stacktrace": "Traceback …",
                "exit": ended,
                "dropped_starts": [],
            },
            "requested_by": [
                {"command": "Prepare", "client": "python pid 4711 on host ws1", "user": "Ada", "time": 1.5}
            ],
            "os_pid": None,
            "state": "COMPLETE",
        }
        assert json.loads(summaries_json([summary])) == [expected]
        del expected["history"]["stacktrace"]
        assert json.loads(to_json(brief_summary_data(summary))) == expected

    @pytest.mark.parametrize(("previous", "name"), [(None, None), (ProcedureState.READY, "READY")])
    def test_an_event_is_as_the_contract_writes_it(self, previous, name):
        event = LifecycleEvent(7, 3, "0199", previous, ProcedureState.FAILED, 1.5, "why")
        assert event_data(event) == {
            "sequence": 7,
            "process_uid": 3,
            "run_id": "0199",
            "previous": name,
            "state": "FAILED",
            "time": 1.5,
            "reason": "why",
        }


@given(st.text(max_size=300), st.integers(100, 400))
def test_a_text_that_is_too_long_loses_its_middle_and_says_so(text, most):
    shown = cut(text, most)
    if len(text) <= most:
        assert shown == text
    else:
        assert len(shown) <= most
        assert "characters left out" in shown
        assert (shown[:20], shown[-20:]) == (text[:20], text[-20:])


def test_a_text_of_a_megabyte_is_no_larger_than_an_event():
    assert len(cut("x" * 1_000_000)) <= LARGEST_EVENT
