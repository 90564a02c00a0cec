"""Whether a SQLite file can be read as a whole, and what becomes of one that cannot."""

from __future__ import annotations

import contextlib
import sqlite3
import time as clock
from pathlib import Path

from ._connect import BELONGING, connect


def shows_damage(error: BaseException | None) -> bool:
    """Say whether it is the file's content that is wrong; not so of one that is locked, or on a full disk."""
    # SQLite's codes CORRUPT and NOTADB are the ones for which Python raises this very class; 3.10 knows no others.
    return type(error) is sqlite3.DatabaseError or getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHORT_READ"


def is_sound(path: Path) -> bool:
    """Read all of it, by a connection that remembers nothing of it, and say whether that can be done.

    :raises sqlite3.OperationalError: that cannot be found out now
    """
    with contextlib.closing(connect(path)) as connection:
        try:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except sqlite3.DatabaseError as error:
            if not shows_damage(error):
                raise
            return False


def set_aside(path: Path) -> Path:
    """Rename a database and the files that belong to it; nothing is deleted."""
    mark = clock.strftime("%Y%m%dT%H%M%SZ", clock.gmtime())
    aside = path.with_name(f"{path.name}.broken-{mark}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.broken-{mark}-{number}")
    for suffix in ("", *BELONGING):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
