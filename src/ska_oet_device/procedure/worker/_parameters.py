"""What a client may know of a script's functions: signature, docstring, and the parameters as JSON Schema.

Runs in the main thread of a worker of a check.  pydantic makes the schemas, which the template of checks has imported;
where it cannot be had, as in an environment without it, or with another major version, any value is said to fit but
for numbers, text and truth values.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

from ...mptools import dumps
from ..messages import LARGEST_FINDINGS, CheckFindings
from ._call import shown_signature
from ._functions import names_of
from ._result import plain_of

Plain = dict[str, Any]

_LONGEST_TEXT = 4000  # characters of a docstring
_LONGEST_SIGNATURE = 1000
_ROOM_FOR_TEXT = 6 * 1024  # bytes of JSON of the script's docstring
_ROOM = LARGEST_FINDINGS - _ROOM_FOR_TEXT - 1024  # of all functions together
_ANY: Plain = {}
_SCALARS: dict[Any, Plain] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
}
"""What pydantic says of what most parameters are: to ask it for that takes longer than all the rest of a check."""
_FILLED_IN = ("context", "subarray_id")
"""Parameters that the device gives where nobody else does."""

_WARM_UPS = 10  # the interpreter adapts its code to what it does within some ten calls
_REFERENCE = "#/$defs/{model}"


def findings_of(module: ModuleType) -> CheckFindings:
    """Return what is told of a script that was loaded.

    Functions for which there is no room are told without docstring and parameters, or, beyond that, not at all.
    """
    docstring = _text(vars(module).get("__doc__"))
    if docstring is not None and len(dumps(docstring)) > _ROOM_FOR_TEXT:
        docstring = docstring[: _ROOM_FOR_TEXT // 12]
    functions: dict[str, Plain] = {}
    whole = {name: function_data(vars(module)[name]) for name in names_of(module)}
    room = _ROOM
    for is_whole in (False, True):  # first a little of each, then all of those for which there is room
        for name, told in whole.items():
            shown = told if is_whole else {**told, "docstring": None, "parameters": _ANY}
            size = len(dumps({name: shown})) - (len(dumps({name: functions[name]})) if name in functions else 0)
            if size <= room and (name in functions or not is_whole):
                functions[name] = shown
                room -= size
    return CheckFindings(docstring, functions)


def function_data(function: Any) -> Plain:
    """Return a function as the contract tells it."""
    signature = shown_signature(function)
    code = _code_of(function)
    docstring = _text(code.__doc__ if code is not None else inspect.getattr_static(function, "__doc__", None))
    shown = _shown(signature)
    if signature is None:
        return {"signature": shown, "docstring": docstring, "parameters": _ANY}
    scope = code.__globals__ if code is not None else {}
    try:
        parameters = plain_of(parameters_schema(signature, scope))
    except Exception:  # annotations and defaults may be anything
        parameters = _ANY
    return {"signature": shown, "docstring": docstring, "parameters": parameters}


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
    properties = {name: _with_default(schemas.get(name, _ANY), each.default) for name, each in named.items()}
    more: Plain | bool = False
    for name, each in signature.parameters.items():
        if each.kind is kinds.VAR_POSITIONAL:
            properties[f"*{name}"] = {"type": "array", "items": schemas.get(name, _ANY)}
        elif each.kind is kinds.VAR_KEYWORD:
            more = schemas.get(name, _ANY) or True
    required = [name for name, each in named.items() if each.default is kinds.empty and name not in _FILLED_IN]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": more,
        **({"$defs": definitions} if definitions else {}),
    }


def warm_up() -> None:
    """Import pydantic, if it can be had, with all that it imports when it needs it.  In the template of checks.

    It makes the schema of one annotation of each kind, often enough for the interpreter to adapt its code to that.
    """
    import dataclasses
    import datetime
    import enum
    import pathlib

    class Kind(enum.Enum):
        ONE = 1

    @dataclasses.dataclass
    class Data:
        number: int = 1
        numbers: list[float] = dataclasses.field(default_factory=list)

    kinds: list[Any] = [
        Any,
        int,
        str,
        Kind,
        Data,
        list[Data],
        dict[str, float],
        tuple[int, ...],
        set[str],
        pathlib.Path,
    ]
    kinds += [typing.Optional[str], typing.Literal["a", 1], datetime.datetime, datetime.timedelta, "int | None"]  # noqa: UP045
    parameters = [
        inspect.Parameter(f"p{number}", inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=None)
        for number, kind in enumerate(kinds)
    ]
    module = ModuleType("warm_up")
    module.f = lambda: None  # type: ignore[attr-defined]
    module.f.__signature__ = inspect.Signature(parameters)
    module.__all__ = ["f"]  # type: ignore[attr-defined]
    for _ in range(_WARM_UPS):
        findings_of(module)


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


def _code_of(function: Any) -> FunctionType | None:
    """Return the function that is called in the end, however it is wrapped."""
    for _ in range(100):  # a chain of wrappers may be a ring
        if isinstance(function, FunctionType) and not hasattr(function, "__wrapped__"):
            return function
        if isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, partial):
            function = function.func
        else:
            function = inspect.getattr_static(function, "__wrapped__", None)
    return None


class _AsWritten:
    """An annotation that is text, shown without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _unquoted(annotation: Any) -> Any:
    return _AsWritten(annotation) if isinstance(annotation, str) else annotation


def _shown(signature: inspect.Signature | None) -> str:
    if signature is None:
        return "(...)"
    try:
        parameters = [each.replace(annotation=_unquoted(each.annotation)) for each in signature.parameters.values()]
        returned = _unquoted(signature.return_annotation)
        text = str(signature.replace(parameters=parameters, return_annotation=returned))
    except Exception:  # the text of a default may raise anything
        text = "(...)"
    return _cut(text, _LONGEST_SIGNATURE)


def _text(docstring: object) -> str | None:
    return _cut(inspect.cleandoc(docstring), _LONGEST_TEXT) if isinstance(docstring, str) else None


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
