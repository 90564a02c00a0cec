"""A clock that lies to the processes that a test starts: an offset, read from a file each time somebody asks."""

from __future__ import annotations

import os
import struct
from pathlib import Path

_SITECUSTOMIZE = """
import mmap, struct, sys, time

with open({path!r}, "rb") as file:
    _offsets = mmap.mmap(file.fileno(), 16, access=mmap.ACCESS_READ)
_time, _time_ns, _monotonic = time.time, time.time_ns, time.monotonic


def _offset(which):
    return struct.unpack_from("<d", _offsets, 8 * which)[0]


def monotonic():
    # For nobody but those who judge the clock: hours that have not passed would end all that waits.
    of_judge = sys._getframe(1).f_globals.get("__name__") == "ska_oet_device.retention"
    return _monotonic() + (_offset(1) if of_judge else 0.0)


time.time = lambda: _time() + _offset(0)
time.time_ns = lambda: _time_ns() + int(_offset(0) * 1e9)
time.monotonic = monotonic
"""


class LyingClock:
    """The clock of all Python processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        """It says the truth for the beginning.

        :param folder: for two files of its own; is made
        """
        folder.mkdir()
        self._offsets = folder / "offsets"
        self._offsets.write_bytes(bytes(16))
        (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE.format(path=str(self._offsets)))
        self.environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}

    def set(self, wall: float, passed: float = 0.0) -> None:
        """Have it be wrong by `wall` seconds, with `passed` more seconds gone by than really have."""
        with self._offsets.open("r+b") as file:
            file.write(struct.pack("<dd", wall + passed, passed))
