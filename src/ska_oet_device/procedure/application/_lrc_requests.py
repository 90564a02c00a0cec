"""Requests that are long running commands: begun, told of, asked for, and known again behind a restart."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ...errors import OetError
from ...event import Bus, topics
from ...logs import about
from ..history import MemoryHistory
from ._lrc import NAMES, CommandUpdate, LongRunningCommand
from ._lrc_past import MOST_LOOKED_AT, procedures_of, take_up_earlier
from ._lrc_tracker import CommandTracker
from ._model import RequestRecord
from ._procedures import Procedures
from ._stored import summary_of

_log = logging.getLogger(__name__)


class CommandRequests:
    """What the use cases do for requests that are long running commands; for others nothing.

    But for `take_up`, the lock of the procedures is held by whoever calls.
    """

    def __init__(
        self, tracker: CommandTracker, procedures: Procedures, history: MemoryHistory, bus: Bus, device: str
    ) -> None:
        self._tracker = tracker
        self._procedures = procedures
        self._history = history
        self._bus = bus
        self._device = device

    def check_room(self, request: RequestRecord) -> None:
        """See that a request may be a command more.

        :raises TooManyError: too many have not finished
        """
        if request.command in NAMES:
            self._tracker.check_room()

    def begin(self, request: RequestRecord, pid: int) -> str:
        """Begin a command, if a request is one; returns its uid, or ""."""
        if request.command not in NAMES:
            return ""
        update = self._tracker.begin(request.command, pid, request.time)
        self.tell([update])
        return update.uid

    def uid_of(self, request: RequestRecord, pid: int) -> str:
        """Return the uid of the command that a request is; "" if it is none."""
        is_one = request.command in NAMES
        return LongRunningCommand(request.command, pid, request.time).uid if is_one else ""

    def tell(self, updates: Iterable[CommandUpdate]) -> None:
        """Have clients told without a change of a procedure; who hears it only notes it."""
        for update in updates:
            self._bus.publish(topics.procedure.command.updated, update=update)

    def take_up(self) -> None:
        """Know the commands of earlier servers again: of what lives, and of what has ended last."""
        try:
            wanted = procedures_of(self._history.requests_before(0, MOST_LOOKED_AT))
            stored = self._history.procedures(wanted, 0) if wanted else {}
        except OetError as error:  # too much of it, or it cannot be read now: what lives is known all the same
            text = "what has finished of long running commands is not told: %s"
            _log.warning(text, error, extra=about(self._device))
            stored = {}
        with self._procedures.lock:
            here = {procedure.id: procedure.summary for procedure in self._procedures}
            known = {pid: summary_of(each) for pid, each in stored.items()} | here
            take_up_earlier(self._tracker, list(known.values()))
