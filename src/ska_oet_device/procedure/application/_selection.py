"""What the operators have selected on their dashboards: one selection for all of them, kept on the disk."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...own_files import read_regular, write_regular

_log = logging.getLogger(__name__)


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
        self._lock = threading.Lock()
        self._now = _read(path) if path is not None else Selection()

    @property
    def now(self) -> Selection:
        """What is selected."""
        return self._now

    def change(self, **parts: Any) -> None:
        """Select something else, and keep it; where it cannot be kept it counts all the same."""
        with self._lock:
            before, self._now = self._now, dataclasses.replace(self._now, **parts)
            if self._path is None or before == self._now:
                return
            try:
                write_regular(self._path, json.dumps(dataclasses.asdict(self._now)).encode())
            except OSError as error:
                _log.warning("what is selected cannot be kept: %s", error)


def _read(path: Path) -> Selection:
    try:
        data = json.loads(read_regular(path))
    except FileNotFoundError:
        return Selection()
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("what was selected cannot be read: %s", error)
        return Selection()
    known = {part.name: type(part.default) for part in dataclasses.fields(Selection)}
    kept = data if isinstance(data, dict) else {}
    return Selection(**{name: kept[name] for name, kind in known.items() if type(kept.get(name)) is kind})
