"""What is wrong with a request, in the words of the contract: its places, values and rules.

The library that checks requests has words of its own, which mean nothing to whoever reads the
contract: each kind of error that it finds here has a sentence in `RULES`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ...errors import brief

_SHOWN = 3
_MOST_LOOKED_AT = 1000  # errors
_LONGEST_VALUE = 100
_MOST_KEYS_ASKED = 50  # characters of a key that is compared with those there are
_NO_VALUE = ("missing", "extra_forbidden", "json_invalid", "string_unicode", "union_tag_not_found")

_TEXT, _OBJECT, _WHOLE = "must be text", "must be a JSON object", "must be a whole number"

RULES: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda context: "is missing",
    "string_type": lambda context: _TEXT,
    "string_too_short": lambda context: "must not be empty",
    "string_too_long": lambda context: f"must have at most {context['max_length']} characters",
    "string_unicode": lambda context: "holds half a character (a lone surrogate)",
    "bool_type": lambda context: "must be true or false",
    "float_type": lambda context: "must be a number",
    "int_type": lambda context: _WHOLE,
    "int_from_float": lambda context: _WHOLE,
    "int_parsing": lambda context: _WHOLE,
    "int_parsing_size": lambda context: f"{_WHOLE} of at most 64 bits",
    "finite_number": lambda context: _WHOLE,
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "list_type": lambda context: "must be a list",
    "dict_type": lambda context: _OBJECT,
    "model_type": lambda context: _OBJECT,
    "model_attributes_type": lambda context: _OBJECT,
    "value_error": lambda context: str(context["error"]),
    "union_tag_not_found": lambda context: "is missing",
    "union_tag_invalid": lambda context: f"must be {_one_of(context['expected_tags'])}",
    "literal_error": lambda context: f"must be {_one_of(context['expected'])}",
}
"""What each kind of error says, from its context; all that the requests' models can raise, and some more."""

DEEPEST = 200
"""Levels of lists and objects that the parser follows, those of the request itself among them."""

_SYNTAX = {
    "EOF": "it ends too early",
    "trailing comma": "there is a comma too many",
    "trailing characters": "something follows its end",
    "expected value": "a value is missing or wrong",
    "expected ident": "a value is missing or wrong",
    "key must be": "a key must be text in double quotes",
    "expected `:`": "a colon is missing",
    "expected `,`": "a comma or the closing bracket is missing",
    "invalid escape": "an escape sequence is wrong",
    "unexpected end of hex": "an escape sequence is wrong",
    "lone leading surrogate": "half a character (a lone surrogate) is no text",
    "control character": "a control character must be escaped",
    "invalid number": "a number is wrong",
    "number out of range": "a number is too large",
    "recursion limit": f"its lists and objects are nested more than {DEEPEST} levels deep",
}


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return what is wrong with the argument of a request: the first places, and how many more there are."""
    if error.error_count() > _MOST_LOOKED_AT:
        return f"the argument has {error.error_count()} faults, such as keys that there are not"
    found = error.errors(include_url=False)
    sentences = [_sentence(item, model) for item in found[:_SHOWN]]
    if len(found) > _SHOWN:
        sentences.append(f"and {len(found) - _SHOWN} more")
    return "; ".join(sentences)


def _sentence(item: Any, model: type[BaseModel]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "json_invalid":
        return f"the argument is no JSON: {_syntax(str(context['error']))}"
    places, keys = _walk(item["loc"], model)
    if kind.startswith("union_tag"):
        places.append(".script_type")
    where = "".join(places).lstrip(".") if places else "the argument"
    if kind == "extra_forbidden":
        return f"{where}: there is no such key; {_advice(str(item['loc'][-1]), keys)}"
    rule = RULES[kind](context) if kind in RULES else "does not fit"
    return f"{where}: {rule}{_given(item)}"


def _walk(loc: Iterable[int | str], model: type[BaseModel]) -> tuple[list[str], list[str]]:
    """Return the parts of a place as a request's author writes it, and the keys of the innermost object around it."""
    places: list[str] = []
    kind: Any = model
    keys: list[str] = []
    for part in loc:
        variants = get_args(kind)
        if variants and isinstance(part, str):  # not a place: which of the variants it is
            kind = next((item for item in variants if part in _type_names(item)), None)
            if kind is not None:
                continue
        fields = getattr(kind, "model_fields", {})
        keys = list(fields)
        places.append(f"[{part}]" if isinstance(part, int) else f".{shorten(json.dumps(part)[1:-1])}")
        kind = fields[part].annotation if part in fields else None
    return places, keys


def _type_names(variant: Any) -> tuple[str, ...]:
    field = getattr(variant, "model_fields", {}).get("script_type")
    return get_args(field.annotation) if field is not None else ()


def _advice(key: str, keys: list[str]) -> str:
    near = difflib.get_close_matches(key[:_MOST_KEYS_ASKED], keys, 1)
    return f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"


def _given(item: Any) -> str:
    kind, value = item["type"], item["input"]
    if kind in _NO_VALUE:
        return ""
    if kind == "union_tag_invalid":
        value = value["script_type"]
    return f" (given: {_as_json(value)})"


def _as_json(value: Any) -> str:
    try:
        return shorten(json.dumps(value))
    except (ValueError, TypeError, RecursionError):  # an integer of thousands of digits, or too deep
        return "what cannot be shown"


def _one_of(expected: str) -> str:
    return expected.replace("'", "").replace(", ", " or ")


def _syntax(text: str) -> str:
    words = next((words for begin, words in _SYNTAX.items() if begin in text), "it is not written correctly")
    found = re.search(r"line (\d+) column (\d+)", text)
    return f"{words} (line {found[1]}, column {found[2]})" if found else words


def shorten(text: str) -> str:
    """Return the beginning of what somebody has given."""
    return brief(text, _LONGEST_VALUE)
