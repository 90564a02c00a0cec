"""The embedded Tango database with a flaw, which shows once: ``python flawed_database.py FLAW ARGUMENT...``.

The arguments are those of PyDatabaseds.  The flaws:

    silent      the first who asks for the property EventBufferHwm is failed; every Tango server asks while it starts
    slow LOG    the first server that exports its admin device waits until it is told that this is done: until its log
                says that a client has come too early
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tango
from databaseds.database import main
from databaseds.db_access.sqlite3 import SqlDatabase

_get_property = SqlDatabase.get_property
_export_device = SqlDatabase.export_device
_shown: list[str] = []

TOO_EARLY = "Class DServer is not initialised!"
_LONGEST = 10.0  # seconds; after 13 s Tango's server gives up


def _fail_once(self: SqlDatabase, name: str, properties: list[str]) -> Any:
    if "EventBufferHwm" in properties and not _shown:
        _shown.append(name)
        raise RuntimeError("a flaw for a test")
    return _get_property(self, name, properties)


def _waiting_once(log: Path) -> Callable[..., None]:
    def wait_once(self: SqlDatabase, name: str, *details: Any) -> None:
        _export_device(self, name, *details)
        if _shown:
            return
        # From the export of the server's devices on, others are served while one waits.
        tango.Util.instance().set_serial_model(tango.SerialModel.NO_SYNC)
        if name.lower().startswith("dserver/oetdevice/"):
            _shown.append(name)
            end = time.monotonic() + _LONGEST
            while TOO_EARLY not in log.read_text(errors="replace") and time.monotonic() < end:
                time.sleep(0.02)
            tango.Util.instance().set_serial_model(tango.SerialModel.BY_DEVICE)

    return wait_once


if __name__ == "__main__":
    if sys.argv.pop(1) == "silent":
        SqlDatabase.get_property = _fail_once
    else:
        SqlDatabase.export_device = _waiting_once(Path(sys.argv.pop(1)))
    main()
