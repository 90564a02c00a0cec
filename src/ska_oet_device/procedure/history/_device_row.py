"""The row of a device: how far its numbers have come, and whose it is.

Every transaction that counts writes to this row, and only while this server owns it.  One that was cut off, and whose
device another server has taken over meanwhile, can write nothing any more: the two would mix what they number.
"""

from __future__ import annotations

import time as clock
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from ..ownership import Owner, StateHeldError
from . import _schema as schema
from ._numbers import Counts
from ._writer import Batch

_SILENCE = 10.0  # seconds without a sign of life; an owner gives one every two seconds

_device = schema.device
# Made once: a statement that is made anew for each change costs more than its execution.
_UPDATE_OURS = update(_device).where(_device.c.name == bindparam("of_device"), _device.c.owner == bindparam("of_owner"))


@dataclass(frozen=True)
class Found:
    """What a row said when it was taken: numbers, main's newest announcement that is recorded, and the last owner."""

    counts: Counts
    boot: str = ""
    number: int = 0
    previous: Owner | None = None


class DeviceRow:
    """One device's row, as seen by one server."""

    def __init__(self, device: str, owner: Owner, former_name: str = "") -> None:
        """Nothing is asked of the database yet.

        :param former_name: the name of rows of an earlier version, which become this device's
        """
        self.device = device
        self.owner = owner
        self.former_name = former_name
        self._lowest = Counts()
        self._silent: tuple[str, float, float] = ("", 0.0, 0.0)

    def claim(self, connection: Connection, lowest: Counts) -> Found:
        """Make this server the owner; the row is made if there is none.

        :param lowest: how far the numbers have come at least, should the row be new
        :raises StateHeldError: another server owns it
        """
        row = self._find(connection)
        if row is None:
            connection.execute(insert(_device), self._new(lowest))
            return Found(lowest)
        previous = Owner.from_text(row.owner_is)
        self._check(row, previous)
        mine = {"owner": self.owner.boot, "owner_is": self.owner.as_text(), "seen": clock.time()}
        # Whoever else has seen the same row comes too late.
        taken = connection.execute(
            update(_device).where(_device.c.name == self.device, _device.c.owner == row.owner).values(**mine)
        )
        if taken.rowcount != 1:
            raise StateHeldError(f"{self.device} has just been taken by another server", may_end=True)
        counts = Counts(row.last_id, row.last_sequence, row.last_request)
        self._lowest = counts
        return Found(counts, row.boot, row.last_number, previous if row.owner != self.owner.boot else None)

    def _find(self, connection: Connection) -> Row[Any] | None:
        mine = select(_device).where(_device.c.name == self.device)
        row = connection.execute(mine).first()
        if row is None and self.former_name:
            self._rename(connection)
            row = connection.execute(mine).first()
        return row

    def _rename(self, connection: Connection) -> None:
        """Give what an earlier version has written under the mere name of the device to this one."""
        for table in schema.metadata.sorted_tables:
            column = table.c.get("device", table.c.get("name"))
            if column is not None:
                connection.execute(update(table).where(column == self.former_name).values({column.name: self.device}))

    def _check(self, row: Row[Any], previous: Owner | None) -> None:
        """Refuse if the owner may live: one that can be seen is asked for, any other has to be silent for a while."""
        if row.owner in ("", self.owner.boot):
            return
        lives = previous.lives() if previous is not None else None
        if lives is False:
            return
        text = f"the history of {self.device} belongs to {previous or 'another server'}"
        if lives:
            raise StateHeldError(f"{text}, which is running")
        owner, seen, since = self._silent
        now = clock.monotonic()
        if owner != row.owner:  # the first look: its clock may be another one, so what counts is whether this changes
            self._silent = row.owner, row.seen, now
            raise StateHeldError(text, may_end=True)
        if seen != row.seen:
            raise StateHeldError(f"{text}, which is writing to it")
        if now - since < _SILENCE:
            raise StateHeldError(text, may_end=True)

    # -- in a transaction of the writer

    def update(self, batch: Batch, columns: Mapping[str, Any]) -> None:
        """Write columns of the row; numbers never go back.

        :raises StateHeldError: when the batch is flushed: another server owns the row
        """
        lowest = self._lowest
        values = dict(columns)
        for name, least in (
            ("last_id", lowest.ids),
            ("last_sequence", lowest.sequence),
            ("last_request", lowest.requests),
        ):
            if name in values:
                values[name] = max(values[name], least)
        which: dict[str, Hashable] = {"of_device": self.device, "of_owner": self.owner.boot}
        batch.update(_UPDATE_OURS, which, values, self._missing)

    def show_life(self, batch: Batch) -> None:
        """Write when this server was seen last."""
        self.update(batch, {"seen": clock.time()})

    def let_go(self, batch: Batch) -> None:
        """Give the row up, whether it is still ours or not."""
        ours = update(_device).where(_device.c.name == self.device, _device.c.owner == self.owner.boot)
        batch.flush()
        batch.connection.execute(ours.values(owner=""))

    def _missing(self, connection: Connection, values: dict[str, Any]) -> None:
        row = connection.execute(select(_device).where(_device.c.name == self.device)).first()
        if row is not None:
            owner = Owner.from_text(row.owner_is) if row.owner else None
            raise StateHeldError(f"the history of {self.device} was taken over by {owner or 'another server'}")
        columns = {name: value for name, value in values.items() if name in _device.c}
        connection.execute(insert(_device), {**self._new(Counts()), **columns})

    def _new(self, counts: Counts) -> dict[str, Any]:
        return {
            "name": self.device,
            "last_id": counts.ids,
            "last_sequence": counts.sequence,
            "last_request": counts.requests,
            "boot": self.owner.boot,
            "last_number": 0,
            "owner": self.owner.boot,
            "owner_is": self.owner.as_text(),
            "seen": clock.time(),
        }
