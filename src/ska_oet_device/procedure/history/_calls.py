"""The arguments of calls as the history keeps them: whole, as far as nobody fills it with them."""

from __future__ import annotations

import hashlib
import json
import threading
import time as clock
from collections import OrderedDict
from collections.abc import Callable

from ._records import StoredCall

_ALWAYS_WHOLE = 1024  # bytes
_LARGEST_WHOLE = 256 * 1024
_OF_A_PROCEDURE = 1024 * 1024
_BURST, _RATE = 64 * 1024 * 1024, 2048  # bytes, and bytes a second: 170 MB a day
_MOST_KNOWN = 10_000  # procedures
_MARK = '{"args": [], "kwargs": {}, '


def is_mark(text: str | None) -> bool:
    """Say whether a text stands for arguments that are not kept, with their size and their hash."""
    return text is not None and text.startswith(_MARK)


class CallTexts:
    """Turns arguments into what the database keeps of one device.  Any thread."""

    def __init__(self, now: Callable[[], float] = clock.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._room, self._filled = float(_BURST), now()
        self._kept: OrderedDict[int, int] = OrderedDict()

    def text(self, process_uid: int, call: StoredCall) -> str:
        """Return the JSON of a call's arguments; where there is no room for them, their size and their hash."""
        text = json.dumps(call.fn_args, default=repr)
        if len(text) <= _ALWAYS_WHOLE or self._fits(process_uid, len(text)):
            return text
        digest = hashlib.sha256(text.encode()).hexdigest()
        return _MARK + json.dumps({"shortened": len(text), "sha256": digest})[1:]

    def _fits(self, process_uid: int, size: int) -> bool:
        with self._lock:
            now = self._now()
            self._room, self._filled = min(_BURST, self._room + (now - self._filled) * _RATE), now
            kept = self._kept.get(process_uid, 0) + size
            if size > _LARGEST_WHOLE or kept > _OF_A_PROCEDURE or size > self._room:
                return False
            self._room -= size
            self._kept[process_uid] = kept
            while len(self._kept) > _MOST_KNOWN:
                self._kept.popitem(last=False)
            return True
