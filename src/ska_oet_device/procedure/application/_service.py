"""The application layer: the use cases of script execution, and what they take and return.

Everything here runs in the device server process: requests in the threads of Tango, changes in
the thread of the link.  One lock guards the state; it is never held while an event is pushed.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time as clock
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ...config import Settings, state_directory
from ...errors import (
    BusyError,
    InvalidArgumentError,
    InvalidStateError,
    OetError,
    TooManyError,
    UnknownProcedureError,
)
from ...event import Bus, topic_name, topics
from ...logs import about
from ..domain import ProcessManager
from ..environment import EnvironmentInfo, EnvironmentManager
from ..gitmanager import script_path
from ..history import LifecycleEvent, MemoryHistory, StoredCall, StoredProcedure, StoredRequest
from ..messages import Launch, LifecycleMessage, ProvenanceMessage
from ..output import OutputFiles, Page
from ..script import ExecutableScript, GitScript, ProcedureInput
from ..state import ProcedureState, may_follow
from ..turns import in_the_way
from ._model import (
    Active,
    ArgCapture,
    Caller,
    Change,
    Failure,
    Notices,
    PrepareProcessCommand,
    ProcedureHistory,
    ProcedureSummary,
    Progress,
    RequestRecord,
    ScriptContext,
    Snapshot,
    StartProcessCommand,
    StopProcessCommand,
)
from ._scripts import find_script
from ._stored import stored, stored_of_living, summary_of

_log = logging.getLogger(__name__)

_MOST_QUEUED_STARTS = 16
_MOST_NEW_EVENTS = 1000
_DATABASE_PATIENCE = 0.1  # seconds for which a command waits until its procedure is in the history


def _new_run_id() -> str:
    """Return a UUID version 7 (RFC 9562): sortable by time, unique for ever.  Python has it from 3.14 on."""
    milliseconds = clock.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds << 80) | (0x7 << 76) | ((random >> 68) << 64) | (0b10 << 62) | (random & (1 << 62) - 1)
    return str(uuid.UUID(int=value))


class ScriptExecutionService:
    """The high-level interface and facade for the script execution domain.

    It loads and runs Python scripts in their own independent child process.  Refusals are
    raised as errors of `ska_oet_device.errors`, and change nothing.
    """

    def __init__(
        self,
        abort_script: ExecutableScript | None = None,
        *,
        device: str = "",
        uri: Callable[[], str] = str,
        settings: Settings | None = None,
        bus: Bus | None = None,
        history: MemoryHistory | None = None,
        output: OutputFiles | None = None,
    ) -> None:
        """Create a new ScriptExecutionService.

        :param abort_script: post-termination script for two-phase abort
        :param device: name of the Tango device
        :param uri: returns what the summaries' URIs begin with; a server knows its address once it has started
        :param settings: the device's properties
        :param bus: the device's event bus
        :param history: where lifecycle events and ids come from, and are kept
        :param output: where scripts' output is kept; None: it goes where the server's goes
        """
        self.abort_script = abort_script
        self.device = device
        self.settings = settings or Settings()
        self.bus = bus or Bus()
        self.history = history or MemoryHistory(device)
        self.output = output
        self.script_context = ScriptContext()
        self.lost: str | None = None
        self._uri = uri
        self._lock = threading.RLock()
        self._states: dict[int, ProcedureState] = {}
        self._manager = ProcessManager(self._states, self._lock, bus=self.bus, next_id=self.history.next_id)
        self._summaries: dict[int, ProcedureSummary] = {}
        self._functions: dict[int, str] = {}
        self._progress: dict[int, Progress] = {}
        self._aborts: dict[int, int] = {}
        self._queued: dict[int, int] = {}
        self._main_ended: set[int] = set()
        self._held_aborts: set[int] = set()
        self._stopping: dict[int, str] = {}
        self._abort_failed = ""
        self._ended: dict[int, None] = {}
        self._starting: int | None = None
        self._last_changed = 0
        self._newest_failure = ""
        self._failure: Failure | None = None
        self._notice = ""
        self._dropped: dict[int, tuple[str, ...]] = {}
        self._newest: dict[int, int] = {}
        self._misreporting: set[int] = set()
        self._launching: _Launching | None = None
        self._request_ids = itertools.count(1)
        lifecycle, operator = topics.procedure.lifecycle, topics.operator.wait_for_qa_ready
        self.bus.subscribe(self._on_statechange, lifecycle.statechange)
        self.bus.subscribe(self._on_loaded, lifecycle.loaded)
        self.bus.subscribe(self._on_script_message, topics.script.message)
        self.bus.subscribe(self._on_lost, topics.supervisor.lost)
        self.bus.subscribe(self.handle_wait_for_qa_ready_enable, operator.enable)
        self.bus.subscribe(self.handle_wait_for_qa_ready_disable, operator.disable)

    # -- use cases

    def prepare(self, cmd: PrepareProcessCommand, caller: Caller | None = None) -> ProcedureSummary:
        """Load and prepare a Python script for execution, but do not commence execution.

        :raises InvalidArgumentError: the script cannot be what was named
        :raises ScriptNotFoundError: there is no such script
        :raises NotAllowedError: the script is outside of what this device may run
        :raises TooManyError: MaxProcedures are alive
        """
        self._announce(topics.request.procedure.create, cmd)
        return self._prepare("Prepare", cmd, caller or Caller())

    def start(self, cmd: StartProcessCommand, caller: Caller | None = None) -> ProcedureSummary:
        """Start execution of a prepared procedure.

        :raises UnknownProcedureError: no such procedure
        :raises InvalidStateError: it is not READY, and `force_start` is not set
        :raises BusyError: another procedure is RUNNING
        :raises TooManyError: too many starts are waiting for their turn
        """
        self._announce(topics.request.procedure.start, cmd)
        if self._is_past(cmd.process_uid):
            raise InvalidStateError(f"procedure {cmd.process_uid} has ended long ago")
        with self._lock:
            self._check_start(cmd)
            self._start(cmd)
            self._note_request(cmd.process_uid, "Start", caller or Caller())
            return self._summaries[cmd.process_uid]

    def run(
        self, cmd: PrepareProcessCommand, fn_name: str, run_args: ProcedureInput, caller: Caller | None = None
    ) -> ProcedureSummary:
        """Prepare a script and start a function of it as soon as it is READY.

        :raises OetError: as `prepare` does
        """
        self._announce(topics.request.procedure.create, cmd)
        with self._lock:
            prepared = self._prepare("Run", cmd, caller or Caller())
            self._start(StartProcessCommand(prepared.id, fn_name, run_args, force_start=True))
            return self._summaries[prepared.id]

    def stop(self, cmd: StopProcessCommand, caller: Caller | None = None) -> list[ProcedureSummary]:
        """Stop a procedure in any state, optionally running a second script once it has ended.

        Never refused while the process lives; harmless when repeated or when it has ended.

        :return: the summary of the abort script, if one was started
        :raises UnknownProcedureError: no such procedure
        """
        self._announce(topics.request.procedure.stop, cmd)
        caller = caller or Caller()
        if self._is_past(cmd.process_uid):
            self.audit("Stop", caller, cmd.process_uid, "accepted; it had ended long ago")
            return []
        with self._lock:
            summary = self._get(cmd.process_uid)
            if summary.state.is_terminal:
                self.audit("Stop", caller, summary.id, f"accepted; procedure {summary.id} had ended already")
                return []
            self._manager.stop(summary.id)
            self._note_request(summary.id, "Stop", caller)
            self._note_stopping(summary.id)
            return self._abort(cmd, caller)

    def summarise(self, pids: Iterable[int] | None = None) -> list[ProcedureSummary]:
        """Return the summaries of the procedures with the given ids; None for all current ones.

        :raises UnknownProcedureError: one of the ids is not known
        """
        self.bus.publish(
            topics.request.procedure.list, msg_src=self.device, request_id=next(self._request_ids), pids=pids
        )
        with self._lock:
            if pids is None:
                return list(self._summaries.values())
            wanted = list(pids)
            found = {pid: self._summaries[pid] for pid in wanted if pid in self._summaries}
        older = [pid for pid in wanted if pid not in found]
        if older:
            found.update((pid, summary_of(stored)) for pid, stored in self.history.procedures(older).items())
        for pid in wanted:
            if pid not in found:
                self._unknown(pid)
        return [found[pid] for pid in wanted]

    def lifecycle_events(self, sequence: int) -> list[LifecycleEvent]:
        """Return the lifecycle events after `sequence`, oldest first, at most 1,000.

        :raises InvalidArgumentError: a negative sequence
        """
        if sequence < 0:
            raise InvalidArgumentError(f"sequence {sequence}: sequence numbers begin at 1, so 0 asks for all")
        return self.history.events_after(sequence, _MOST_NEW_EVENTS)

    def read_output(self, process_uid: int, offset: int, limit: int) -> Page:
        """Return a page of what a procedure has printed; offsets in bytes.

        :raises UnknownProcedureError: no such procedure
        """
        (summary,) = self.summarise([process_uid])
        if self.output is None:
            return Page("", offset, offset, summary.state.is_terminal)
        return self.output.read(process_uid, offset, limit, ended=summary.state.is_terminal)

    def requests(self, before: int, limit: int) -> list[StoredRequest]:
        """Return the requests with a lower number than `before` (0: the newest), newest first."""
        return self.history.requests_before(before, limit)

    @property
    def _environments(self) -> EnvironmentManager:
        return EnvironmentManager(base_dir=state_directory(self.settings) / "environments")

    def environments(self) -> list[EnvironmentInfo]:
        """Return what is known of the environments of scripts, the least recently used first."""
        return self._environments.list()

    def remove_environment(self, env_id: str, caller: Caller | None = None) -> None:
        """Remove an environment.

        :raises InvalidArgumentError: there is no such environment
        :raises InvalidStateError: it is in use, or being made
        """
        self._environments.remove(env_id)
        self.audit("RemoveEnvironment", caller or Caller(), 0, f"accepted; {env_id}")

    def collect_environments(self) -> str:
        """Remove environments that are old, or too many; returns a sentence if the store is too large all the same."""
        settings, manager = self.settings, self._environments
        manager.collect(settings.environment_days, settings.environment_quota)
        size = manager.size()
        if settings.environment_quota and size > settings.environment_quota:
            return f"The environments take {size / 1e9:.1f} GB, more than EnvironmentQuota, and all of them are in use."
        return ""

    def audit(self, command: str, caller: Caller, process_uid: int, answer: str) -> None:
        """Keep a request and its answer in the history."""
        self.history.add_request(command, caller.client, caller.user, process_uid, clock.time(), answer)

    def forget_before(self, time: float) -> None:
        """Delete from the durable history, and from the output, what ended before `time` (Unix seconds)."""
        self.history.forget_before(time)
        if self.output is not None:
            self.output.forget_before(time, keep=self.unfinished)

    def override_wait_for_qa_ready(self, msg_src: str) -> None:
        """Tell the scripts that wait for quality assurance to go on, this once."""
        self.bus.publish(topics.operator.wait_for_qa_ready.override, msg_src=msg_src)

    def set_wait_for_qa_ready(self, enabled: bool, msg_src: str) -> None:
        """Set the operator's persistent flag, for scripts that begin from now on."""
        operator = topics.operator.wait_for_qa_ready
        self.bus.publish(operator.enable if enabled else operator.disable, msg_src=msg_src)

    def notices(self) -> Notices:
        """Return what Status is to say beside the state."""
        with self._lock:
            dropped = itertools.chain.from_iterable(self._dropped.values())
            sentences = (*self._stopping.values(), *dropped, self._notice)
            return Notices(tuple(filter(None, sentences)), self._abort_failed)

    def snapshot(self) -> Snapshot:
        """Return how things stand."""
        with self._lock:
            summaries = tuple(self._summaries.values())
            return Snapshot(summaries, self._active(), self._newest_failure, self._notice, self._failure)

    def progress(self) -> Progress | None:
        """Return what the active procedure reports of itself; None where it reports nothing."""
        with self._lock:
            return self._progress.get(self._active().process_uid)

    def newest_change(self, pid: int) -> int:
        """Return the sequence number of a procedure's newest lifecycle event, which may still be on its way; else 0."""
        return self._newest.get(pid, 0)

    def shutdown(self) -> None:
        """Stop every procedure without abort scripts.  Main ends and reaps the processes."""
        with self._lock:
            for pid, state in self._states.items():
                if not state.is_terminal:
                    self._manager.stop(pid)

    # -- after a restart

    def restore(self, living: Iterable[dict[str, Any]], untold: Collection[tuple[int, int, float]] = ()) -> None:
        """Take up the procedures of an earlier device server: those that live, and the newest that have ended.

        :param living: what main says of the procedures that it supervises
        :param untold: procedure, state and time of the changes that main is going to tell again
        """
        alive = {int(item["process_uid"]): item for item in living}
        with self._lock:
            stored = [*self.history.newest_ended(self.settings.history_length), *self.history.unfinished()]
            for procedure in sorted(stored, key=lambda procedure: procedure.id):
                self._take_up(procedure)
                alive.pop(procedure.id, None)
            for pid, item in sorted(alive.items()):
                if not self.history.is_there:
                    self._take_up_living(item, untold)
                    continue
                _log.warning("procedure %d lives, but is not in the history", pid, extra=about(self.device, pid))
                self._record_living(summary_of(stored_of_living(item, f"{self._uri()}#{pid}")))
            self._failure = self._failure_before()
            self.history.reserve_ids(max(self._summaries, default=0))

    def recall(self) -> dict[int, str]:
        """Take up what a history that has come late knows of earlier servers' procedures.

        :return: the run ids of those that have not ended, as far as it knows
        :raises HistoryError: it cannot be read all the same
        """
        found = [*self.history.newest_ended(self.settings.history_length), *self.history.unfinished()]
        before = self._failure_before()
        with self._lock:
            older = {procedure.id: procedure for procedure in found if procedure.id not in self._summaries}
            changed, failure, ended = self._last_changed, self._newest_failure, self._ended
            self._ended = {}
            for _, procedure in sorted(older.items()):
                self._take_up(procedure)
            self._ended.update(ended)
            self._summaries = dict(sorted(self._summaries.items()))
            self._last_changed, self._newest_failure = changed or self._last_changed, failure or self._newest_failure
            self._failure = self._failure or before
            self._forget_oldest()
            return {pid: item.run_id for pid, item in older.items() if not item.state.is_terminal}

    def _take_up_living(self, item: dict[str, Any], untold: Collection[tuple[int, int, float]]) -> None:
        """Take up a procedure of which main alone can tell now; what was told of it is not told again."""
        pid = int(item["process_uid"])
        told = [(state, time) for state, time in item["states"] if (pid, state, time) not in untold]
        procedure = stored_of_living({**item, "states": told or item["states"][:1]}, f"{self._uri()}#{pid}")
        self._take_up(procedure)
        self.history.adopt(procedure)

    def _failure_before(self) -> Failure | None:
        """Return what the newest lifecycle events say of a failure that no start has followed."""
        events = self.history.events_after(max(0, self.history.last_sequence - _MOST_NEW_EVENTS), _MOST_NEW_EVENTS)
        newest = next((event for event in reversed(events) if event.state in _DECIDING), None)
        if newest is None or newest.state is ProcedureState.RUNNING:
            return None
        found = self.history.procedures([newest.process_uid]).get(newest.process_uid)
        uri = str(found.script.get("script_uri", "")) if found is not None else ""
        return Failure(newest.process_uid, uri, newest.state, newest.reason or "", newest.time)

    def _record_living(self, summary: ProcedureSummary) -> None:
        """Record what main knows of a procedure that an earlier device server could not record."""
        states = summary.history.process_states
        dropped = dict(summary.history.dropped_starts)
        summary = replace(summary, history=ProcedureHistory(dropped_starts=summary.history.dropped_starts))
        for state, time in states:
            self._enter(summary, state, time, dropped.get(time))
            summary = self._summaries[summary.id]

    def _take_up(self, procedure: StoredProcedure) -> None:
        pid = procedure.id
        self._summaries[pid] = summary_of(procedure)
        self._states[pid] = procedure.state
        self._functions[pid] = procedure.function
        if procedure.state.is_terminal:
            self._ended[pid] = None
        elif procedure.state is ProcedureState.READY and procedure.dropped:
            self._dropped[pid] = _dropped_since_last_run(procedure)
        if procedure.abort_of is not None:
            self._aborts[procedure.abort_of] = pid
        if procedure.function == "main" and procedure.state is ProcedureState.READY:
            self._main_ended.add(pid)
        self._last_changed = pid
        if procedure.state is ProcedureState.FAILED:
            self._newest_failure = procedure.stacktrace or (procedure.exit or {}).get("reason") or ""

    @property
    def unfinished(self) -> dict[int, str]:
        """The run ids of the procedures that have not ended."""
        with self._lock:
            return {pid: item.run_id for pid, item in self._summaries.items() if not item.state.is_terminal}

    def settle(self, living: Iterable[int], reaped: Mapping[int, list[int]], elsewhere: str = "") -> None:
        """Tell the truth about procedures that did not survive: FAILED, with what happened.

        :param living: ids of the procedures that main supervises
        :param reaped: which processes of which procedure were found and killed
        :param elsewhere: the host on which they ran, if that is not this one
        """
        alive = set(living)
        with self._lock:
            for pid in [pid for pid in self.unfinished if pid not in alive]:
                summary = self._summaries[pid]
                killed = reaped.get(pid, [])
                gone = f"it ran on host {elsewhere}" if elsewhere else "its process was gone"
                found = f"process {', '.join(map(str, killed))} was reaped" if killed else gone
                reason = f"server restarted while the procedure was {summary.state.name}; {found}"
                exit_ = {"exit_code": None, "signal": None, "reason": reason, "signals_sent": [], "reaped": killed}
                ended = replace(summary, os_pid=None, history=replace(summary.history, exit=exit_))
                self._newest_failure = reason
                self._enter(ended, ProcedureState.FAILED, clock.time(), reason)

    # -- handlers of the bus

    def handle_wait_for_qa_ready_enable(self, msg_src: str) -> None:
        """Handler for operator.wait_for_qa_ready.enable topic. Sets wait_for_qa_ready to True.

        :param msg_src: component from which the request originated
        """
        self._set_flag(True)

    def handle_wait_for_qa_ready_disable(self, msg_src: str) -> None:
        """Handler for operator.wait_for_qa_ready.disable topic. Sets wait_for_qa_ready to False.

        :param msg_src: component from which the request originated
        """
        self._set_flag(False)

    def _set_flag(self, enabled: bool) -> None:
        self.script_context.wait_for_qa_ready = enabled
        self.bus.publish(topics.operator.override.state, msg_src=self.device, wait_for_qa_ready=enabled)

    def _on_statechange(self, message: LifecycleMessage) -> None:
        pid, state, done = message.msg_src, message.new_state, self._acknowledging(message.number)
        with self._lock:
            summary = self._summaries.get(pid)
            problem = self._problem_with(summary, message)
            if summary is None or problem:
                _log.error("%s", problem, extra=about(self.device, pid))
                done()
                return
            if (state, message.time) in summary.history.process_states:  # main has said so before, to an earlier server
                done()
                return
            if summary.state is state:
                self._take_drop(summary, message, done)
                return
            reason = self._with_uncalled(pid, message.reason) if state is ProcedureState.COMPLETE else message.reason
            self._note_function(pid, summary.state, state, message.fn_name)
            before = summary.history
            history = replace(
                before, stacktrace=message.stacktrace or before.stacktrace, exit=message.exit or before.exit
            )
            if state is ProcedureState.FAILED:
                self._newest_failure = message.stacktrace or reason or ""
            changed = replace(summary, history=history, os_pid=message.os_pid)
            self._enter(changed, state, message.time or clock.time(), reason, number=message.number, done=done)

    def _problem_with(self, summary: ProcedureSummary | None, message: LifecycleMessage) -> str:
        """Return why a change cannot be; "" if it can."""
        if summary is None:
            return f"a change of procedure {message.msg_src}, which is not known, to {message.new_state.name}"
        known = (message.new_state, message.time) in summary.history.process_states
        if known or may_follow(summary.state, message.new_state):
            return ""
        return f"procedure {summary.id} is {summary.state.name}, which {message.new_state.name} may not follow"

    def _acknowledging(self, number: int) -> Callable[[], None]:
        """Return what tells main that one of its announcements needs no repetition."""

        def acknowledge() -> None:
            if number:
                self.bus.publish(topics.procedure.lifecycle.acknowledged, number=number)

        return acknowledge

    def _on_loaded(self, message: ProvenanceMessage) -> None:
        pid, provenance = message.msg_src, message.provenance
        with self._lock:
            if pid in self._summaries:
                self._summaries[pid] = replace(self._summaries[pid], provenance=provenance)
            self.history.update(pid, {"provenance": provenance}, message.number, self._acknowledging(message.number))

    def _take_drop(self, summary: ProcedureSummary, message: LifecycleMessage, done: Callable[[], None]) -> None:
        """Take up that a start was dropped: the procedure enters READY once more."""
        pid, time, reason = summary.id, message.time or clock.time(), message.reason or ""
        sentence = self._note_drop(pid, reason)
        history = replace(summary.history, dropped_starts=(*summary.history.dropped_starts, (time, reason)))
        again = replace(summary, history=history)
        self._enter(again, ProcedureState.READY, time, reason, number=message.number, done=done)
        self.audit("Start", Caller("main"), pid, f"dropped: {sentence}")
        _log.warning("%s", sentence, extra=about(self.device, pid))

    def _note_drop(self, pid: int, reason: str) -> str:
        """Note for Status that a start was dropped; an abort script's procedure is ended: nobody will ever start it."""
        dropped = _sentence_of_drop(pid, reason)
        if self._starting == pid:
            self._starting = None
        elif self._queued.get(pid):
            self._queued[pid] -= 1
        self._held_aborts.discard(pid)
        if pid in self._aborts.values():
            self._notice = self._abort_failed = f"{dropped}: the abort script has not run."
            self._manager.stop(pid)  # before it is recorded: should this process die in between, main tells it again
            return self._notice
        self._dropped[pid] = (*self._dropped.get(pid, ()), f"{dropped}; procedure {pid} stays READY.")
        return self._dropped[pid][-1]

    def _with_uncalled(self, pid: int, reason: str | None) -> str | None:
        """Return why a procedure is COMPLETE, and how many starts were accepted that its end has come before."""
        count = self._queued.get(pid, 0) + (self._starting == pid)
        if not count:
            return reason
        return f"{reason}; {count} start{'s' if count > 1 else ''} that waited for its turn came to nothing"

    def _on_script_message(
        self, msg_src: int, topic: str, data: dict[str, Any], time: float, payload: bytes = b""
    ) -> None:
        if topic != _PROGRESS:
            return
        progress = _progress_of(data)
        if progress is None:
            self._note_misreport(msg_src, data)
            return
        with self._lock:
            if msg_src not in self._summaries:
                return
            self._progress[msg_src] = progress
        self.bus.publish(topics.procedure.lifecycle.progress, msg_src=msg_src, progress=progress, time=time)

    def _note_misreport(self, pid: int, data: dict[str, Any]) -> None:
        """Say once for each procedure that its progress is none: it may report thousands of times a second."""
        if pid not in self._misreporting:
            self._misreporting.add(pid)
            text = "procedure %d reports progress as %.300r, which is none; it is ignored"
            _log.warning(text, pid, data, extra=about(self.device, pid))

    def _on_lost(self, reason: str) -> None:
        self.lost = reason

    # -- for the link, which carries requests to main

    def launch(self, process_uid: int) -> Launch:
        """Record that a procedure is being created, and return how it is launched.

        Not before it is in the history: if everything died now, nobody would know that its script had begun to load.
        """
        self._record_creation(process_uid)
        self.history.wait(_DATABASE_PATIENCE)
        launching = self._launching
        assert launching is not None
        settings = self.settings
        return Launch(
            launching.run_id,
            launching.path,
            list(settings.script_roots),
            settings.timeouts,
            settings.stop_grace_period,
            str(self.output.path(process_uid)) if self.output is not None else "",
            settings.max_memory,
            self._source(launching.cmd.script),
        )

    def last_number(self, boot: str) -> int:
        """Return the number of main's newest announcement that is recorded already."""
        return self.history.last_number(boot)

    def context(self) -> dict[str, Any]:
        """Return the context that scripts are given now."""
        return {"wait_for_qa_ready": self.script_context.wait_for_qa_ready}

    # -- preparing

    def _prepare(
        self, command: str, cmd: PrepareProcessCommand, caller: Caller, *, abort_of: int | None = None
    ) -> ProcedureSummary:
        path = self._find(cmd.script)
        with self._lock:
            alive = sum(not state.is_terminal for state in self._states.values())
            if alive >= self.settings.max_procedures and abort_of is None:
                raise TooManyError(f"{alive} procedures are alive, and MaxProcedures is {self.settings.max_procedures}")
            request = RequestRecord(command, caller.client, caller.user, clock.time())
            self._launching = _Launching(cmd, path, _new_run_id(), request, abort_of)
            pid = self._manager.create(cmd.script, init_args=cmd.init_args)
            self._record_creation(pid)
            return self._summaries[pid]

    def _find(self, script: ExecutableScript) -> str:
        """Return the path of a script on the file system; of one in git, just check that it may be asked for."""
        return find_script(script, self.settings)

    def _source(self, script: ExecutableScript) -> dict[str, Any] | None:
        """Return what a worker must know to get a script from git; None for one on the file system."""
        if not isinstance(script, GitScript):
            return None
        return {
            "git_args": script.git_args.as_data(),
            "path": script_path(script.script_uri),
            "create_env": script.create_env,
            "base_dir": str(state_directory(self.settings)),
            "token_file": self.settings.git_token_file,
            "timeout": self.settings.environment_timeout,
        }

    def _record_creation(self, pid: int) -> None:
        launching = self._launching
        if pid in self._summaries or launching is None:
            return
        summary = ProcedureSummary(
            id=pid,
            script=launching.cmd.script,
            script_args=(ArgCapture("init", launching.cmd.init_args, launching.request.time),),
            history=ProcedureHistory(),
            state=ProcedureState.CREATING,
            uri=f"{self._uri()}#{pid}",
            run_id=launching.run_id,
            provenance={"path": launching.path or None, "sha256": None, "git_commit": None, "environment": None},
            requested_by=(launching.request,),
        )
        request = launching.request
        self._enter(summary, ProcedureState.CREATING, request.time, None, abort_of=launching.abort_of)
        self.history.add_request(request.command, request.client, request.user, pid, request.time, "accepted")

    # -- starting

    def _check_start(self, cmd: StartProcessCommand) -> None:
        summary = self._get(cmd.process_uid)
        state = summary.state
        if state.is_terminal or cmd.process_uid in self._main_ended:
            raise InvalidStateError(f"procedure {summary.id} is {state.name} and has ended or is ending")
        if not cmd.force_start and (state is not ProcedureState.READY or self._starting == summary.id):
            shown = "being started" if self._starting == summary.id else state.name
            raise InvalidStateError(f"procedure {summary.id} is {shown}; it can be started when it is READY")
        obstacle = in_the_way(summary.id, self._running(), self._held_aborts)
        if state is ProcedureState.READY and obstacle is not None:
            raise BusyError(obstacle.refusal(summary.id))
        if self._queued.get(summary.id, 0) >= _MOST_QUEUED_STARTS:
            raise TooManyError(f"{_MOST_QUEUED_STARTS} starts of procedure {summary.id} are waiting already")

    def _start(self, cmd: StartProcessCommand, *, after: int | None = None) -> None:
        pid = cmd.process_uid
        summary = self._summaries[pid]
        capture = ArgCapture(cmd.fn_name, cmd.run_args, clock.time())
        self._summaries[pid] = replace(summary, script_args=(*summary.script_args, capture))
        if summary.state is ProcedureState.READY and after is None and self._starting != pid:
            self._starting = pid
        else:
            self._queued[pid] = self._queued.get(pid, 0) + 1
        self._notice = ""
        self._manager.run(
            pid, call=cmd.fn_name, run_args=cmd.run_args, force_start=cmd.force_start or after is not None, after=after
        )
        self.history.add_call(pid, StoredCall(capture.fn, capture.fn_args.as_data(), capture.time))

    def _running(self) -> int | None:
        """Return the procedure that is RUNNING, or is being started."""
        running = (pid for pid, state in self._states.items() if state is ProcedureState.RUNNING)
        return next(running, self._starting)

    # -- stopping

    def _abort(self, cmd: StopProcessCommand, caller: Caller) -> list[ProcedureSummary]:
        """Prepare the abort script, to start when the procedure has ended; once for each procedure."""
        if cmd.process_uid in self._aborts:
            known = self._summaries.get(self._aborts[cmd.process_uid])  # None if it ended long ago
            return [known] if known is not None else []
        if cmd.run_abort is False or cmd.process_uid in self._aborts.values():
            return []
        if self.abort_script is None:
            if cmd.run_abort:
                self._notice = (
                    f"Procedure {cmd.process_uid} was stopped without an abort script: AbortScript is not set."
                )
            return []
        subarray = ProcedureInput(subarray_id=self.settings.subarray_id)
        try:
            abort = PrepareProcessCommand(self.abort_script, subarray)
            summary = self._prepare("Stop", abort, caller, abort_of=cmd.process_uid)
        except OetError as error:  # Stop is never refused
            self._notice = f"Procedure {cmd.process_uid} was stopped, but its abort script cannot be run: {error}."
            _log.error("%s", self._notice, extra=about(self.device, cmd.process_uid))
            return []
        self._aborts[cmd.process_uid] = summary.id
        self._held_aborts.add(summary.id)
        self._start(StartProcessCommand(summary.id, "main", ProcedureInput(), True), after=cmd.process_uid)
        return [self._summaries[summary.id]]

    # -- state; the lock is held

    def _get(self, pid: int) -> ProcedureSummary:
        return self._summaries.get(pid) or self._unknown(pid)

    def _is_past(self, pid: int) -> bool:
        """Say whether a procedure has left the attributes for the durable history; the lock is not held."""
        with self._lock:
            if pid in self._summaries:
                return False
        return bool(self.history.procedures([pid])) or self._unknown(pid)

    def _unknown(self, pid: int) -> NoReturn:
        raise UnknownProcedureError(f"there is no procedure {pid} on {self.device or 'this device'}")

    def _announce(self, topic: type, cmd: object) -> None:
        self.bus.publish(topic, msg_src=self.device, request_id=next(self._request_ids), cmd=cmd)

    def _note_request(self, pid: int, command: str, caller: Caller) -> None:
        summary = self._summaries[pid]
        request = RequestRecord(command, caller.client, caller.user, clock.time())
        self._summaries[pid] = replace(summary, requested_by=(*summary.requested_by, request))
        self.history.add_request(command, request.client, request.user, pid, request.time, "accepted")

    def _note_stopping(self, pid: int) -> None:
        grace = self.settings.stop_grace_period
        latest = clock.strftime("%H:%M:%S", clock.gmtime(clock.time() + grace))
        self._stopping[pid] = f"Procedure {pid} is being stopped; if need be it is killed at {latest} UTC."

    def _note_end(self, pid: int, state: ProcedureState, reason: str | None) -> None:
        self._stopping.pop(pid, None)
        self._dropped.pop(pid, None)
        self._held_aborts.discard(pid)
        if state in _FAILED and pid in self._aborts.values():
            self._abort_failed = f"Abort script (procedure {pid}) {state.name}: {reason}."

    def _note_function(self, pid: int, previous: ProcedureState, state: ProcedureState, fn_name: str | None) -> None:
        if fn_name:
            self._functions[pid] = fn_name
        if state is ProcedureState.RUNNING:
            self._held_aborts.discard(pid)
            self._abort_failed = ""
            self._failure = None
            self._dropped.pop(pid, None)
            if self._starting != pid and self._queued.get(pid):
                self._queued[pid] -= 1
        if self._starting == pid:
            self._starting = None
        if previous is ProcedureState.RUNNING and self._functions.get(pid) == "main":
            self._main_ended.add(pid)

    def _enter(
        self,
        summary: ProcedureSummary,
        state: ProcedureState,
        time: float,
        reason: str | None,
        *,
        number: int = 0,
        done: Callable[[], None] | None = None,
        abort_of: int | None = None,
    ) -> None:
        """The one place where a state changes: keep it; clients are told once it is in the history."""
        pid = summary.id
        history = summary.history
        is_new = not history.process_states
        event = self.history.next_event(pid, summary.run_id, None if is_new else summary.state, state, time, reason)
        entered = (*history.process_states, (state, time))
        changed = replace(summary, state=state, history=replace(history, process_states=entered))
        self._states[pid] = state
        self._summaries[pid] = changed
        self._last_changed = pid
        if state in _FAILED:
            self._failure = Failure(pid, summary.script.script_uri, state, reason or "", event.time)
        self._newest[pid] = event.sequence
        if state.is_terminal:
            self._note_end(pid, state, reason)
            self._ended[pid] = None  # in the order of their ends, whatever the clock has done
            self._forget_oldest()
        change = Change(event, self.snapshot())
        self._log_change(event)

        def tell() -> None:
            self.bus.publish(topics.procedure.lifecycle.recorded, msg_src=pid, change=change)

        if is_new:
            self.history.add_procedure(stored(changed, abort_of), event, tell)
        else:
            self.history.keep(event, self._values(changed), tell, number, done)

    def _log_change(self, event: LifecycleEvent) -> None:
        state = event.state
        _log.log(
            _SEVERITY.get(state, logging.INFO),
            "procedure %d is %s%s%s",
            event.process_uid,
            state.name,
            f" after {event.previous.name}" if event.previous is not None else "",
            f": {event.reason}" if event.reason else "",
            extra=about(self.device, event.process_uid, event.run_id),
        )

    def _values(self, summary: ProcedureSummary) -> dict[str, Any]:
        """Return the fields of StoredProcedure that change with the state."""
        return {
            "state": summary.state,
            "stacktrace": summary.history.stacktrace,
            "exit": summary.history.exit,
            "os_pid": summary.os_pid,
            "function": self._functions.get(summary.id, ""),
        }

    def _forget_oldest(self) -> None:
        for pid in list(self._ended)[: max(0, len(self._ended) - self.settings.history_length)]:
            for table in (
                self._ended,
                self._summaries,
                self._states,
                self._functions,
                self._progress,
                self._aborts,
                self._queued,
                self._newest,
            ):
                table.pop(pid, None)
            self._main_ended.discard(pid)
            self._misreporting.discard(pid)

    def _active(self) -> Active:
        pid = next((pid for pid, state in self._states.items() if state is ProcedureState.RUNNING), self._last_changed)
        summary = self._summaries.get(pid)
        if summary is None:
            return Active()
        function = self._functions.get(pid, "") if summary.state in _CALLING else ""
        return Active(pid, summary.state, function)


