"""One check as main sees it: a script that is loaded, of which nothing is called, and that is killed afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...mptools import Frame
from ..messages import (
    CHECK_STEPS,
    LONGEST_CHECK_REASON,
    Announcement,
    Check,
    CheckDone,
    CheckFindings,
    CheckStep,
    DelayMessage,
    LifecycleMessage,
    ScriptLoaded,
    StateEntered,
)
from ..state import ProcedureState
from ._script import Shared, SupervisedScript
from ._worker_messages import Told, require

_MAY_ENTER = (ProcedureState.IDLE, ProcedureState.PREP_ENV, ProcedureState.LOADING)
_DONE = "the check is done"
_LONGEST_PIDS = 300  # characters, of some forty processes


class Findings:
    """What becomes known of a script while it is checked.  In main's loop.

    It stands where a procedure has its announcer and its neighbours: a check has neither, and nobody hears its script.

    :param on_end: called when nothing is left of the check's processes, or what is left cannot be killed
    """

    def __init__(self, request: Check, on_end: Callable[[], None]) -> None:
        self._request = request
        self._on_end = on_end
        self._steps: dict[str, dict[str, Any]] = {}
        self._docstring: str | None = None
        self._functions: dict[str, Any] = {}
        self._provenance: dict[str, Any] | None = None
        self._end: LifecycleMessage | None = None

    # -- what the worker says

    def note_step(self, message: CheckStep) -> None:
        """Note a step that is done.

        :raises NotPlainError: it cannot be that one's turn
        """
        is_later = not self._steps or CHECK_STEPS.index(message.step) > CHECK_STEPS.index(list(self._steps)[-1])
        require(is_later and not self.is_complete, f"the step {message.step} is out of order")
        self._note(message.step, message.ok, message.reason, min(message.time, time.time()))

    def note_findings(self, message: CheckFindings) -> None:
        """Note what a script has.

        :raises NotPlainError: that is known
        """
        require(not self._functions and self._docstring is None, "its functions are told for the second time")
        self._docstring, self._functions = message.docstring, message.functions

    def note_provenance(self, message: ScriptLoaded) -> None:
        """Note what was read; once more when a worker of its environment has read it, too."""
        self._provenance = message.provenance

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing more to find out: a step has failed, or it was the last one."""
        return any(not step["ok"] for step in self._steps.values()) or CHECK_STEPS[-1] in self._steps

    # -- what its end says

    def announce(self, announcement: Announcement) -> None:
        if isinstance(announcement, LifecycleMessage) and announcement.new_state.is_terminal:
            self._end = announcement

    def tell(self, message: DelayMessage | CheckDone) -> None:
        """Nobody asks what its end waits for."""

    def pubsub(self, frame: bytes, *, waits: bool = True) -> bool:
        return True

    def pass_on(self, script: SupervisedScript, frame: Frame) -> None:
        """Nobody hears what a script says that is only checked."""

    def listens(self, script: SupervisedScript) -> None:
        """Nor does it hear anybody."""

    def became_ready(self, script: SupervisedScript) -> None:
        """It never is."""

    def ended(self, script: SupervisedScript) -> None:
        self._on_end()

    # -- the report

    def fail(self, reason: str) -> None:
        """Have the step that was under way fail, unless that is known better."""
        if not self.is_complete:
            self._note(self._under_way, False, reason, time.time())

    def report(self) -> CheckDone:
        """Return all that is known, when the check has ended."""
        request = self._request
        if self._end is not None:
            self._note_end(self._end)
        return CheckDone(
            request.device, request.check_id, self._steps, self._docstring, self._functions, self._provenance
        )

    def _note_end(self, end: LifecycleMessage) -> None:
        self.fail(end.reason or "its process has ended")
        which = "imports" if "imports" in self._steps else list(self._steps)[-1]
        step, exit_record = self._steps[which], end.exit or {}
        if end.new_state is ProcedureState.UNKNOWN:
            step["ok"], step["reason"] = False, _joined(end.reason, step["reason"])
        elif exit_record.get("reaped"):
            pids = ", ".join(map(str, exit_record["reaped"]))
            step["reason"] = _joined(f"what it had started was killed: process {pids}"[:_LONGEST_PIDS], step["reason"])

    def _note(self, step: str, ok: bool, reason: str | None, when: float) -> None:
        self._steps[step] = {"ok": ok, "reason": _cut(reason), "time": when}

    @property
    def _under_way(self) -> str:
        """The step that has begun, and is not done."""
        begun = CHECK_STEPS.index(list(self._steps)[-1]) + 1 if self._steps else 0
        has_environment = bool((self._request.source or {}).get("create_env"))
        if CHECK_STEPS[begun] == "environment" and not has_environment:
            begun += 1
        return CHECK_STEPS[begun]


def _joined(more: str | None, reason: str | None) -> str | None:
    """Return a reason, and one more; as the shorter one, which says what is still there, that is told whole."""
    known = _cut(reason, LONGEST_CHECK_REASON - len(more or "") - 2)
    return _cut("; ".join(filter(None, (known, more))))


def _cut(reason: str | None, longest: int = LONGEST_CHECK_REASON) -> str | None:
    return reason if reason is None or len(reason) <= longest else f"{reason[: max(0, longest - 1)]}…"


class CheckedScript(SupervisedScript):
    """A check: a supervised script of which nothing is called.  In main's loop.

    Its worker tells step by step what it finds.  When there is no more to be found, when it is late or in disorder, it
    is killed without any grace, and what it has left behind after it, as after a procedure.
    """

    _patience_for_worker = 60.0  # the first one waits for a template, which has much to import

    def __init__(self, request: Check, shared: Shared, on_end: Callable[[CheckedScript], None]) -> None:
        self.findings = Findings(request, lambda: on_end(self))
        self.is_awaited = True
        """Whether there is somebody to be told."""
        super().__init__(request, replace(shared, announcer=self.findings, neighbourhood=self.findings))
        self.key = (request.device, request.check_id)
        self.name = f"check {request.check_id} of {request.device}"

    def drop(self, reason: str) -> None:
        """End it: nobody is there any more who could be told."""
        self.is_awaited = False
        self.end(ProcedureState.STOPPED, reason)

    def end(self, state: ProcedureState, reason: str) -> None:
        if not self._is_ending:
            super().end(state, reason)
            self._ending.kill("the process was killed")

    def _take_message(self, message: Told) -> None:
        if self._is_ending:  # it is killed already
            return
        if isinstance(message, CheckStep):
            self.findings.note_step(message)
            if self.findings.is_complete:
                self.end(ProcedureState.STOPPED, _DONE)
        elif isinstance(message, CheckFindings):
            self.findings.note_findings(message)
        elif isinstance(message, ScriptLoaded):
            self.findings.note_provenance(message)
        else:
            super()._take_message(message)

    def _enter(self, message: StateEntered) -> None:
        require(ProcedureState(message.state) in _MAY_ENTER, "nothing of it is called")
        super()._enter(message)
