"""What main and the scripts tell of procedures, and what becomes of it.  Runs in the thread of the link."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Mapping
from typing import Any

from ...event import Bus, topic_name, topics
from ...logs import about
from ..domain import ProcessManager
from ..history import MemoryHistory
from ..messages import DelayMessage, LifecycleMessage, ProvenanceMessage
from ..state import ProcedureState
from ._abort import AbortScript
from ._audit import Audit
from ._changes import ChangeRecorder
from ._lrc_tracker import CommandTracker
from ._model import Caller, Progress
from ._procedure import Procedure
from ._procedures import Procedures

_log = logging.getLogger(__name__)

_PROGRESS = topic_name(topics.script.progress)


class Listener:
    """Takes up the changes that main tells, and the progress that scripts report; what cannot be is told to the log."""

    def __init__(
        self,
        procedures: Procedures,
        recorder: ChangeRecorder,
        history: MemoryHistory,
        abort: AbortScript,
        commands: CommandTracker,
        manager: ProcessManager,
        audit: Audit,
        bus: Bus,
        device: str,
    ) -> None:
        self._procedures = procedures
        self._recorder = recorder
        self._history = history
        self._abort = abort
        self._commands = commands
        self._manager = manager
        self._audit = audit
        self._bus = bus
        self._device = device
        lifecycle = topics.procedure.lifecycle
        bus.subscribe(self._on_statechange, lifecycle.statechange)
        bus.subscribe(self._on_loaded, lifecycle.loaded)
        bus.subscribe(self._on_delayed, lifecycle.delayed)
        bus.subscribe(self._on_script_message, topics.script.message)

    def _on_statechange(self, message: LifecycleMessage) -> None:
        pid = message.msg_src
        with self._procedures.lock:
            procedure = self._procedures.get(pid)
            if procedure is None:
                problem = f"a change of procedure {pid}, which is not known, to {message.new_state.name}"
            elif procedure.knows(message):
                problem = ""
            elif not (problem := procedure.problem_with(message)):
                self._record(procedure, message)
                return
        if problem:
            _log.error("%s", problem, extra=about(self._device, pid))
        self._recorder.acknowledge(message.number)

    def _on_delayed(self, message: DelayMessage) -> None:
        with self._procedures.lock:
            procedure = self._procedures.get(message.msg_src)
            if procedure is not None:
                procedure.whereabouts = message.where

    def _on_loaded(self, message: ProvenanceMessage) -> None:
        with self._procedures.lock:
            procedure = self._procedures.get(message.msg_src)
            if procedure is not None:
                procedure.note_provenance(message.provenance)
            self._history.update(
                message.msg_src,
                {"provenance": message.provenance},
                message.number,
                lambda: self._recorder.acknowledge(message.number),
            )

    def _on_script_message(
        self, msg_src: int, topic: str, data: Mapping[str, Any], time: float, payload: bytes = b""
    ) -> None:
        if topic != _PROGRESS:
            return
        with self._procedures.lock:
            procedure = self._procedures.get(msg_src)
            if procedure is None:
                return
            progress = Progress.from_data(data)
            if progress is None:
                self._note_misreport(procedure, data)
                return
            procedure.progress = progress
            self._commands.progressed(msg_src, progress.percent)
        self._bus.publish(topics.procedure.lifecycle.progress, msg_src=msg_src, progress=progress, time=time)

    # -- the lock of the procedures is held

    def _record(self, procedure: Procedure, message: LifecycleMessage) -> None:
        state, time = message.new_state, message.time or clock.time()
        if state is procedure.state is ProcedureState.READY:  # once more
            reason = message.reason or ""
            self._note_drop(procedure, procedure.take_drop(time, reason))
            self._recorder.enter(procedure, state, time, reason, number=message.number)
        else:
            self._recorder.enter(procedure, state, time, procedure.take(message), number=message.number)

    def _note_drop(self, procedure: Procedure, dropped: str) -> None:
        """Say that a start was dropped; an abort script's procedure is ended: nobody will ever start it."""
        pid = procedure.id
        if procedure.abort_of is not None:
            sentence = self._abort.note_drop(dropped)
            self._manager.stop(pid)  # before it is recorded: should this process die in between, main tells it again
        else:
            sentence = f"{dropped}; procedure {pid} stays READY."
            procedure.note_drop(sentence)
        self._audit.keep("Start", Caller("main"), pid, f"dropped: {sentence}")
        _log.warning("%s", sentence, extra=about(self._device, pid))

    def _note_misreport(self, procedure: Procedure, data: Mapping[str, Any]) -> None:
        """Say once for each procedure that its progress is none: it may report thousands of times a second."""
        if not procedure.misreports:
            procedure.misreports = True
            text = "procedure %d reports progress as %.300r, which is none; it is ignored"
            _log.warning(text, procedure.id, data, extra=about(self._device, procedure.id))
