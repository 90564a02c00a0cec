"""What the active procedure reports of itself, put together from three attributes: only what was once true."""

from __future__ import annotations

from ._answers import LifecycleEvent, ProgressEvent
from ._errors import UnreachableError
from ._items import Item, Value
from ._steps import PROGRESS, Doubt, Steps, reported


class Reported:
    """What is known of it.

    A report is an event of activeProgress and one of activeActivity, which have the same time: none counts without the
    other.  Attributes are read only where no two events tell: at first, behind a gap, for another active procedure.
    """

    def __init__(self) -> None:
        self._known: ProgressEvent | None = None
        self._told: ProgressEvent | None = None
        self._read_at: dict[str, float] = {}
        self._half: Value | None = None

    def news(self, item: Item) -> Steps[ProgressEvent | None]:
        """Return what is reported now, if an item tells that it is something else than before."""
        if isinstance(item, Value) and item.attribute in PROGRESS and self._known is not None:
            if item.attribute != "activeProcedureId":
                yield from self._take(item, self._known.process_uid)
            elif item.value != self._known.process_uid:
                yield from self._read()
        elif not isinstance(item, LifecycleEvent):
            yield from self._read()
        is_new = self._known != self._told
        self._told = self._known
        return self._known if is_new else None

    def _take(self, half: Value, uid: int) -> Steps[None]:
        other, self._half = self._half, half
        if other is None:
            return
        if other.attribute == half.attribute or other.time != half.time:  # answers to a subscription, or one was lost
            yield from self._read()
            return
        self._half = None
        if all(part.time > self._read_at.get(part.attribute, 0.0) for part in (other, half)):
            values = {part.attribute: part.value for part in (other, half)}
            self._known = ProgressEvent(uid, values["activeProgress"], values["activeActivity"] or "")
        # else it was under way when they were read

    def _read(self) -> Steps[None]:
        try:
            read = yield from reported(patient=False)
        except UnreachableError:
            yield Doubt()
            return
        # What is INVALID has the time at which it was read, which may be later than that of the first report.
        self._read_at = {name: time for name, (value, time) in zip(PROGRESS, read, strict=True) if value is not None}
        (uid, _), (percent, _), (activity, _) = read
        self._known = ProgressEvent(uid, percent, activity or "")
