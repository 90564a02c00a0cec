"""The JSON Schemas are those of the models, are strict, and say of an argument what the device does with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from support import schemas

from ska_oet_device.errors import InvalidArgumentError
from ska_oet_device.procedure.domain import ProcedureState
from ska_oet_device.procedure.environment import EnvironmentInfo
from ska_oet_device.procedure.ui import _requests as requests
from ska_oet_device.procedure.ui import _shapes
from ska_oet_device.procedure.ui._attributes import ATTRIBUTES
from ska_oet_device.procedure.ui._schemas import NAMES, schema_of, written
from ska_oet_device.procedure.ui.device import OetDevice

CONTRACT = Path(__file__).parents[2] / "docs" / "reference" / "contract.md"
MADE = {name: schema_of(name) for name in NAMES}
FREE = {"kwargs", "filled_in", "left_out", "parameters", "functions"}
"""Keys whose objects have whatever keys somebody has chosen."""


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(MADE[name])


def test_the_files_are_those_of_the_models():
    wanted = schemas.files()
    assert {path.name for path in schemas.FOLDER.glob("*.json")} == {
        path.name for path in wanted if path.parent == schemas.FOLDER
    }
    stale = [path.name for path, text in wanted.items() if path.read_text(encoding="ascii") != text]
    assert not stale, f"{stale}: `make schemas` writes them anew"


def test_a_device_answers_with_all_of_them():
    assert json.loads(written()) == MADE


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_schema_of_the_draft_that_it_names(name):
    jsonschema.Draft202012Validator.check_schema(MADE[name])
    assert MADE[name]["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    assert MADE[name]["title"]


def objects_in(value: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schemas of objects, with the key under which each stands."""
    if isinstance(value, dict):
        if value.get("type") == "object":
            yield key, value
        for name, item in value.items():
            yield from objects_in(item, name if isinstance(item, dict) else key)
    elif isinstance(value, list):
        for item in value:
            yield from objects_in(item, key)


@pytest.mark.parametrize("name", NAMES)
def test_no_object_has_keys_that_are_not_named(name):
    for key, schema in objects_in(MADE[name]):
        is_free = key in FREE or name == "Schemas.answer" or (name == "scriptArguments" and not key)
        assert schema.get("additionalProperties") is False or is_free or key == "additionalProperties", (key, schema)


def test_all_that_is_json_has_one():
    commands = {
        f"{command}.{part}"
        for command, (given, returned, *_) in OetDevice.TangoClassClass.cmd_list.items()
        for part, told in (("argument", given), ("answer", returned))
        if "JSON" in told[1]
    }
    attributes = {item.name for item in ATTRIBUTES if "JSON" in item.doc}
    # These say "procedure id" or "JSON" of a bare form, or are named by their classes.
    assert {name for name in NAMES if "." in name} == {*commands, "Prepare.argument", "Start.argument", "Stop.argument"}
    assert {name for name in NAMES if "." not in name} == attributes


def test_the_names_of_states_and_the_fields_of_environments_are_those_there_are():
    assert set(get_args(_shapes.StateName)) == {state.name for state in ProcedureState}
    assert set(_shapes.EnvironmentShape.__annotations__) == set(EnvironmentInfo.__annotations__)


FILE = {"script_type": "filesystem", "script_uri": "file://a.py"}
GIT = {
    "script_type": "git",
    "script_uri": "git://a.py",
    "git_args": {"git_repo": "https://x/y.git", "git_commit": "abcd"},
}
PARSERS = {
    "Prepare": requests.parse_prepare,
    "Run": requests.parse_run,
    "Start": requests.parse_start,
    "Stop": requests.parse_stop,
    "Check": requests.parse_check,
    "Output": requests.parse_output,
    "Requests": requests.parse_requests,
    "History": requests.parse_history,
}
TAKEN = [
    ("Prepare", {"script": FILE}),
    ("Prepare", {"script": {**FILE, "script_uri": "file://\n"}}),  # a file may be called so
    ("Prepare", {"script": GIT, "init_args": {"args": [1, None, {"a": []}]}, "user": "Ada"}),
    ("Prepare", {"script": {**GIT, "create_env": True}, "user": None}),
    ("Run", {"script": FILE, "fn_name": "f", "run_args": {"kwargs": {"x": 1}}}),
    ("Start", {}),
    ("Start", {"process_uid": 3, "fn_name": "größe", "force_start": True}),
    ("Stop", {}),
    ("Stop", {"process_uid": 3, "run_abort": None, "reason": "x" * 300}),
    ("Check", {"script": FILE, "fn_name": None, "run_args": None}),
    ("Output", {"process_uid": 3, "offset": 0, "limit": 1}),
    ("Requests", {"limit": 1000}),
    ("History", {"since": 1, "until": 2.5, "state": "READY", "run_id": "x" * 36}),
    ("History", {"since": None, "state": None}),
]
REFUSED = [
    ("Prepare", {}),
    ("Prepare", {"script": FILE, "colour": 1}),
    ("Prepare", {"script": {**FILE, "git_args": {}}}),
    ("Prepare", {"script": {**FILE, "script_uri": "file://"}}),
    ("Prepare", {"script": {**FILE, "script_uri": "/a.py"}}),
    ("Prepare", {"script": {"script_type": "tape", "script_uri": "file://a.py"}}),
    ("Prepare", {"script": FILE, "init_args": {"args": {}}}),
    ("Prepare", {"script": FILE, "user": "x" * 129}),
    ("Run", {"script": FILE, "fn_name": ""}),
    ("Run", {"script": FILE, "fn_name": None}),
    ("Start", {"process_uid": None}),
    ("Start", {"process_uid": "3"}),
    ("Start", {"process_uid": 2**63}),
    ("Start", {"process_uid": 3, "force_start": 1}),
    ("Stop", {"process_uid": 3, "reason": "x" * 301}),
    ("Stop", {"process_uid": True}),
    ("Output", {}),
    ("Output", {"process_uid": 3, "limit": 0}),
    ("Requests", {"before": -1}),
    ("History", {"limit": 1001}),
    ("History", {"state": "LOST"}),
    ("History", {"script": None}),
    ("History", {"since": "1"}),
]


@pytest.mark.parametrize(("command", "argument"), TAKEN, ids=range(len(TAKEN)))
def test_what_a_schema_takes_the_device_takes(command, argument):
    validator(f"{command}.argument").validate(argument)
    PARSERS[command](json.dumps(argument))


@pytest.mark.parametrize(("command", "argument"), REFUSED, ids=range(len(REFUSED)))
def test_what_a_schema_refuses_the_device_refuses(command, argument):
    assert not validator(f"{command}.argument").is_valid(argument)
    with pytest.raises(InvalidArgumentError):
        PARSERS[command](json.dumps(argument))


def test_the_examples_of_the_contract_fit():
    blocks = re.findall(r"```jsonc\n(.*?)```", CONTRACT.read_text(encoding="utf-8"), re.DOTALL)
    texts = [text for block in blocks for text in re.split(r"^//.*\n", block, flags=re.MULTILINE) if text.strip()]
    prepare, git, start, stop, summary, report = map(json.loads, texts)
    for name, example in (("Prepare", prepare), ("Prepare", git), ("Start", start), ("Stop", stop)):
        validator(f"{name}.argument").validate(example)
    with pytest.raises(jsonschema.ValidationError):
        validator("Prepare.argument").validate(start)
    whole = {"stacktrace": None, **summary.pop("history")}
    validator("Start.answer").validate({**summary, "history": whole})
    validator("CheckReport.answer").validate(report)
