"""What the operators have selected on their dashboards: one selection for all of them, kept on the disk."""

from __future__ import annotations

import dataclasses
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...file_behind import FileBehind
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
        self._lock = threading.Lock()
        self._file = FileBehind(path, self._contents, "what is selected")
        self._now = _selection_in(self._file.holds)

    @property
    def now(self) -> Selection:
        """What is selected."""
        return self._now

    def change(self, **parts: Any) -> None:
        """Select something else, and keep it; where it cannot be kept it counts all the same."""
        with self._lock:
            before, self._now = self._now, dataclasses.replace(self._now, **parts)
            is_new = before != self._now
        if is_new:
            self._file.look(_KEEPING)

    def close(self, seconds: float) -> None:
        """Wait until what is selected has been written, or cannot be, at most so long."""
        if not self._file.close(seconds):
            _log.warning("what is selected is not kept: its file cannot be written in time")

    def _contents(self) -> dict[str, Any]:
        return dataclasses.asdict(self._now)


def _selection_in(kept: dict[str, Any]) -> Selection:
    known = {"script": _is_text, "arguments": _is_text, "process_uid": _is_id}
    return Selection(**{name: kept[name] for name, is_one in known.items() if is_one(kept.get(name))})


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST


def _is_id(value: Any) -> bool:
    """Say whether it is an id, or 0; Tango takes no larger number, and the server would not start."""
    return type(value) is int and 0 <= value <= LARGEST_NUMBER
