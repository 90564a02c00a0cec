"""Abort: all that is under way is stopped, and who has asked for it is told when that has ended."""

from __future__ import annotations

import time as clock

from ...errors import UnknownProcedureError
from ._audit import Audit
from ._lrc import ABORT
from ._lrc_requests import CommandRequests
from ._lrc_tracker import CommandTracker
from ._meant import to_be_aborted
from ._model import Caller, StopProcessCommand
from ._procedures import Procedures
from ._stopping import Stopper


class Aborter:
    """Stops all that is under way.  Any thread; nothing gates it."""

    def __init__(
        self,
        procedures: Procedures,
        stopper: Stopper,
        commands: CommandTracker,
        requests: CommandRequests,
        audit: Audit,
    ) -> None:
        self._procedures = procedures
        self._stopper = stopper
        self._commands = commands
        self._requests = requests
        self._audit = audit

    def abort(self, caller: Caller | None) -> str:
        """Stop all: see `ScriptExecutionService.abort`.  Returns the uid of the long running command."""
        with self._procedures.lock:
            uid, updates = self._commands.begin_abort(clock.time())
            self._requests.tell(updates)
            under_way = self._commands.abort_under_way
            time = under_way.submitted if under_way is not None else clock.time()
            meant, scripts = to_be_aborted(self._procedures.living, self._commands.commands.unfinished)
            for procedure in (*meant, *scripts):
                self._commands.wait_for(uid, procedure.id, is_script=procedure in scripts)
            ids, failure = [procedure.id for procedure in meant], self._procedures.abort_failure
        if not ids:
            self._audit.note(ABORT, caller or Caller(), 0, "accepted; nothing was to be stopped")
        try:
            for pid in ids:
                self._stop(uid, pid, caller, time, run_abort=None if pid == ids[-1] else False)
        finally:  # whatever happens, whoever waits for it is told its end
            with self._procedures.lock:
                if self._procedures.abort_failure != failure:
                    self._commands.note_abort_problem(uid, self._procedures.abort_failure)
                self._requests.tell(self._commands.close_abort(uid, clock.time()))
        return uid

    def _stop(self, uid: str, pid: int, caller: Caller | None, time: float, *, run_abort: bool | None) -> None:
        try:
            scripts = self._stopper.stop(StopProcessCommand(pid, run_abort, "Abort"), caller, ABORT, time)
        except UnknownProcedureError:  # it has ended, and left the attributes, this moment
            return
        with self._procedures.lock:
            for script in scripts:
                known = self._procedures.get(script.id)
                if known is not None and known.is_alive:
                    self._commands.wait_for(uid, script.id, is_script=True)
