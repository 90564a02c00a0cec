"""The embedded Tango database, but for one flaw: it fails the first who asks for the property EventBufferHwm.

Run as PyDatabaseds is.  Every Tango server asks for this property while it starts.
"""

from __future__ import annotations

from typing import Any

from databaseds.database import main
from databaseds.db_access.sqlite3 import SqlDatabase

_sound = SqlDatabase.get_property
_failed: list[str] = []


def _fail_once(self: SqlDatabase, name: str, properties: list[str]) -> Any:
    if "EventBufferHwm" in properties and not _failed:
        _failed.append(name)
        raise RuntimeError("a flaw for a test")
    return _sound(self, name, properties)


if __name__ == "__main__":
    SqlDatabase.get_property = _fail_once
    main()
