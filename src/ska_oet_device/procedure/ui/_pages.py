"""Answers that are lists, and that are small enough to be made in the time that a command has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ...errors import TooLargeError

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer."""

_LARGEST_PAGE = 4 * 1024 * 1024  # bytes, beyond which no further item is added

_T = TypeVar("_T")


def whole_list(texts: Iterable[str]) -> str:
    """Return a JSON list of all the texts.

    :raises TooLargeError: it would be larger than an answer may be; the rest has not been asked for
    """
    size, kept = 0, []
    for text in texts:
        size += len(text)
        if size > LARGEST_ANSWER:
            raise TooLargeError(f"the answer would have more than {LARGEST_ANSWER} bytes: ask for fewer at a time")
        kept.append(text)
    return f"[{', '.join(kept)}]"


def first_of_list(items: Iterable[_T], to_text: Callable[[_T], str]) -> str:
    """Return a JSON list of the first items, at least one: whoever asks goes on behind the last that it got."""
    size, kept = 0, []
    for item in items:
        if size > _LARGEST_PAGE:
            break
        kept.append(to_text(item))
        size += len(kept[-1])
    return f"[{', '.join(kept)}]"
