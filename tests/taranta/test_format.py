"""The format of Taranta's dashboards, for which there is no schema but ours, and the boards that are to have it.

`shapes.json` says which keys public dashboards have, and of which types.  The schema allows all that was counted there;
what a board uses beyond that is listed here, with where it is known from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from support.dashboards import dashboards

FOLDER = Path(__file__).parent
SHAPES = json.loads((FOLDER / "shapes.json").read_text())
SCHEMA = json.loads((FOLDER / "dashboard.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

KNOWN_ELSEWHERE = {
    "ATTRIBUTE_DIAL": "Taranta's source, AttributeDial.tsx; the last two keys from a public generator",
    "ATTRIBUTE_LOGGER": "Taranta's source, AttributeLogger.tsx; styles and time from a public generator",
    "filters": "a public generator that was written for Taranta 2.18, and exports of that version",
}
"""What the counted dashboards do not have: types of widgets, and keys of a dashboard."""


def flat(shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for widget in shown:
        yield widget
        yield from flat(widget.get("innerWidgets", []))


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = SCHEMA["$defs"][unquote(schema["$ref"].removeprefix("#/$defs/"))]
    return schema


def types_of(schema: dict[str, Any]) -> set[str]:
    """Return the JSON types that a schema allows."""
    schema = resolved(schema)
    if "enum" in schema:
        return {_type_of(each) for each in schema["enum"]}
    if "const" in schema:
        return {_type_of(schema["const"])}
    if "type" not in schema:
        return set().union(*(types_of(each) for each in schema["anyOf"]))
    given = schema["type"]
    return {"number" if each == "integer" else each for each in ([given] if isinstance(given, str) else given)}


def _type_of(value: Any) -> str:
    return {bool: "boolean", int: "number", float: "number", str: "string"}[type(value)]


def allows(schema: dict[str, Any], shape: str) -> bool:
    """Say whether a schema allows a shape, such as string, array<widget> or object{attribute,device}."""
    kind, _, rest = shape.partition("<")
    if kind == "array":
        inner = rest.removesuffix(">")
        if inner == "":  # an empty one
            return "array" in types_of(schema)
        items = resolved(resolved(schema)["items"])
        return inner == "widget" or allows(items, inner)
    kind, _, rest = shape.partition("{")
    if kind == "object":
        schema = resolved(schema)
        choices = [schema] if "properties" in schema else schema["anyOf"]
        keys = set(rest.removesuffix("}").split(","))
        return any(keys <= set(each["properties"]) for each in choices)
    return kind in types_of(schema)


def counted() -> Iterator[Any]:
    """Yield what was counted: where, the schema's properties for it, keys with their shapes."""
    yield pytest.param(SCHEMA["properties"], SHAPES["dashboard"], id="dashboard")
    yield pytest.param(SCHEMA["$defs"]["widget"]["properties"], SHAPES["widget"], id="widget")
    for kind, shape in SHAPES["inputs"].items():
        yield pytest.param(SCHEMA["$defs"][f"inputs of {kind}"]["properties"], shape["keys"], id=kind.replace(" ", "-"))


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_knows_each_type_of_widget_that_was_counted():
    known = set(SCHEMA["$defs"]["widget"]["properties"]["type"]["enum"])
    assert set(SHAPES["inputs"]) <= known
    assert known - set(SHAPES["inputs"]) == {name for name in KNOWN_ELSEWHERE if name.isupper()}


@pytest.mark.parametrize(("properties", "shapes"), counted())
def test_the_schema_allows_each_key_that_was_counted_with_its_types(properties, shapes):
    assert set(shapes) - set(properties) == set()
    refused = [(key, shape) for key, found in shapes.items() for shape in found if not allows(properties[key], shape)]
    assert refused == []


