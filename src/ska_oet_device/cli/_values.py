"""Values as a shell gives them: JSON where it is JSON, else text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..client import Arguments


def value_of(text: str) -> Any:
    """Return what JSON says, else the text: `3` is a number, `x` is a text, and so is `"3"` with its quotes."""
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def arguments_of(values: Sequence[str], named: Sequence[str], option: str) -> Arguments:
    """Return the arguments of a function.

    :param option: what the option is called that names them
    :raises typer.BadParameter: one of `named` is no NAME=VALUE, or a name comes twice
    """
    kwargs: dict[str, Any] = {}
    for text in named:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"{option} {text!r} is not NAME=VALUE")
        if name in kwargs:
            raise typer.BadParameter(f"{option} {name!r} is given twice")
        kwargs[name] = value_of(value)
    from ..client import Arguments  # Tango takes long to import

    return Arguments([value_of(text) for text in values], kwargs)


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
