"""The history of a device: procedures, calls, lifecycle events and requests.

What is recorded here is what clients may be told.  The only user of SQLAlchemy.
"""

from ._memory import MemoryHistory
from ._records import LifecycleEvent, StoredCall, StoredProcedure, StoredRequest
from ._store import HistoryStore, SqlHistory

__all__ = [
    "HistoryStore",
    "LifecycleEvent",
    "MemoryHistory",
    "SqlHistory",
    "StoredCall",
    "StoredProcedure",
    "StoredRequest",
]
