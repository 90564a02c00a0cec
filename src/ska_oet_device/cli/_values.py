"""Values as a shell gives them: JSON where it is JSON, else text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..client import Arguments

_QUOTED = """a text that begins so is quoted, as '"[text"'"""
_SHOWN = 40  # characters of a value


def value_of(text: str, option: str) -> Any:
    """Return what JSON says, else the text: `3` is a number, `x` is a text, and so is `"3"` with its quotes.

    :param option: what stands before the value in a message, such as `--arg `
    :raises typer.BadParameter: it begins as lists, objects and texts of JSON do, and is none of them
    """
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith(("[", "{", '"')):
            return text
        raise typer.BadParameter(f"{option}{_shortened(text)} is no JSON: {_fault(text, error)}; {_QUOTED}") from None


def arguments_of(values: Sequence[str], named: Sequence[str], option: str) -> Arguments:
    """Return the arguments of a function.

    :param option: what the option is called that names them: --kwarg or --init-kwarg
    :raises typer.BadParameter: one of `named` is no NAME=VALUE, or a name comes twice, or a value is broken JSON
    """
    kwargs: dict[str, Any] = {}
    for text in named:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"{option} {text!r} is not NAME=VALUE")
        if name in kwargs:
            raise typer.BadParameter(f"{option} {name!r} is given twice")
        kwargs[name] = value_of(value, f"{option} {name}=")
    from ..client import Arguments  # Tango takes long to import

    by_position = {"--kwarg": "--arg", "--init-kwarg": "--init"}[option]
    return Arguments([value_of(text, f"{by_position} ") for text in values], kwargs)


def procedure_of(text: str) -> int | str:
    """Return a procedure's id as a number, or its run id as a text.

    :raises typer.BadParameter: it is neither
    """
    text = text.strip()
    if not text:
        raise typer.BadParameter("a procedure has an id, or a run id (given: '')")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else text


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _fault(text: str, error: Exception) -> str:
    """Return where the JSON breaks, and why."""
    if isinstance(error, json.JSONDecodeError):
        behind = text[error.pos : error.pos + 20]
        return f"{error.msg} at character {error.pos + 1} ({repr(behind) if behind else 'its end'})"
    return "it is too deep" if isinstance(error, RecursionError) else str(error)
