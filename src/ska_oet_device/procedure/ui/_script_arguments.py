"""The attribute scriptArguments: JSON as an operator in a hurry types it, for a script's init and its main."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from ...errors import InvalidArgumentError, TooLargeError
from ..application import PrepareProcessCommand, Selection
from ..script import ProcedureInput
from ._problems import explain, shorten
from ._requests import Input, Model, says, script_of_uri

NOTHING = "{}"
"""What the attribute tells where no arguments are selected: an attribute that is JSON is never empty."""

_LONGEST = 64 * 1024  # characters, as of any event
_ANY: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_HOW = 'write {"dwell": 2} for arguments by name, [2, "b"] for arguments by position, {} for none'


class ByFunction(Model):
    """What each of the functions is given; either may be written as a list, as an object of names, or in full."""

    init: Input = says("what init is given", Input())
    main: Input = says("what main is given", Input())


@dataclass(frozen=True)
class ScriptArguments:
    """What the functions of a script are given."""

    init: ProcedureInput
    main: ProcedureInput


def parse_script_arguments(text: str) -> ScriptArguments:
    """Parse what an operator has typed.

    A list is what main is given by position, an object what it is given by name.  An object of the keys args and kwargs
    is both; one of the keys init and main has either of these for each function.

    :raises InvalidArgumentError: it is none of these; says how to write it
    :raises TooLargeError: it is too long
    """
    if len(text) > _LONGEST:
        raise TooLargeError(f"scriptArguments has {len(text)} characters; {_LONGEST} are allowed")
    try:
        value = _ANY.validate_json(text.strip() or NOTHING)
        _check_keys(text.strip() or NOTHING)
        found = ByFunction.model_validate(_by_function(value))
    except ValidationError as error:
        problem = explain(error, ByFunction).replace("the argument is", "it is", 1)
        raise InvalidArgumentError(f"scriptArguments: {problem}; {_HOW}") from None
    return ScriptArguments(found.init.input(), found.main.input())


def selected_run(selection: Selection) -> tuple[PrepareProcessCommand, ProcedureInput]:
    """Return the preparation of the script that is selected, and what its main is to be given.

    :raises InvalidArgumentError: what is selected is no use any more
    """
    arguments = parse_script_arguments(selection.arguments)
    return PrepareProcessCommand(script_of_uri(selection.script), arguments.init), arguments.main


def _check_keys(text: str) -> None:
    """See that no object has a key twice: whoever types in a hurry sees both, and the script is given the last one.

    :raises InvalidArgumentError: one has
    """

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen = set[str]()
        for key, _ in pairs:
            if key in seen:
                raise InvalidArgumentError(f"scriptArguments: {shorten(key)} is there twice; {_HOW}")
            seen.add(key)

    json.loads(text, object_pairs_hook=check, parse_int=str)  # Python refuses to convert a number of 4,301 digits


def _by_function(value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and _is_of(value, ("init", "main")):
        return {name: _in_full(given, name) for name, given in value.items()}
    return {"main": _in_full(value, "")}


def _in_full(value: Any, function: str) -> dict[str, Any]:
    if isinstance(value, list):
        return {"args": value}
    if not isinstance(value, dict):
        whose = f"the arguments of {function} are" if function else "this is"
        raise InvalidArgumentError(f"scriptArguments: {whose} neither a list nor an object; {_HOW}")
    return value if _is_of(value, ("args", "kwargs")) else {"kwargs": value}


def _is_of(value: dict[str, Any], keys: tuple[str, ...]) -> bool:
    """Say whether an object has these keys, and no others.

    :raises InvalidArgumentError: it has others beside
    """
    others = [key for key in value if key not in keys]
    if others and len(others) < len(value):
        one = next(key for key in keys if key in value)
        raise InvalidArgumentError(
            f"scriptArguments: {one} and {shorten(others[0])} stand side by side: beside {one} there may be"
            f" {' and '.join(key for key in keys if key != one)} alone; an argument that is called {one}"
            f' is written in "kwargs"'
        )
    return bool(value) and not others
