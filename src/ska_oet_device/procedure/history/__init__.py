"""The history of a device: procedures, calls, lifecycle events and requests.

What is recorded here is what clients may be told.  The only user of SQLAlchemy.
"""

from ._filter import Found, ProcedureFilter, arguments_hold, holds, in_json
from ._memory import MemoryHistory
from ._numbers import Numbers
from ._open import HistoryStore
from ._records import LARGEST_NUMBER, MOST_ENTRIES, LifecycleEvent, StoredCall, StoredProcedure, StoredRequest
from ._store import SqlHistory
from ._versions import NewerHistoryError

__all__ = [
    "LARGEST_NUMBER",
    "MOST_ENTRIES",
    "Found",
    "HistoryStore",
    "LifecycleEvent",
    "MemoryHistory",
    "NewerHistoryError",
    "Numbers",
    "ProcedureFilter",
    "SqlHistory",
    "StoredCall",
    "StoredProcedure",
    "StoredRequest",
    "arguments_hold",
    "holds",
    "in_json",
]
