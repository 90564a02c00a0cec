"""What is wrong with a request is said in the contract's words."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from ska_oet_device.errors import InvalidArgumentError
from ska_oet_device.procedure.ui import _requests as requests
from ska_oet_device.procedure.ui._problems import RULES, explain

FILE = {"script_type": "filesystem", "script_uri": "file://a.py"}
GIT = {"script_type": "git", "script_uri": "git://a.py", "git_args": {"git_repo": "https://b/c"}}

# Words of the library that checks requests, of Python, and of its JSON reader.
FOREIGN = re.compile(
    r"(?i:discriminator|\binput\b|\btag\b|validat|extra inputs|permitted|\bmodel\b|pydantic|field required|value error)"
    r"|NoneType|\bNone\b|\bTrue\b|\bFalse\b|dict|\bint\b|\bstr\b|boolean|valid |parse|parsing|EOF|trailing|Expecting"
)


def foreign(text: str) -> bool:
    return bool(FOREIGN.search(text))


def complaint(parse, argument) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        parse(argument if isinstance(argument, str) else json.dumps(argument))
    return str(caught.value)


@pytest.mark.parametrize(
    ("parse", "argument", "sentence"),
    [
        (requests.parse_prepare, {}, "script: is missing"),
        (requests.parse_prepare, {"script": 1}, "script: must be a JSON object (given: 1)"),
        (requests.parse_prepare, {"script": None}, "script: must be a JSON object (given: null)"),
        (requests.parse_prepare, {"script": {}}, "script.script_type: is missing"),
        (
            requests.parse_prepare,
            {"script": {**FILE, "script_type": "tape"}},
            'script.script_type: must be filesystem or git (given: "tape")',
        ),
        (
            requests.parse_prepare,
            {"script": {**FILE, "script_type": ["git"]}},
            'script.script_type: must be filesystem or git (given: ["git"])',
        ),
        (
            requests.parse_prepare,
            {"script": {**GIT, "git_args": 3}},
            "script.git_args: must be a JSON object (given: 3)",
        ),
        (
            requests.parse_prepare,
            {"script": {**GIT, "create_env": "yes"}},
            'script.create_env: must be true or false (given: "yes")',
        ),
        (
            requests.parse_prepare,
            {"script": {**GIT, "git_args": {"git_repo": "https://b/c", "gitcommit": "abcd"}}},
            "script.git_args.gitcommit: there is no such key; did you mean git_commit?",
        ),
        (
            requests.parse_prepare,
            {"script": FILE, "init_args": {"x": 1}},
            "init_args.x: there is no such key; the keys are args, kwargs",
        ),
        (
            requests.parse_prepare,
            {"script": FILE, "init_args": {"args": {}}},
            "init_args.args: must be a list (given: {})",
        ),
        (
            requests.parse_prepare,
            '{"script": ' + json.dumps(FILE) + ', "init_args": {"args": [NaN]}}',
            "init_args.args: NaN and Infinity are not JSON (given: [NaN])",
        ),
        (requests.parse_prepare, {"script": FILE, "user": True}, "user: must be text (given: true)"),
        (requests.parse_run, {"script": FILE, "fn_name": ""}, 'fn_name: must not be empty (given: "")'),
        (requests.parse_start, {"process_uid": "1"}, 'process_uid: must be a whole number (given: "1")'),
        (requests.parse_start, {"process_uid": 1.5}, "process_uid: must be a whole number (given: 1.5)"),
        (requests.parse_start, '{"process_uid": Infinity}', "process_uid: must be a whole number (given: Infinity)"),
        (
            requests.parse_start,
            {"process_uid": 2**63},
            "process_uid: must be at most 9223372036854775807 (given: 9223372036854775808)",
        ),
        (requests.parse_start, {"process_uid": 1, "forcestart": True}, "did you mean force_start?"),
        (requests.parse_stop, {"process_uid": 1, "run_abort": 1}, "run_abort: must be true or false (given: 1)"),
        (requests.parse_output, {"process_uid": 1, "limit": 0}, "limit: must be at least 1 (given: 0)"),
        (requests.parse_requests, {"limit": 1001}, "limit: must be at most 1000 (given: 1001)"),
        (requests.parse_requests, "5", "'5' is no JSON object"),
        (requests.parse_start, '{"a": 1,}', "the argument is no JSON: there is a comma too many (line 1, column 9)"),
        (requests.parse_start, '{"a', "the argument is no JSON: it ends too early (line 1, column 3)"),
        (requests.parse_start, "{} x", "the argument is no JSON: something follows its end (line 1, column 4)"),
        (requests.parse_start, "{'a': 1}", "a key must be text in double quotes (line 1, column 2)"),
        (requests.parse_start, '{"a" 1}', "a colon is missing"),
        (requests.parse_start, '{"a": 1 "b": 2}', "a comma or the closing bracket is missing"),
        (requests.parse_start, '{"a": nul}', "a value is missing or wrong"),
        (requests.parse_start, '{"a": "\n"}', "a control character must be escaped"),
        (requests.parse_start, r'{"a": "\x"}', "an escape sequence is wrong"),
        (requests.parse_start, r'{"a": "\ud800"}', "an escape sequence is wrong"),
        (requests.parse_start, '{"a": 01}', "a number is wrong"),
        (requests.parse_start, '{"a": ' + "1" * 5000 + "}", "a number is too large"),
        (requests.parse_start, '{"a": ' + "[" * 300, "its lists and objects are nested more than 200 levels deep"),
        (requests.parse_start, '{"a": "\ud800"}', "half a character"),
    ],
)
def test_a_complaint_names_place_value_and_rule(parse, argument, sentence):
    text = complaint(parse, argument)
    assert sentence in text
    assert not foreign(text)


PARSERS = [requests.parse_prepare, requests.parse_run, requests.parse_start, requests.parse_stop, requests.parse_output]
NAMES = ["script", "script_type", "script_uri", "git_args", "git_repo", "git_branch", "create_env", "init_args"]
NAMES += ["args", "kwargs", "user", "fn_name", "run_args", "process_uid", "force_start", "run_abort", "offset", "limit"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "7", "git", "filesystem", "file://a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


def answer(parse, text: str) -> str:
    """Return what a request is refused with; nothing if it is a request."""
    try:
        parse(text)
    except InvalidArgumentError as error:
        return str(error)
    return ""


@given(st.sampled_from(PARSERS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5))
def test_no_request_is_answered_in_words_of_a_library(parse, request_):
    said = answer(parse, json.dumps(request_))
    assert not foreign(said)
    assert "does not fit" not in said, "a kind of error that has no sentence"


@given(st.sampled_from(PARSERS), st.text('{}[]":,\\ntrue1.e-+ \n\x01u8d', max_size=30))
def test_no_broken_json_is_answered_in_words_of_a_library(parse, text):
    said = answer(parse, "{" + text)
    assert not foreign(said)
    assert "not written correctly" not in said


def test_a_kind_of_error_that_nobody_has_thought_of_has_a_sentence_too():
    class Model(BaseModel):
        when: bytes

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"when": 3})
    assert "bytes_type" not in RULES
    assert explain(caught.value, Model) == "when: does not fit (given: 3)"
