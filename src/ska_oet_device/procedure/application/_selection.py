"""What the operators have selected on their dashboards: one selection for all of them, kept on the disk.

A thread writes it: whoever selects holds the device's monitor, and a disk that hangs must keep nobody from a Stop.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...own_files import read_regular, write_regular
from ..history import LARGEST_NUMBER

_log = logging.getLogger(__name__)

_KEEPING = 0.1  # seconds that a change waits for the disk; what takes longer goes on behind it
_LONGEST = 64 * 1024  # characters of a text


@dataclass(frozen=True)
class Selection:
    """What commands without arguments act on.

    :param script: the URI of a script; "" if none is selected
    :param arguments: JSON text, as an operator has typed it; "" for none
    :param process_uid: a procedure; 0: the active one
    """

    script: str = ""
    arguments: str = ""
    process_uid: int = 0


class KeptSelection:
    """The selection of one device, and the file that keeps it.  Any thread."""

    def __init__(self, path: Path | None = None) -> None:
        """Take up what an earlier server has kept; of what is no selection nothing.

        :param path: the file; None: nothing is kept
        """
        self._path = path
        self._changed = threading.Condition()
        self._now = self._tried = _read(path) if path is not None else Selection()
        self._is_writing = self._is_late = False

    @property
    def now(self) -> Selection:
        """What is selected."""
        return self._now

    def change(self, **parts: Any) -> None:
        """Select something else, and keep it; where it cannot be kept it counts all the same."""
        with self._changed:
            before, self._now = self._now, dataclasses.replace(self._now, **parts)
            if self._path is None or before == self._now:
                return
            if not self._is_writing:
                self._begin(self._path)
            if not self._is_late:  # the first one has waited in vain: the next ones do not
                self._is_late = not self._changed.wait_for(lambda: self._tried == self._now, _KEEPING)

    def wait(self, seconds: float) -> None:
        """Wait until what is selected has been written, or cannot be, at most so long."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._is_writing, seconds):
                _log.warning("what is selected is not kept: its file cannot be written in time")

    def _begin(self, path: Path) -> None:
        try:
            threading.Thread(target=self._work, args=(path,), name="selection", daemon=True).start()
        except RuntimeError as error:  # no thread can be had
            _log.warning("what is selected cannot be kept: %s", error)
            self._tried = self._now
        else:
            self._is_writing = True

    def _work(self, path: Path) -> None:
        """Write what is selected, until it is what was written last.  Target of a thread."""
        while (wanted := self._next()) is not None:
            try:
                write_regular(path, json.dumps(dataclasses.asdict(wanted)).encode())
            except OSError as error:
                _log.warning("what is selected cannot be kept: %s", error)
            with self._changed:
                self._tried = wanted
                self._changed.notify_all()

    def _next(self) -> Selection | None:
        with self._changed:
            if self._tried != self._now:
                return self._now
            self._is_writing = self._is_late = False
            self._changed.notify_all()
            return None


def _read(path: Path) -> Selection:
    try:
        data = json.loads(read_regular(path))
    except FileNotFoundError:
        return Selection()
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("what was selected cannot be read: %s", error)
        return Selection()
    kept = data if isinstance(data, dict) else {}
    known = {"script": _is_text, "arguments": _is_text, "process_uid": _is_id}
    return Selection(**{name: kept[name] for name, is_one in known.items() if is_one(kept.get(name))})


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST


def _is_id(value: Any) -> bool:
    """Say whether it is an id, or 0; Tango takes no larger number, and the server would not start."""
    return type(value) is int and 0 <= value <= LARGEST_NUMBER
