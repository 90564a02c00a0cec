"""The abort script: the second phase of a stop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import OetError
from ...logs import about
from ..script import ExecutableScript
from ._model import ProcedureSummary
from ._procedure import Procedure
from ._procedures import Procedures
from ._script_finder import ScriptFinder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """An abort script that was looked for, and where it is; or why nobody can tell."""

    script: ExecutableScript
    path: str
    problem: OetError | None = None


class AbortScript:
    """What follows a stop, once for each procedure; where nothing does, `Procedures.abort_failure` says so.

    But for `find` and `look_for`, the lock of the procedures is held by whoever calls.
    """

    def __init__(
        self, script: ExecutableScript | None, procedures: Procedures, finder: ScriptFinder, device: str
    ) -> None:
        self.script = script
        self.path = ""
        """Where the script was found last; "" where it has to be looked for."""
        self._procedures = procedures
        self._finder = finder
        self._device = device

    def look_for(self) -> None:
        """Find the script before there is a stop: then no stop has to look for it.  The lock is not held."""
        script = self.script
        if script is not None:
            self.find(script)

    def find(self, script: ExecutableScript) -> Found:
        """Return where the script is, or why that is not known.  A file system may hang: the lock is not held."""
        try:
            found = Found(script, self._finder.find_abort(script))
        except OetError as error:  # Stop is never refused
            return Found(script, "", error)
        with self._procedures.lock:
            if self.script is script:
                self.path = found.path
        return found

    def may_follow(self, stopped: Procedure, wanted: bool | None) -> bool:
        """Say whether there is a script for a procedure that is being stopped, and nothing has followed it yet."""
        is_first = stopped.followed_by is None and stopped.abort_of is None
        return is_first and wanted is not False and self.script is not None

    def follow(
        self,
        stopped: Procedure,
        wanted: bool | None,
        found: Found | None,
        prepare: Callable[[Found, Procedure], Procedure],
    ) -> list[ProcedureSummary]:
        """Have the abort script follow a procedure that is being stopped.

        :param wanted: None: if there is one
        :param found: the script, if there is one: it is looked for without the lock
        :param prepare: prepares a script that is to start when the given procedure has ended
        :return: its summary, if there is one
        """
        if stopped.followed_by is not None:
            known = self._procedures.get(stopped.followed_by)  # None if it ended long ago
            return [known.summary] if known is not None else []
        if wanted is False or stopped.abort_of is not None:
            return []
        if found is None:
            if wanted:
                self._fail(f"Procedure {stopped.id} was stopped without an abort script: AbortScript is not set.")
            return []
        try:
            if found.problem is not None:
                raise found.problem
            abort = prepare(found, stopped)
        except OetError as error:  # Stop is never refused
            self._fail(f"Procedure {stopped.id} was stopped, but its abort script cannot be run: {error}.")
            _log.error("%s", self._procedures.abort_failure, extra=about(self._device, stopped.id))
            return []
        stopped.followed_by = abort.id
        return [abort.summary]

    def note_drop(self, dropped: str) -> str:
        """Note that its start was dropped; returns the sentence that says so, and what is to be done."""
        self._fail(sentence_on_drop(dropped, self.script.script_uri if self.script is not None else ""))
        return self._procedures.abort_failure

    def _fail(self, sentence: str) -> None:
        self._procedures.abort_failure = sentence


def sentence_on_drop(dropped: str, script_uri: str) -> str:
    """Return what Status says of an abort script whose start was dropped.

    :param dropped: that it was, and why, as the beginning of a sentence
    """
    script = f" ({script_uri})" if script_uri else ""
    return (
        f"{dropped}, so the abort script has not run. Do by hand what it does, or run it{script} once that"
        " procedure has ended."
    )