@pytest.mark.parametrize("kind", [kind for kind, shape in SHAPES["inputs"].items() if shape["values seen"]])
def test_the_schema_allows_each_value_that_was_seen(kind):
    properties = SCHEMA["$defs"][f"inputs of {kind}"]["properties"]
    for key, seen in SHAPES["inputs"][kind]["values seen"].items():
        for value in seen:
            VALIDATOR.evolve(schema={**properties[key], "$defs": SCHEMA["$defs"]}).validate(value)


def objects_of(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield schema
        for each in schema.values():
            yield from objects_of(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from objects_of(each)


def test_the_schema_refuses_keys_that_it_does_not_know():
    assert all(each["additionalProperties"] is False for each in objects_of(SCHEMA))


@pytest.mark.parametrize("path", dashboards(), ids=lambda path: path.stem)
def test_a_board_has_the_format(path):
    found = VALIDATOR.iter_errors(json.loads(path.read_text()))
    assert [(list(each.absolute_path), each.message) for each in found] == []


@pytest.mark.parametrize("path", dashboards(), ids=lambda path: path.stem)
def test_a_board_uses_nothing_that_nobody_has_seen(path):
    board = json.loads(path.read_text())
    assert set(board) - set(SHAPES["dashboard"]) - set(KNOWN_ELSEWHERE) == set()
    for widget in flat(board["widget"]):
        assert set(widget) - set(SHAPES["widget"]) == {"inputs"}
        if widget["type"] not in KNOWN_ELSEWHERE:
            assert set(widget["inputs"]) - set(SHAPES["inputs"][widget["type"]]["keys"]) == set()


def test_nothing_is_listed_as_known_elsewhere_that_was_counted():
    assert not set(KNOWN_ELSEWHERE) & {*SHAPES["dashboard"], *SHAPES["inputs"]}


def a_widget(board: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in flat(board["widget"]) if each["type"] == kind)


def changed(kind: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what gives an input of a widget another value."""

    def change(board: dict[str, Any]) -> None:
        a_widget(board, kind)["inputs"][key] = value

    return change


REFERENCE = {"device": "taranta://(OetDevice)", "attribute": "state", "label": ""}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda board: board.update(widgets=board["widget"]),
        lambda board: board.pop("updateTime"),
        lambda board: board.update(updateTime="2026-01-01T00:00:00Z"),
        lambda board: board["variables"][0].update(_id="1"),
        lambda board: a_widget(board, "LABEL").update(type="TEXT"),
        lambda board: a_widget(board, "LABEL").update(canvas=0),
        lambda board: a_widget(board, "LABEL").update(innerWidgets=[]),
        lambda board: a_widget(board, "BOX").pop("innerWidgets"),
        lambda board: a_widget(board, "BOX")["innerWidgets"][0].update(width=0),
        changed("LABEL", "colour", "#000000"),
        changed("LABEL", "size", "1"),
        changed("LABEL", "customCss", "padding: 0; color: red"),
        changed("ATTRIBUTE_DISPLAY", "attribute", {**REFERENCE, "attribute": "State"}),
        changed("ATTRIBUTE_DISPLAY", "attribute", {**REFERENCE, "device": "mid-oet/subarray/01"}),
        changed("ATTRIBUTE_DISPLAY", "showAttribute", "label"),
        changed("COMMAND", "command", {"device": "taranta://(OetDevice)", "command": "Stop"}),
        changed("ATTRIBUTE WRITER DROPDOWN", "writeValues", [{"title": "a"}]),
    ],
    ids=[
        "widgets",
        "no-time",
        "no-milliseconds",
        "id-of-variable",
        "type",
        "canvas",
        "inner-of-label",
        "box-without",
        "width-in-box",
        "unknown-input",
        "type-of-input",
        "css-in-a-line",
        "capital-attribute",
        "no-prefix",
        "show-attribute",
        "short-command",
        "choice-without-value",
    ],
)
def test_a_spoilt_board_is_refused(spoil):
    (path,) = [path for path in dashboards() if path.stem == "oet-operator"]
    board = json.loads(path.read_text())
    assert VALIDATOR.is_valid(board)
    spoil(board)
    assert not VALIDATOR.is_valid(board)
