"""What `main` of a script has returned: JSON text, as it comes; the device server is the first to read it."""

from __future__ import annotations

import json
from typing import Any

_DEEPEST = 110  # levels; a worker writes no more than 100


def with_result(exit_: dict[str, Any]) -> dict[str, Any]:
    """Return how a process has ended with the result as the value that it is.

    A worker writes the text, and user code runs in it: what is no JSON, or nests too deeply to be passed on, is
    not kept.
    """
    if not isinstance(text := exit_.get("result"), str):
        return exit_
    try:
        return {**exit_, "result": _read(text)}
    except (ValueError, RecursionError) as error:
        rest = {key: value for key, value in exit_.items() if key != "result"}
        return {**rest, "result_note": f"the result cannot be read: {error}"[:300]}


def _read(text: str) -> Any:
    value = json.loads(text, parse_constant=_refuse)
    level = [value]
    for _ in range(_DEEPEST):
        level = [item for each in level if isinstance(each, (dict, list)) for item in _items(each)]
        if not level:
            return value
    raise ValueError("it nests too deeply")


def _items(container: Any) -> list[Any]:
    return list(container.values()) if isinstance(container, dict) else container


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
