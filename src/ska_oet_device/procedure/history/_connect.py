"""Connections to the SQLite file of a history."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

_BUSY_TIMEOUT = 2.0  # seconds
BELONGING = ("-wal", "-shm")


def connect(path: Path) -> sqlite3.Connection:
    """Connect to a file that is there: what somebody has removed is not replaced by an empty one in passing.

    :raises sqlite3.OperationalError: it is not there, or cannot be used
    """
    return sqlite3.connect(
        f"file:{quote(os.fspath(path))}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT, check_same_thread=False
    )
