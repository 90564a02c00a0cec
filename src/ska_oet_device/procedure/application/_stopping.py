"""Stopping a procedure, and having the abort script follow it."""

from __future__ import annotations

import dataclasses
import logging
import time as clock
from collections.abc import Callable

from ...config import Settings
from ...errors import InvalidStateError
from ...logs import about
from ..domain import ProcessManager
from ..script import ProcedureInput
from ._abort import AbortScript, Found
from ._audit import NOT_FOLLOWED, SERVER, Audit
from ._making import Maker
from ._meant import ended, to_be_stopped
from ._model import ArgCapture, Caller, PrepareProcessCommand, ProcedureSummary, StopProcessCommand
from ._past import Past
from ._procedure import Procedure
from ._procedures import Procedures

_log = logging.getLogger(__name__)


class Stopper:
    """Stops procedures.  Any thread; nothing gates it."""

    def __init__(
        self,
        procedures: Procedures,
        past: Past,
        abort: AbortScript,
        maker: Maker,
        manager: ProcessManager,
        audit: Audit,
        settings: Callable[[], Settings],
        device: str,
    ) -> None:
        self._procedures = procedures
        self._past = past
        self._abort = abort
        self._maker = maker
        self._manager = manager
        self._audit = audit
        self._settings = settings
        self._device = device

    def stop(
        self,
        cmd: StopProcessCommand,
        caller: Caller | None = None,
        command: str = "Stop",
        time: float = 0.0,
        *,
        only_if_alive: bool = False,
    ) -> list[ProcedureSummary]:
        """Stop a procedure: see `ScriptExecutionService.stop`.

        :param command: what the caller has asked for
        :param time: when (Unix seconds); 0: now
        """
        if cmd.process_uid is not None and self._past.has_left(cmd.process_uid):
            if only_if_alive:
                raise InvalidStateError(ended(cmd.process_uid, self._procedures.living))
            self._audit.note(command, caller or Caller(), cmd.process_uid, "accepted; it had ended long ago", time)
            return []
        with self._procedures.lock:
            procedure = self._meant(cmd.process_uid)
            pid = procedure.id
            if not procedure.is_alive:
                if only_if_alive:
                    raise InvalidStateError(ended(pid, self._procedures.living))
                self._audit.note(command, caller or Caller(), pid, f"accepted; procedure {pid} had ended already", time)
                return []
            why = " ".join(cmd.reason.split())
            self._manager.stop(pid, why)
            self._note(procedure, why, command, caller, time)
            if procedure.is_unknown:
                return []
            script, path = self._abort.script, self._abort.path
            if script is None or path or not self._abort.may_follow(procedure, cmd.run_abort):
                found = Found(script, path) if script is not None else None
                return self._follow(procedure, cmd, found, caller, command, time)
            self._procedures.sought_for.append(pid)
        try:
            found = self._abort.find(script)
            with self._procedures.lock:
                return self._follow(procedure, cmd, found, caller, command, time)
        finally:
            with self._procedures.lock:
                self._procedures.sought_for.remove(pid)

    # -- the lock of the procedures is held

    def _meant(self, pid: int | None) -> Procedure:
        if pid is not None:
            return self._past.one_here(pid)
        procedure = to_be_stopped(self._procedures.living)
        about_it = about(self._device, procedure.id, procedure.summary.run_id)
        _log.info("a Stop without an id means procedure %d", procedure.id, extra=about_it)
        return procedure

    def _note(self, procedure: Procedure, why: str, command: str, caller: Caller | None, time: float) -> None:
        """Note who has asked for a stop, and what Status says of it: of several the first one's reason and time."""
        pid = procedure.id
        if procedure.stopping:
            self._audit.note(command, caller or Caller(), pid, f"accepted; procedure {pid} is being stopped", time)
        else:
            self._maker.note_request(procedure, command, caller, f"accepted; {why}" if why else "accepted", time)
        if procedure.is_unknown:
            procedure.stopping = f"Procedure {pid} is sent SIGKILL once more."
        elif not procedure.stopping:
            latest = clock.strftime("%H:%M:%S", clock.gmtime(clock.time() + self._settings().stop_grace_period))
            shown = f" ({why})" if why else ""
            procedure.stopping = f"Procedure {pid} is being stopped{shown}; if need be it is killed at {latest} UTC."

    def _follow(
        self,
        stopped: Procedure,
        cmd: StopProcessCommand,
        found: Found | None,
        caller: Caller | None,
        command: str,
        time: float,
    ) -> list[ProcedureSummary]:
        before = self._procedures.abort_failure
        followed = self._abort.follow(
            stopped,
            cmd.run_abort,
            found,
            lambda found, stopped: self._prepare_abort(found, stopped, caller, command, time or clock.time()),
        )
        if (failure := self._procedures.abort_failure) != before:  # no lifecycle event tells it
            self._audit.keep(command, Caller(SERVER), stopped.id, f"{NOT_FOLLOWED}{failure}")
        return followed

    def _prepare_abort(
        self, found: Found, stopped: Procedure, caller: Caller | None, command: str, time: float
    ) -> Procedure:
        """Prepare the abort script, and have it start when the procedure has ended that is being stopped.

        Under the lock: a second Stop must find that this one is followed already.
        """
        self._manager.check_connected()
        cmd = PrepareProcessCommand(found.script, ProcedureInput(subarray_id=self._settings().subarray_id))
        # Clients know it by this Stop, whichever button was pressed for it.
        asked_by = dataclasses.replace(caller, via="") if caller is not None else None
        abort = self._maker.make(command, cmd, found.path, asked_by, time, abort_of=stopped.id)
        abort.waits_for_turn = True
        call = ArgCapture("main", ProcedureInput(), clock.time())
        self._maker.call(abort, call, force=True, after=stopped.id)
        return abort
