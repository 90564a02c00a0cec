"""The embedded Tango database with a flaw, which shows once: ``python flawed_database.py FLAW ARGUMENT...``.

The arguments are those of PyDatabaseds.  The flaws:

    silent   the first who asks for the property EventBufferHwm is failed; every Tango server asks while it starts
    slow     the first server that exports its admin device waits for some seconds until it is told that this is done
"""

from __future__ import annotations

import sys
import time
from typing import Any

import tango
from databaseds.database import main
from databaseds.db_access.sqlite3 import SqlDatabase

_get_property = SqlDatabase.get_property
_export_device = SqlDatabase.export_device
_shown: list[str] = []


def _fail_once(self: SqlDatabase, name: str, properties: list[str]) -> Any:
    if "EventBufferHwm" in properties and not _shown:
        _shown.append(name)
        raise RuntimeError("a flaw for a test")
    return _get_property(self, name, properties)


def _wait_once(self: SqlDatabase, name: str, *details: Any) -> None:
    _export_device(self, name, *details)
    if _shown:
        return
    # From the export of the server's devices on, others are served while one waits.
    tango.Util.instance().set_serial_model(tango.SerialModel.NO_SYNC)
    if name.lower().startswith("dserver/oetdevice/"):
        _shown.append(name)
        time.sleep(2.5)
        tango.Util.instance().set_serial_model(tango.SerialModel.BY_DEVICE)


if __name__ == "__main__":
    if sys.argv.pop(1) == "silent":
        SqlDatabase.get_property = _fail_once
    else:
        SqlDatabase.export_device = _wait_once
    main()
