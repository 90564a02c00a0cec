"""What was written to memorised attributes: kept in the Tango database, where Tango would keep it, but by a thread.

Tango does that in the thread of the write, which holds the device's monitor: while the database hung nobody could stop
a script for 20 s (measured), and a write while it was away was answered by an error, though it had been done.
"""

from __future__ import annotations

import enum
import logging
import threading
import time as clock
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import tango

from ...file_behind import FileBehind
from ...logs import about
from ._database import AGAIN_AFTER, cause_of, delete_kept, kept_values, put_kept

_log = logging.getLogger(__name__)

_KEEPING = 0.1  # seconds that a write waits for the database; what takes longer goes on behind it
_READING = 5.0  # seconds; nobody waits for a server that starts
_PIECE = 60_000  # characters; MariaDB's column takes 65,535 bytes, and a longer one would erase what was there


class Store(Protocol):
    """Where it is kept."""

    def values(self, device: str, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the pieces of what is kept for attributes."""

    def put(self, device: str, name: str, pieces: Sequence[str]) -> None:
        """Keep the pieces of one; where there were more of them the others stay."""

    def delete(self, device: str, name: str) -> None:
        """Keep nothing of one."""


class TangoDatabase:
    """The database of this server; each method raises DevFailed where it does not answer, or fails."""

    values = staticmethod(kept_values)
    put = staticmethod(put_kept)
    delete = staticmethod(delete_kept)


class Memory:
    """The memorised attributes of one device; lives as long as the server, whatever becomes of the device object."""

    def __init__(
        self, device: str, names: Sequence[str], store: Store | None = None, *, aside: Path | None = None
    ) -> None:
        """Begin with what an earlier server has set aside.

        :param aside: the file that keeps what the database has not taken yet; None: that is lost with this process
        """
        self._device = device
        self._names = list(names)
        self._store: Store = store or TangoDatabase()
        self._changed = threading.Condition()
        self._written: set[str] = set()
        self._pieces: dict[str, int] = {}
        self._values: dict[str, str] | None = None
        self._busy = self._reading = self._late = False
        self._patience = _READING
        what = "what the Tango database has not taken yet"
        self._aside = FileBehind(aside, self._not_kept, what, about(device))
        self._left = {name: str(text) for name, text in self._aside.holds.items() if name in names}
        self._wanted = dict(self._left)

    # -- at the start

    def take(self) -> dict[str, str]:
        """Return what is kept, as soon as the database tells it, and only once; not of what has been written since."""
        if not self._names:
            return {}
        patience, self._patience = self._patience, _KEEPING  # later a client waits for its Init
        with self._changed:
            left = {name: text for name, text in self._left.items() if name not in self._written}
            self._left = {}
            self._written |= set(left)
            self._work_on()
            if self._values is None and not self._reading:
                self._reading = True
                threading.Thread(target=self._read, name="memory", daemon=True).start()
            self._changed.wait_for(lambda: not self._reading, patience)
            unknown_ones = [name for name in self._names if name not in self._written]
            if self._values is None and not unknown_ones:
                return left
            if self._values is None:
                unknown = (
                    "what was written to %s before is not known: the Tango database does not tell; Init asks again"
                )
                _log.error(unknown, ", ".join(unknown_ones), extra=about(self._device))
                return left
            found, self._values = self._values, {}
            return {**{name: text for name, text in found.items() if name not in self._written}, **left}

    def _read(self) -> None:
        with tango.EnsureOmniThread():
            found: dict[str, list[str]] | None = None
            try:
                found = self._store.values(self._device, self._names)
            except Exception as error:  # whatever the database does, the device goes on
                _log.error("the Tango database fails: %s", cause_of(error), extra=about(self._device))
            with self._changed:
                if found is not None:
                    self._values = {name: "".join(pieces) for name, pieces in found.items()}
                    self._pieces = {**{name: len(pieces) for name, pieces in found.items()}, **self._pieces}
                self._reading = False
                self._changed.notify_all()

    # -- at a write

    def keep(self, name: str, text: str) -> None:
        """Keep what was written; what the database has not got within a moment is set aside until it has."""
        with self._changed:
            self._written.add(name)
            self._wanted[name] = text
            self._work_on()
            if not self._late:  # else those who write one behind the other would hold the monitor for good
                self._late = not self._changed.wait_for(lambda: name not in self._wanted, _KEEPING)
            is_kept = name not in self._wanted
        if not is_kept:
            self._aside.look(_KEEPING)

    def wait(self, seconds: float) -> None:
        """Wait until everything is kept, at most so long; what is neither that by then nor set aside is lost."""
        deadline = clock.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: not (self._wanted or self._busy), seconds)
        self._aside.close(max(0.0, deadline - clock.monotonic()))
        holds = self._aside.holds.items()
        lost = ", ".join(name for name, text in self._not_kept().items() if (name, text) not in holds)
        if lost:
            _log.error("what was written to %s is not kept", lost, extra=about(self._device))

    def _not_kept(self) -> dict[str, str]:
        with self._changed:
            return dict(self._wanted)

    def _work_on(self) -> None:
        if self._wanted and not self._busy:
            self._busy = True
            threading.Thread(target=self._work, name="memory", daemon=True).start()

    def _work(self) -> None:
        """Keep what is wanted, until nothing is.  Target of a thread."""
        with tango.EnsureOmniThread():
            problem = ""
            while (wanted := self._next()) is not None:
                name, text = wanted
                if self._aside.holds.get(name, text) != text:  # else an older text could come back behind the newer one
                    self._aside.look(_KEEPING)
                try:
                    self._put(name, text)
                except Exception as error:  # whatever the database does, the device goes on
                    if not problem:
                        problem = cause_of(error)
                        about_it = "what was written to %s cannot be kept yet: the Tango database fails: %s"
                        _log.error(about_it, name, problem, extra=about(self._device))
                    clock.sleep(AGAIN_AFTER)
                    continue
                if problem:
                    _log.info("what was written to %s is kept now", name, extra=about(self._device))
                problem = ""
                self._is_kept(name, text)

    def _next(self) -> tuple[str, str] | None:
        with self._changed:
            self._busy = bool(self._wanted)
            self._changed.notify_all()
            return next(iter(self._wanted.items()), None)

    def _put(self, name: str, text: str) -> None:
        pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
        if not pieces or self._pieces.get(name, 1) > len(pieces):  # DatabaseDS would leave the last of the old ones
            self._store.delete(self._device, name)
        if pieces:
            self._store.put(self._device, name, pieces)
        self._pieces[name] = len(pieces)

    def _is_kept(self, name: str, text: str) -> None:
        with self._changed:
            self._late = False
            if self._wanted.get(name) == text:
                del self._wanted[name]
                self._changed.notify_all()
        if self._aside.holds:
            self._aside.look()


# -- values and texts


def text_of(value: Any) -> str:
    """Return what is kept of a value, as Tango writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, enum.IntEnum) else str(value)


def value_of(dtype: Any, text: str) -> Any:
    """Return the value of an attribute of this type that was kept.

    :raises ValueError: it is none
    """
    if dtype is bool:
        known: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
        if text.strip().lower() not in known:
            raise ValueError(f"{text[:80]!r} is neither true nor false")
        return known[text.strip().lower()]
    if isinstance(dtype, type) and issubclass(dtype, enum.Enum):
        return dtype(int(text)) if text.strip().isdecimal() else dtype[text.strip()]
    return text if dtype is str else dtype(text)
