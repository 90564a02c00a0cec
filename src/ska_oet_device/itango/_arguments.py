"""What stands behind `%oet_run`: a script and its arguments, written in a line.

A value is JSON or a Python literal, `$name` or `{expression}` of the shell's own names, else text as it stands.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from IPython.core.error import UsageError

_KEYWORD = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_NAME = re.compile(r"\$([A-Za-z_]\w*)")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass
class RunLine:
    """What `%oet_run` was asked for."""

    script: Any
    function: str = "main"
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    init_args: list[Any] = field(default_factory=list)
    init_kwargs: dict[str, Any] = field(default_factory=dict)
    watch: bool = False


def parse_run(line: str, names: Mapping[str, Any]) -> RunLine:
    """Return what a line asks for.

    :param names: what `$name` and `{expression}` may refer to
    :raises UsageError: the line cannot be understood
    """
    words = split(line)
    run = RunLine(None)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "-w":
            run.watch = True
        elif option == "-f":
            run.function = _next(words, option)
        elif option == "-i":
            _add(_next(words, option), run.init_args, run.init_kwargs, names)
        else:
            raise UsageError(f"{option}: there is no such option; those there are: -f, -i, -w")
    if not words:
        raise UsageError("which script? %oet_run SCRIPT [VALUE | NAME=VALUE ...]")
    run.script = _script(words.pop(0), names)
    for word in words:
        _add(word, run.args, run.kwargs, names)
    return run


def _next(words: list[str], option: str) -> str:
    if not words:
        raise UsageError(f"{option}: what?")
    return words.pop(0)


def _add(word: str, args: list[Any], kwargs: dict[str, Any], names: Mapping[str, Any]) -> None:
    keyword = _KEYWORD.fullmatch(word)
    if keyword is None:
        args.append(value_of(word, names))
    else:
        kwargs[keyword.group(1)] = value_of(keyword.group(2), names)


def _script(word: str, names: Mapping[str, Any]) -> Any:
    is_plain = not (word.startswith(("'", '"', "{")) or _NAME.fullmatch(word))
    return word if is_plain else value_of(word, names)


def value_of(word: str, names: Mapping[str, Any]) -> Any:
    """Return the value that a word stands for.

    :raises UsageError: a name that there is not, or an expression that fails
    """
    try:
        return json.loads(word, parse_constant=_refuse)
    except ValueError:
        pass
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    name = _NAME.fullmatch(word)
    if name:
        return _evaluated(name.group(1), names)
    if word.startswith("{") and word.endswith("}"):
        return _evaluated(word[1:-1], names)
    return word


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are no JSON: text


def _evaluated(expression: str, names: Mapping[str, Any]) -> Any:
    try:
        return eval(expression, dict(names))
    except Exception as error:  # it is the user's own expression: whatever it raises is told
        raise UsageError(f"{expression}: {type(error).__name__}: {error}") from None


def split(line: str) -> list[str]:
    """Return the words of a line: spaces in brackets and in quotes divide nothing.

    :raises UsageError: a bracket or a quotation mark that is not closed
    """
    words, word, expected, quote, is_escaped = [], "", "", "", False
    for character in line:
        if quote:
            if not is_escaped and character == quote:
                quote = ""
            is_escaped = character == "\\" and not is_escaped
        elif character in "'\"" and (not word or expected or word[-1] == "="):
            quote = character
        elif character in _PAIRS:
            expected += _PAIRS[character]
        elif expected and character == expected[-1]:
            expected = expected[:-1]
        elif character.isspace() and not expected:
            words += [word] if word else []
            word = ""
            continue
        word += character
    if quote or expected:
        raise UsageError(f"{quote or expected[-1]} is missing: {word}")
    return words + ([word] if word else [])
