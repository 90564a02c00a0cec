"""How long to wait before what has failed is tried again."""

from __future__ import annotations


class GrowingPause:
    """The pauses between tries that fail, in seconds: each is twice the one before, up to the longest."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def next(self) -> float:
        """Return how long to wait before the next try."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause

    def reset(self) -> None:
        """Note that a try has succeeded: the next pause is the first again."""
        self._next = self._first
