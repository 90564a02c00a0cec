"""What the Tango database has not taken yet of memorised attributes: a small file in the device's state, while it is.

A thread writes it: whoever writes an attribute holds the device's monitor, and a disk that hangs must keep nobody from
a Stop.  While the database answers there is no such file.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...logs import about
from ...own_files import read_regular, write_regular

_log = logging.getLogger(__name__)


class SetAside:
    """The file of one device.  Any thread; `texts` is called by the file's own one, without a lock of ours."""

    def __init__(
        self, path: Path | None, device: str, names: Sequence[str], texts: Callable[[], Mapping[str, str]]
    ) -> None:
        """Read what an earlier server has left.

        :param path: the file; None: nothing is set aside
        :param names: the attributes that may be in it
        :param texts: returns what the database has not taken yet, by attribute
        """
        self._path = path
        self._device = device
        self._texts = texts
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._is_writing = self._is_late = False
        self.holds: dict[str, str] = _read(path, device, names)
        """What the file has; replaced and never changed."""

    def look(self, patience: float = 0.0) -> None:
        """Have the file hold what the database has not taken; waits for that at most so long (seconds)."""
        if self._path is None:
            return
        with self._changed:
            self._asked += 1
            mine = self._asked
            if not self._is_writing:
                self._begin(self._path)
            if patience and not self._is_late:  # the first one has waited in vain: the next ones do not
                self._is_late = not self._changed.wait_for(lambda: self._done >= mine, patience)

    def wait(self, seconds: float) -> None:
        """Wait until what was asked for has been written, or cannot be, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_writing, seconds)

    def _begin(self, path: Path) -> None:
        try:
            threading.Thread(target=self._work, args=(path,), name="set aside", daemon=True).start()
        except RuntimeError as error:  # no thread can be had
            self._complain(error)
            self._done = self._asked
        else:
            self._is_writing = True

    def _work(self, path: Path) -> None:
        """Write until nobody has asked meanwhile.  Target of a thread."""
        while (asked := self._next()) is not None:
            texts = dict(self._texts())
            try:
                if texts != self.holds:
                    _write(path, texts)
                    self.holds = texts
            except OSError as error:
                self._complain(error)
            with self._changed:
                self._done = asked
                self._changed.notify_all()

    def _next(self) -> int | None:
        with self._changed:
            if self._done != self._asked:
                return self._asked
            self._is_writing = self._is_late = False
            self._changed.notify_all()
            return None

    def _complain(self, error: Exception) -> None:
        text = "what the Tango database has not taken yet cannot be kept in a file: %s"
        _log.error(text, error, extra=about(self._device))


def _write(path: Path, texts: Mapping[str, str]) -> None:
    if texts:
        write_regular(path, json.dumps(texts).encode())
    else:
        path.unlink(missing_ok=True)


def _read(path: Path | None, device: str, names: Sequence[str]) -> dict[str, str]:
    if path is None:
        return {}
    try:
        data = json.loads(read_regular(path))
        return {str(name): str(text) for name, text in data.items() if name in names}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        _log.error("what was kept in %s is of no use: %s", path, error, extra=about(device))
        return {}
