"""What main could tell nobody before it ended: kept in a file for the next one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from ...mptools import dumps, loads
from ...own_files import make_folder, read_regular, write_regular
from ..messages import Announcement, LifecycleMessage, from_payload

_log = logging.getLogger(__name__)

_LARGEST = 64 * 1024**2  # bytes that are read; what main keeps for nobody is far less


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
            return [from_payload(dumps(item)) for item in loads(read_regular(self.path, _LARGEST))]
        except FileNotFoundError:
            return []
        except (OSError, TypeError, ValueError) as error:
            _log.error("what an earlier server left in %s cannot be read: %s", self.path, error)
            return []

    def write(self, announcements: Sequence[Announcement]) -> None:
        """Keep announcements, whole or not at all, and say so in the log."""
        if not announcements:
            return
        for each in announcements:
            _tell(each)
        if self.path is None:
            return
        items = [[type(each).__name__, list(dataclasses.asdict(each).values())] for each in announcements]
        try:
            make_folder(self.path.parent)
            write_regular(self.path, dumps(items))
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
