"""What a client may know of a script and its functions: docstrings, signatures, parameters.

Runs in the main thread of a worker of a check, and in the template of checks.
"""

from __future__ import annotations

import inspect
import typing
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

from ...mptools import dumps
from ..messages import LARGEST_FINDINGS, CheckFindings
from ._call import shown_signature
from ._functions import names_of
from ._parameters import ANY, parameters_schema
from ._result import plain_of

Plain = dict[str, Any]

_LONGEST_TEXT = 4000  # characters of a docstring
_LONGEST_SIGNATURE = 1000
_ROOM_FOR_TEXT = 6 * 1024  # bytes of JSON of the script's docstring
_FOR_THE_REST = 1024  # bytes of JSON beside docstring and functions
_WARM_UPS = 10  # the interpreter adapts its code to what it does within some ten calls


def findings_of(module: ModuleType, largest: int = LARGEST_FINDINGS) -> CheckFindings:
    """Return what is told of a script that was loaded.

    Functions for which there is no room are told without docstring and parameters, or, beyond that, not at all.

    :param largest: bytes of JSON
    """
    docstring = _text(vars(module).get("__doc__"))
    if docstring is not None and len(dumps(docstring)) > _ROOM_FOR_TEXT:
        docstring = docstring[: _ROOM_FOR_TEXT // 12]
    functions: dict[str, Plain] = {}
    whole = {name: function_data(vars(module)[name]) for name in names_of(module)}
    room = largest - _ROOM_FOR_TEXT - _FOR_THE_REST
    for is_whole in (False, True):  # first a little of each, then all of those for which there is room
        for name, told in whole.items():
            shown = told if is_whole else {**told, "docstring": None, "parameters": ANY}
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
        return {"signature": shown, "docstring": docstring, "parameters": ANY}
    scope = code.__globals__ if code is not None else {}
    try:
        parameters = plain_of(parameters_schema(signature, scope))
    except Exception:  # annotations and defaults may be anything
        parameters = ANY
    return {"signature": shown, "docstring": docstring, "parameters": parameters}


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
