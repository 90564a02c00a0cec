"""What a script reports of itself: the values of one report come one after the other, and are shown together."""

from __future__ import annotations

import time

_TOGETHER = 0.05  # seconds within which the values of one report have come


class Reported:
    """Progress and activity of one procedure, while it is the active one.

    :param uid: its id
    """

    def __init__(self, uid: int) -> None:
        self._uid = uid
        self._active: int | None = None
        self._changed: float | None = None
        self._now: tuple[float | None, str] = (None, "")
        self._told: tuple[float | None, str] = (None, "")

    def take(self, name: str, value: object) -> None:
        """Take the value of an attribute that was pushed; of activeProcedureId, activeProgress, activeActivity."""
        if name == "activeProcedureId":
            self._active = int(str(value)) if value is not None else None
        elif self._active == self._uid:
            percent, activity = self._now
            if name == "activeProgress":
                percent = None if value is None else float(str(value))
            elif name == "activeActivity":
                activity = str(value or "")
            self._now = (percent, activity)
            if self._now == self._told:
                self._changed = None
            elif self._changed is None:
                self._changed = time.monotonic()

    @property
    def due_in(self) -> float | None:
        """Seconds until there is something to be shown; None: there is nothing."""
        return None if self._changed is None else max(0.0, self._changed + _TOGETHER - time.monotonic())

    def to_show(self) -> tuple[float | None, str]:
        """Return percent and activity, which count as shown from now on."""
        self._changed, self._told = None, self._now
        return self._now
