"""How a procedure comes to be, and how its functions are called: first it is recorded, then main is asked for it."""

from __future__ import annotations

import time as clock
from collections.abc import Callable

from ...errors import brief
from ..domain import ProcessManager, new_run_id
from ..history import MemoryHistory, StoredCall
from ..messages import Load
from ..state import ProcedureState
from ._audit import Audit
from ._changes import ChangeRecorder
from ._lrc_requests import CommandRequests
from ._lrc_tracker import CommandTracker, Started
from ._model import ArgCapture, Caller, PrepareProcessCommand, ProcedureHistory, ProcedureSummary, RequestRecord
from ._procedure import Procedure
from ._procedures import Procedures

_DATABASE_PATIENCE = 0.1  # seconds for which a command waits until its procedure is in the history
_IMPATIENCE = 1.0  # seconds for which no command waits after one has waited in vain


class Maker:
    """Makes the procedures of a device, and has their functions called.

    But for `await_history`, the lock of the procedures is held by whoever calls.
    """

    def __init__(
        self,
        procedures: Procedures,
        recorder: ChangeRecorder,
        history: MemoryHistory,
        audit: Audit,
        commands: CommandTracker,
        requests: CommandRequests,
        manager: ProcessManager,
        load_of: Callable[[ProcedureSummary, PrepareProcessCommand, str], Load],
        uri_of: Callable[[int], str],
    ) -> None:
        """Begin without having waited.

        :param load_of: returns the message that has a procedure launched, whose script is at a path
        :param uri_of: returns a procedure's URI
        """
        self._procedures = procedures
        self._recorder = recorder
        self._history = history
        self._audit = audit
        self._commands = commands
        self._requests = requests
        self._manager = manager
        self._load_of = load_of
        self._uri_of = uri_of
        self._impatient_until = 0.0

    def make(
        self,
        command: str,
        cmd: PrepareProcessCommand,
        path: str,
        caller: Caller | None,
        time: float,
        *,
        abort_of: int | None = None,
    ) -> Procedure:
        """Take the id, keep the creation, and ask for the launch: in this order, straight down.

        :param command: what the caller has asked for
        :param path: where the script is
        :param time: Unix seconds
        :param abort_of: the procedure whose abort script it is; there is always room for that
        :raises TooManyError: too many long running commands have not finished
        """
        request = request_of(command, caller, time)
        if abort_of is None:
            self._requests.check_room(request)
        procedure = Procedure(self._summary(cmd, path, request), abort_of=abort_of)
        self._procedures.add(procedure)
        if abort_of is None:
            self._requests.begin(request, procedure.id)
        self._recorder.enter(procedure, ProcedureState.CREATING, request.time, None)
        which = f"; {brief(getattr(cmd.script, 'script_uri', ''))}" if caller is not None and caller.via else ""
        self._audit.keep(command, caller or Caller(), procedure.id, f"accepted{which}", request.time)
        # Should everything die now, somebody has to know that its script may have begun to load.
        self.await_history()
        self._manager.launch(self._load_of(procedure.summary, cmd, path))
        return procedure

    def call(
        self, procedure: Procedure, call: ArgCapture, *, force: bool, after: int | None = None, command_uid: str = ""
    ) -> None:
        """Ask for a call of a function.

        :param force: it waits for READY if need be
        :param after: the procedure that must have ended before
        :param command_uid: the long running command that finishes with it; "" if none does
        """
        already_waiting = procedure.queued_starts + procedure.is_starting
        self._commands.note_start(procedure.id, Started(call.fn, command_uid), already_waiting)
        procedure.note_start(call)
        self._manager.run(procedure.id, call=call.fn, run_args=call.fn_args, force_start=force, after=after)
        self._history.add_call(procedure.id, StoredCall(call.fn, call.fn_args.as_data(), call.time))

    def note_request(
        self, procedure: Procedure, command: str, caller: Caller | None, answer: str = "accepted", time: float = 0.0
    ) -> None:
        """Note who asked what of a procedure, here and in the audit; time in Unix seconds, 0: now."""
        request = request_of(command, caller, time)
        procedure.note_request(request)
        self._audit.keep(command, caller or Caller(), procedure.id, answer, request.time)

    def await_history(self) -> None:
        """Wait a moment until what happened is on record; not again and again where that is in vain."""
        if clock.monotonic() < self._impatient_until:
            return
        if not self._history.wait(_DATABASE_PATIENCE):
            self._impatient_until = clock.monotonic() + _IMPATIENCE

    def _summary(self, cmd: PrepareProcessCommand, path: str, request: RequestRecord) -> ProcedureSummary:
        pid = self._history.next_id()
        return ProcedureSummary(
            id=pid,
            script=cmd.script,
            script_args=(ArgCapture("init", cmd.init_args, request.time),),
            history=ProcedureHistory(),
            state=ProcedureState.CREATING,
            uri=self._uri_of(pid),
            run_id=new_run_id(),
            provenance={"path": path or None, "sha256": None, "git_commit": None, "environment": None},
            requested_by=(request,),
        )


def request_of(command: str, caller: Caller | None, time: float) -> RequestRecord:
    """Return what is kept of a request; time in Unix seconds, 0: now."""
    caller = caller or Caller()
    return RequestRecord(caller.via or command, caller.client, caller.user, time or clock.time())
