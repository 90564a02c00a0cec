"""What a procedure's worker has read, and what its functions were given by the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._worker_messages import require

Plain = dict[str, Any]


class Provenance:
    """The provenance of one procedure, announced whenever there is more of it.  In main's loop.

    :param announce: tells all that is known
    """

    def __init__(self, announce: Callable[[Plain], None]) -> None:
        self._announce = announce
        self._known: Plain | None = None
        self._is_filled_in = False

    def load(self, provenance: Plain) -> None:
        """Note what has been read: once.

        :raises NotPlainError: that is known
        """
        require(self._known is None, "no script is being loaded")
        self._tell(provenance)

    def begin_call(self) -> None:
        """A function may be given something from now on."""
        self._is_filled_in = False

    def fill_in(self, function: str, arguments: Plain) -> None:
        """Note what a function was given, since nobody else has: once a call; the same as before is no news.

        :raises NotPlainError: it has been given something already
        """
        require(not self._is_filled_in, "no function has just begun")
        self._is_filled_in = True
        known = self._known or {}
        before = known.get("filled_in", {})
        if before.get(function) != arguments:
            self._tell({**known, "filled_in": {**before, function: arguments}})

    def _tell(self, provenance: Plain) -> None:
        self._known = provenance
        self._announce(provenance)