_FAILED = (ProcedureState.FAILED, ProcedureState.UNKNOWN)
_DECIDING = (*_FAILED, ProcedureState.RUNNING)
_CALLING = (ProcedureState.INITIALISING, ProcedureState.RUNNING)
_SEVERITY = {ProcedureState.FAILED: logging.ERROR, ProcedureState.UNKNOWN: logging.CRITICAL}
_PROGRESS = topic_name(topics.script.progress)


def _sentence_of_drop(pid: int, reason: str) -> str:
    """Return the reason of a dropped start as the beginning of a sentence that names the procedure, too."""
    what, _, why = reason.removeprefix("the start of ").partition(" was dropped, ")
    return f"The start of {what} of procedure {pid} was dropped, {why}"


def _dropped_since_last_run(procedure: StoredProcedure) -> tuple[str, ...]:
    """Return what Status says of the starts that were dropped since a procedure was RUNNING."""
    reasons, states = dict(procedure.dropped), procedure.states
    last = max((i for i, (state, _) in enumerate(states) if state is ProcedureState.RUNNING), default=-1)
    dropped = [reasons[time] for state, time in states[last + 1 :] if time in reasons]
    sentences = (_sentence_of_drop(procedure.id, reason) for reason in dropped)
    return tuple(f"{sentence}; procedure {procedure.id} stays READY." for sentence in sentences)


def _progress_of(data: dict[str, Any]) -> Progress | None:
    """Return what a message on the topic of progress reports; None if that is nothing from 0 to 100."""
    try:
        percent, activity = float(data["percent"]), str(data["activity"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    return Progress(percent, activity) if 0.0 <= percent <= 100.0 else None


@dataclass(frozen=True)
class _Launching:
    cmd: PrepareProcessCommand
    path: str
    run_id: str
    request: RequestRecord
    abort_of: int | None
