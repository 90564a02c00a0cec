"""The commands that other devices of the SKA expect of one: long running commands, by protocols 1 and 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from tango.server import command

from ...errors import OetError
from ..application import (
    ABORT,
    PREPARE,
    RUN,
    START,
    AdminMode,
    Caller,
    LongRunningCommand,
    ProcedureSummary,
    ResultCode,
)
from ._requests import RunRequest, parse_prepare, parse_run, parse_start
from ._serving import Serving
from ._tango_logs import LoggingLevel, TangoLogs

_ANSWER = "Result code, and the unique id of the command, or why it was rejected"

Answer = tuple[list[int], list[str]]
_T = TypeVar("_T")


class SkaCommands(Serving):
    """Commands that answer with a result code and a unique id, and the writing of what the SKA's devices have."""

    logs: ClassVar[TangoLogs]

    @command(
        dtype_in=str,
        doc_in="Run's JSON, or a bare script URI",
        dtype_out="DevVarLongStringArray",
        doc_out=_ANSWER,
    )
    def RunScript(self, argument: str) -> Answer:
        """Prepare a script and start it: a long running command that finishes when the function has ended.

        Rejected while another one has the turn: what is tried again and again must leave nothing behind.
        """

        def run(asked: RunRequest, caller: Caller) -> ProcedureSummary:
            return self._service.run(asked.prepare, asked.fn_name, asked.run_args, caller, only_if_free=True)

        return self._submitted(RUN, argument, parse_run, run)

    @command(
        dtype_in=str,
        doc_in="Prepare's JSON, or a bare script URI",
        dtype_out="DevVarLongStringArray",
        doc_out=_ANSWER,
    )
    def PrepareScript(self, argument: str) -> Answer:
        """Prepare a script: a long running command that finishes when the procedure is READY."""
        return self._submitted(PREPARE, argument, parse_prepare, self._service.prepare)

    @command(
        dtype_in=str,
        doc_in="Start's JSON, a bare procedure id, or nothing: the newest that is READY",
        dtype_out="DevVarLongStringArray",
        doc_out=_ANSWER,
    )
    def StartScript(self, argument: str) -> Answer:
        """Call a function of a prepared script: a long running command that finishes when it has ended."""
        return self._submitted(START, argument, parse_start, self._service.start)

    @command(dtype_out="DevVarLongStringArray", doc_out=_ANSWER)
    def Abort(self) -> Answer:
        """Stop what has the turn, and what long running commands wait for; finishes when all has ended."""
        with self._request(ABORT, audited=True) as request:
            uid = self._service.abort(request.caller)
            self._host.pusher.refresh()  # Status says what is being stopped
            request.answer(uid)
            return [int(ResultCode.STARTED)], [uid]

    @command(dtype_in=str, doc_in="Unique id of a long running command", dtype_out=str, doc_out="Its status")
    def CheckLongRunningCommandStatus(self, uid: str) -> str:
        """Return how a long running command stands: the name of its status, NOT_FOUND if it is not known."""
        with self._request("CheckLongRunningCommandStatus", uid) as request:
            return request.answer(self._service.command_status(uid.strip()).name)

    def _submitted(
        self,
        name: str,
        argument: str,
        parser: Callable[[str], tuple[_T, str | None]],
        submit: Callable[[_T, Caller], ProcedureSummary],
    ) -> Answer:
        """Submit a long running command; a refusal is an answer, not a failure: so the SKA's clients have it."""
        with self._request(name, argument, audited=True, via=name) as request:
            try:
                summary = submit(request.parse(parser), request.caller)
            except OetError as error:
                return [int(ResultCode.REJECTED)], [request.reject(error)]
            asked = next(each for each in reversed(summary.requested_by) if each.command == name)
            uid = LongRunningCommand(name, summary.id, asked.time).uid
            request.answer(uid)
            return [int(ResultCode.QUEUED)], [uid]

    # -- attributes that can be written

    def write_adminMode(self, value: int) -> None:
        """Set whether this device is in use; what has been accepted goes on."""
        mode = AdminMode(value)
        with self._request("adminMode", mode.name) as request:
            self._service.audit("adminMode", request.caller, 0, f"accepted; set to {mode.name}")
            self._service.admin_mode = mode
            self._host.pusher.refresh()

    def write_loggingLevel(self, value: int) -> None:
        """Set what is written to the log, as the admin device's SetLoggingLevel does."""
        level = LoggingLevel(value)
        with self._request("loggingLevel", level.name) as request:
            self._service.audit("loggingLevel", request.caller, 0, f"accepted; set to {level.name}")
            self.logs.set_level(self.get_name(), level)
            self._host.pusher.refresh()
