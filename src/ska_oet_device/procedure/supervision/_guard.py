"""What is done on behalf of one procedure: a fault of ours in that ends this procedure, and no other.

Whatever main's loop calls for a procedure passes through `guarded`, or through the procedure's own `GuardedLoop`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ...mptools import EventLoop, Timer

P = ParamSpec("P")


class Guarded(Protocol):
    """Who is told of a fault."""

    def fail_internally(self, error: Exception) -> None:
        """End for a fault of this program."""


_G = TypeVar("_G", bound=Guarded)


class Clock(Protocol):
    """The part of a loop that keeps deadlines."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer: ...


def call_for(owner: Guarded, function: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Call a function on behalf of `owner`, which is told if that raises."""
    try:
        function(*args, **kwargs)
    except Exception as error:  # top of what is done for one procedure: the others must not suffer
        owner.fail_internally(error)


def guarded(method: Callable[Concatenate[_G, P], None]) -> Callable[Concatenate[_G, P], None]:
    """Have a method raise nothing: a fault in it ends the procedure whose method it is."""

    @functools.wraps(method)
    def call(self: _G, /, *args: P.args, **kwargs: P.kwargs) -> None:
        call_for(self, method, self, *args, **kwargs)

    return call


class GuardedLoop:
    """Main's loop, as the parts of one procedure see it."""

    def __init__(self, loop: EventLoop, owner: Guarded) -> None:
        self._loop = loop
        self._owner = owner

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, `seconds` from now by the monotonic clock."""
        return self._loop.call_later(seconds, lambda: call_for(self._owner, callback))
