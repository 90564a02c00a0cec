"""The parameters of a script's function as JSON Schema.  Runs in the main thread of a worker of a check.

pydantic makes the schemas, which the template of checks has imported; where it cannot be had, as in an environment
without it, or with another major version, any value is said to fit but for numbers, text and truth values.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ._result import plain_of

Plain = dict[str, Any]

ANY: Plain = {}
"""The schema of what may be anything."""

_SCALARS: dict[Any, Plain] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
}
"""What pydantic says of what most parameters are: to ask it for that takes longer than all the rest of a check."""
_FILLED_IN = ("context", "subarray_id")
"""Parameters that the device gives where nobody else does."""

_REFERENCE = "#/$defs/{model}"


def parameters_schema(signature: inspect.Signature, scope: dict[str, Any]) -> Plain:
    """Return the JSON Schema of the object of a function's arguments, each by its name.

    :param scope: the globals of the function, where annotations that are text are looked up
    """
    kinds = inspect.Parameter
    named = {
        name: each
        for name, each in signature.parameters.items()
        if each.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
    }
    annotations = {
        name: annotation
        for name, each in signature.parameters.items()
        if (annotation := _annotation(each.annotation, scope)) is not kinds.empty
    }
    schemas, definitions = _schemas(annotations)
    properties = {name: _with_default(schemas.get(name, ANY), each.default) for name, each in named.items()}
    more: Plain | bool = False
    for name, each in signature.parameters.items():
        if each.kind is kinds.VAR_POSITIONAL:
            properties[f"*{name}"] = {"type": "array", "items": schemas.get(name, ANY)}
        elif each.kind is kinds.VAR_KEYWORD:
            more = schemas.get(name, ANY) or True
    required = [name for name, each in named.items() if each.default is kinds.empty and name not in _FILLED_IN]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": more,
        **({"$defs": definitions} if definitions else {}),
    }


def _with_default(schema: Plain, default: Any) -> Plain:
    if default is inspect.Parameter.empty:
        return schema
    try:
        return {**schema, "default": plain_of(default)}
    except ValueError:  # the function has one, which is no JSON
        return schema


def _annotation(annotation: Any, scope: dict[str, Any]) -> Any:
    """Return an annotation, whose text has been looked up; none where that cannot be done."""

    def holder() -> None:
        pass

    if annotation is inspect.Parameter.empty:
        return annotation
    holder.__annotations__ = {"it": annotation}
    try:
        return typing.get_type_hints(holder, globalns=scope, include_extras=True)["it"]
    except Exception:  # it names what is not there, or is no type
        return inspect.Parameter.empty


def _schemas(annotations: Mapping[str, Any]) -> tuple[dict[str, Plain], Plain]:
    """Return the JSON Schema of each annotation that has one, and the definitions that these refer to."""
    known = {name: _SCALARS[each] for name, each in annotations.items() if type(each) is type and each in _SCALARS}
    if len(known) == len(annotations):
        return known, {}
    others, definitions = _pydantics({name: each for name, each in annotations.items() if name not in known})
    return {**known, **others}, definitions


def _pydantics(annotations: Mapping[str, Any]) -> tuple[dict[str, Plain], Plain]:
    try:
        from pydantic import TypeAdapter
    except Exception:  # what an environment has may be broken in any way
        return {}, {}
    adapters: dict[str, Any] = {}
    for name, annotation in annotations.items():
        try:
            adapters[name] = TypeAdapter(annotation)
        except Exception:  # a class that it does not know
            continue
    try:
        return _made(TypeAdapter.json_schemas, adapters)
    except Exception:  # one of them cannot be said in JSON
        usable = {name: adapter for name, adapter in adapters.items() if _has_schema(adapter)}
    try:
        return _made(TypeAdapter.json_schemas, usable)
    except Exception:
        return {}, {}


def _made(make: Callable[..., Any], adapters: Mapping[str, Any]) -> tuple[dict[str, Plain], Plain]:
    made, more = make([(name, "validation", adapter) for name, adapter in adapters.items()], ref_template=_REFERENCE)
    return {name: schema for (name, _), schema in made.items()}, more.get("$defs", {})


def _has_schema(adapter: Any) -> bool:
    try:
        adapter.json_schema()
    except Exception:
        return False
    return True
