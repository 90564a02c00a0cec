"""What main could tell nobody before it ended: kept in a file for the next one."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...mptools import NotPlainError, dumps
from ..messages import Announcement, LifecycleMessage, from_payload

_log = logging.getLogger(__name__)


class UnheardFile:
    """The file in which one main leaves to the next what no device server has recorded."""

    def __init__(self, path: Path | None) -> None:
        """Nothing is read yet.

        :param path: where it is; None: nothing is kept
        """
        self.path = path

    def read(self) -> list[Announcement]:
        """Return the announcements that an earlier main has left; empty, and a line in the log, if they are no use."""
        if self.path is None:
            return []
        try:
            return [from_payload(dumps(item)) for item in _items(self.path.read_text())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, NotPlainError) as error:
            _log.error("what an earlier server left in %s cannot be read: %s", self.path, error)
            return []

    def write(self, announcements: Sequence[Announcement]) -> None:
        """Keep announcements, whole or not at all, and say so in the log."""
        if not announcements:
            return
        import json

        for each in announcements:
            _tell(each)
        if self.path is None:
            return
        items = [(type(each).__name__, list(dataclasses.asdict(each).values())) for each in announcements]
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(items))
            os.replace(new, self.path)
        except (OSError, TypeError, ValueError) as error:
            _log.error("it cannot be kept in %s either: %s", self.path, error)
        else:
            _log.error("the next server will tell it: it is kept in %s", self.path)

    def remove(self) -> None:
        """Forget it: everything has been heard."""
        if self.path is None:
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            _log.error("%s cannot be removed: %s", self.path, error)


def _items(text: str) -> Any:
    import json  # there is seldom such a file

    return json.loads(text)


def _tell(announcement: Announcement) -> None:
    if isinstance(announcement, LifecycleMessage) and announcement.new_state.is_terminal:
        _log.error(
            "nobody has recorded that procedure %s#%d ended at %.3f: %s, %s",
            announcement.device,
            announcement.msg_src,
            announcement.time,
            announcement.new_state.name,
            announcement.reason,
        )
