"""The abort script: the second phase of a stop."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...errors import OetError
from ...logs import about
from ..script import ExecutableScript
from ._model import ProcedureSummary
from ._procedure import Procedure
from ._procedures import Procedures

_log = logging.getLogger(__name__)


class AbortScript:
    """What follows a stop, once for each procedure; and what Status says where nothing does.

    The lock of the procedures is held by whoever calls.
    """

    def __init__(self, script: ExecutableScript | None, procedures: Procedures, device: str) -> None:
        self.script = script
        self.notice = ""
        """What Status says beside the state, until something is started."""
        self._procedures = procedures
        self._device = device

    def follow(
        self, stopped: Procedure, wanted: bool | None, prepare: Callable[[ExecutableScript, Procedure], Procedure]
    ) -> list[ProcedureSummary]:
        """Have the abort script follow a procedure that is being stopped.

        :param wanted: None: if there is one
        :param prepare: prepares a script that is to start when the given procedure has ended
        :return: its summary, if there is one
        """
        if stopped.followed_by is not None:
            known = self._procedures.get(stopped.followed_by)  # None if it ended long ago
            return [known.summary] if known is not None else []
        if wanted is False or stopped.abort_of is not None:
            return []
        if self.script is None:
            if wanted:
                self.notice = f"Procedure {stopped.id} was stopped without an abort script: AbortScript is not set."
            return []
        try:
            abort = prepare(self.script, stopped)
        except OetError as error:  # Stop is never refused
            self.notice = f"Procedure {stopped.id} was stopped, but its abort script cannot be run: {error}."
            _log.error("%s", self.notice, extra=about(self._device, stopped.id))
            return []
        stopped.followed_by = abort.id
        return [abort.summary]

    def note_drop(self, dropped: str) -> str:
        """Note that its start was dropped; returns the sentence that says so."""
        self.notice = self._procedures.abort_failure = f"{dropped}: the abort script has not run."
        return self.notice
