"""What is told of a script's functions: signature, docstring, and parameters as JSON Schema."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from types import ModuleType

import pytest
from pydantic import TypeAdapter

from ska_oet_device.procedure.messages import LARGEST_FINDINGS
from ska_oet_device.procedure.worker._descriptions import findings_of, function_data
from ska_oet_device.procedure.worker._parameters import _SCALARS

ANY: dict[str, object] = {}


def module_of(source: str) -> ModuleType:
    module = ModuleType("checked")
    exec(source, vars(module))
    return module


def function_of(source: str, name: str = "f", scope: dict[str, object] | None = None):
    return vars(module_of(source))[name]


@pytest.mark.parametrize(
    ("parameter", "schema"),
    [
        ("a", ANY),
        ("a: int", {"type": "integer"}),
        ("a: 'int'", {"type": "integer"}),
        ("a: float = 1.5", {"type": "number", "default": 1.5}),
        ("a: list[str] = ()", {"type": "array", "items": {"type": "string"}, "default": []}),
        ("a: dict[str, 'int']", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("a: int | None = None", {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}),
        ("a: 'no such name' = 1", {"default": 1}),
        ("a: 'NoSuchName' = 1", {"default": 1}),
        ("a: object", ANY),
        ("a: 3 = 1", {"default": 1}),
        ("a=float('nan')", {"default": None}),
        ("a=object", ANY),
        ("a: type(sys) = None", {"default": None}),
    ],
)
def test_a_parameter_has_the_schema_of_its_annotation(parameter, schema):
    told = function_data(function_of(f"import sys\ndef f({parameter}): pass"))["parameters"]
    assert told["properties"] == {"a": schema}
    assert told["required"] == ([] if "=" in parameter else ["a"])
    assert told["additionalProperties"] is False


def test_scalars_have_the_schemas_that_pydantic_has_for_them():
    for kind, schema in _SCALARS.items():
        assert TypeAdapter(kind).json_schema() == schema


def test_one_that_cannot_be_said_in_json_leaves_the_others_their_schemas():
    source = "import types\nfrom typing import Callable\ndef f(a: Callable[[], int], b: int, c: types.ModuleType): pass"
    told = function_data(function_of(source))["parameters"]
    assert told["properties"] == {"a": ANY, "b": {"type": "integer"}, "c": ANY}


def test_all_kinds_of_parameters_are_told():
    told = function_data(function_of("def f(a, /, b: int, *rest: float, c=1, **more: str): pass"))
    assert told["signature"] == "(a, /, b: int, *rest: float, c=1, **more: str)"
    assert told["parameters"] == {
        "type": "object",
        "properties": {
            "a": ANY,
            "b": {"type": "integer"},
            "c": {"default": 1},
            "*rest": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["a", "b"],
        "additionalProperties": {"type": "string"},
    }


def test_what_the_device_fills_in_is_not_required():
    told = function_data(function_of("def f(subarray_id: int, context, a): pass"))["parameters"]
    assert list(told["properties"]) == ["subarray_id", "context", "a"]
    assert told["required"] == ["a"]


DECORATED = """
import functools
def keep(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs)
    return wrapper

@keep
def f(a: int):
    "Do it."
"""


def test_a_decorated_function_is_told_as_what_it_decorates():
    told = function_data(function_of(DECORATED))
    assert (told["signature"], told["docstring"]) == ("(a: int)", "Do it.")
    assert told["parameters"]["properties"] == {"a": {"type": "integer"}}


def test_a_partial_is_told_without_what_it_gives():
    told = function_data(functools.partial(function_of("def f(a, b=1):\n    'Do it.'"), 3))
    assert (told["signature"], told["docstring"]) == ("(b=1)", "Do it.")


class Opaque:
    """Is called with whatever it takes."""

    __signature__ = 5

    def __call__(self, *args: object) -> None: ...


def test_what_has_no_signature_may_be_given_anything():
    assert function_data(Opaque()) == {
        "signature": "(...)",
        "docstring": "Is called with whatever it takes.",
        "parameters": ANY,
    }


UNFRIENDLY = """
class Unfriendly:
    def __repr__(self):
        raise RuntimeError("no")
    __str__ = __repr__

def f(a=Unfriendly()): pass
"""


def test_a_default_that_cannot_be_shown_is_no_failure():
    told = function_data(function_of(UNFRIENDLY))
    assert told["signature"] == "(...)"
    assert told["parameters"]["properties"] == {"a": ANY}


def test_texts_are_cut():
    told = function_data(function_of(f"def f(a={'x' * 5000!r}):\n    {'y' * 9000!r}"))
    assert len(told["signature"]) == 1000
    assert len(told["docstring"]) == 4000
    assert told["signature"].endswith("…")


def test_findings_have_room_whatever_a_script_has():
    functions = "\n".join(f"def f{'_' * 200}{i}(a: int = {i}):\n    '''{'é' * 500}'''" for i in range(1000))
    found = findings_of(module_of(f"'''{'é' * 9000}'''\n{functions}\n"))
    size = len(json.dumps([found.docstring, found.functions]))
    assert size <= LARGEST_FINDINGS
    assert len(found.functions) > 50
    assert found.docstring


def test_without_pydantic_any_value_is_said_to_fit():
    code = (
        "import sys, json\nsys.modules['pydantic'] = None\n"
        "from ska_oet_device.procedure.worker._descriptions import function_data, warm_up\n"
        "def f(a: list[int], b: str = 'x'): 'Do it.'\n"
        "warm_up()\nprint(json.dumps(function_data(f)))\n"
    )
    told = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60).stdout)
    assert told == {
        "signature": "(a: list[int], b: str = 'x')",
        "docstring": "Do it.",
        "parameters": {
            "type": "object",
            "properties": {"a": {}, "b": {"type": "string", "default": "x"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    }
