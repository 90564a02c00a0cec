"""The use cases of script execution.

Everything here runs in the device server process: requests in the threads of Tango, changes in
the thread of the link.  One lock guards the procedures; it is never held while an event is pushed.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
import time as clock
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ...config import Settings
from ...errors import (
    InvalidArgumentError,
    InvalidStateError,
    OetError,
    ScriptNotFoundError,
    TooLargeError,
    UnknownProcedureError,
    brief,
)
from ...event import Bus, topic_name, topics
from ...logs import about
from ..domain import ProcessManager, find_script, load_of, locate_script, new_run_id
from ..environment import EnvironmentInfo
from ..history import LifecycleEvent, MemoryHistory, StoredCall, StoredRequest
from ..messages import DelayMessage, LifecycleMessage, ProvenanceMessage
from ..output import OutputFiles, Page
from ..script import ExecutableScript, GitScript, ProcedureInput
from ..state import ProcedureState
from ._abort import AbortScript, Found
from ._admin import AdminMode
from ._audit import Audit
from ._bounds import MOST_SUMMARISED, MOST_TOLD, room_for, share_room
from ._changes import ChangeRecorder
from ._checks import Checks
from ._environments import Environments
from ._finder import Finder, place_of
from ._lrc import ABORT, LongRunningCommands, TaskStatus
from ._lrc_requests import CommandRequests
from ._lrc_tracker import CommandTracker, Started
from ._meant import to_be_aborted, to_be_started, to_be_stopped
from ._model import (
    ArgCapture,
    Caller,
    CheckCommand,
    CheckReport,
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
from ._past import HistoryQuery, Past
from ._procedure import Procedure
from ._procedures import Procedures
from ._restore import Restorer
from ._script_list import ScriptList
from ._selection import KeptSelection, Selection
from ._stored import summary_of

_log = logging.getLogger(__name__)

_MOST_NEW_EVENTS = 1000
_DATABASE_PATIENCE = 0.1  # seconds for which a command waits until its procedure is in the history
_IMPATIENCE = 1.0  # seconds for which no command waits after one has waited in vain
_PROGRESS = topic_name(topics.script.progress)


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
        wait_for_qa_ready: bool = True,
        selection: Path | None = None,
    ) -> None:
        """Create a new ScriptExecutionService.

        :param abort_script: post-termination script for two-phase abort
        :param device: name of the Tango device
        :param uri: returns what the summaries' URIs begin with; a server knows its address once it has started
        :param settings: the device's properties
        :param bus: the device's event bus
        :param history: where lifecycle events and ids come from, and are kept
        :param output: where scripts' output is kept; None: it goes where the server's goes
        :param wait_for_qa_ready: the operators' flag, until one of them says otherwise
        :param selection: the file that keeps what operators have selected; None: nothing is kept
        """
        self.device = device
        self._settings = settings or Settings()
        self.bus = bus or Bus()
        self.history = history or MemoryHistory(device)
        self.output = output
        self.scripts = ScriptList()
        self._selection = KeptSelection(selection)
        self.script_context = ScriptContext(wait_for_qa_ready, self._settings.subarray_id)
        self._uri = uri
        self._audit = Audit(self.history)
        self._finder, self._abort_finder = Finder(), Finder()
        self._environments = Environments(lambda: self.settings)
        self._impatient_until = 0.0
        self._procedures = Procedures(lambda: self.settings.history_length)
        self._manager = ProcessManager(
            self._procedures.states, self._procedures.lock, bus=self.bus, next_id=self.history.next_id
        )
        self.admin_mode = AdminMode.ONLINE
        self._commands = CommandTracker()
        self._command_requests = CommandRequests(self._commands, self._procedures, self.history, self.bus, device)
        self._recorder = ChangeRecorder(self._procedures, self.history, self.bus, device, self._commands)
        self._restorer = Restorer(self._procedures, self.history, self._recorder, device, self._uri_of)
        self._checks = Checks(self.bus, device, lambda: self.settings, self._locate)
        self._past = Past(self._procedures, self.history)
        self._abort = AbortScript(abort_script, self._procedures, device)
        lifecycle, operator = topics.procedure.lifecycle, topics.operator.wait_for_qa_ready
        self.bus.subscribe(self._on_statechange, lifecycle.statechange)
        self.bus.subscribe(self._on_loaded, lifecycle.loaded)
        self.bus.subscribe(self._on_delayed, lifecycle.delayed)
        self.bus.subscribe(self._on_script_message, topics.script.message)
        self.bus.subscribe(self.handle_wait_for_qa_ready_enable, operator.enable)
        self.bus.subscribe(self.handle_wait_for_qa_ready_disable, operator.disable)

    @property
    def settings(self) -> Settings:
        """The device's properties; may be set at any time."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        with self._lock:
            self._settings = settings
            self.script_context.subarray_id = settings.subarray_id
        self.tell_context()

    @property
    def abort_script(self) -> ExecutableScript | None:
        """The script that follows a stop; may be set at any time."""
        return self._abort.script

    @abort_script.setter
    def abort_script(self, script: ExecutableScript | None) -> None:
        self.set_abort_script(script)

    def set_abort_script(self, script: ExecutableScript | None, path: str = "") -> None:
        """Set the script that follows a stop.

        :param path: where it was found a moment ago; "": it is looked for at the next stop
        """
        with self._lock:
            self._abort.script, self._abort.path = script, path

    def look_for_abort_script(self) -> None:
        """Find the script that follows a stop before there is one: then no stop has to look for it."""
        script = self._abort.script
        if script is not None:
            self._find_abort(script)

    # -- use cases

    def prepare(self, cmd: PrepareProcessCommand, caller: Caller | None = None) -> ProcedureSummary:
        """Load and prepare a Python script for execution, but do not commence execution.

        :param caller: one that has come by PrepareScript has a long running command
        :raises InvalidArgumentError: the script cannot be what was named
        :raises ScriptNotFoundError: there is no such script
        :raises NotAllowedError: the script is outside of what this device may run, or the device is not in use
        :raises TooManyError: MaxProcedures are alive
        :raises NotConnectedError: nobody carries messages to a main process
        """
        self.admin_mode.check()
        path = self._find(cmd.script)
        with self._lock:
            return self._prepare("Prepare", cmd, path, caller, clock.time()).summary

    def start(self, cmd: StartProcessCommand, caller: Caller | None = None) -> ProcedureSummary:
        """Start execution of a prepared procedure; without an id, of the newest that is READY.

        :param caller: one that has come by StartScript has a long running command
        :raises UnknownProcedureError: no such procedure
        :raises InvalidStateError: it is not READY, and `force_start` is not set; or it is not clear which one is meant
        :raises BusyError: another procedure has the turn, or an abort script has the next
        :raises TooManyError: too many starts are waiting for their turn
        :raises NotAllowedError: the device is not in use
        """
        self.admin_mode.check()
        pid = cmd.process_uid
        if pid is not None and self._is_past(pid):
            raise InvalidStateError(f"procedure {pid} has ended long ago")
        with self._lock:
            call = ArgCapture(cmd.fn_name, cmd.run_args, clock.time())
            living = self._procedures.living
            procedure = self._get(pid) if pid is not None else to_be_started(living, force=cmd.force_start)
            procedure.check_start(force=cmd.force_start)
            self._procedures.check_turn(procedure)
            procedure.check_queue()
            self._procedures.check_waiting(call)
            request = _request("Start", caller, call.time)
            self._command_requests.check_room(request)
            uid = self._command_requests.begin(request, procedure.id)
            self._start(procedure, call, force=cmd.force_start, command_uid=uid)
            self._note_request(procedure, "Start", caller, time=call.time)
            summary = procedure.summary
        if uid:
            self._await_history()  # whoever has a uid is told its end, whatever dies
        return summary

    def run(
        self,
        cmd: PrepareProcessCommand,
        fn_name: str,
        run_args: ProcedureInput,
        caller: Caller | None = None,
        *,
        only_if_free: bool = False,
    ) -> ProcedureSummary:
        """Prepare a script and start a function of it as soon as it is READY.

        :param caller: one that has come by RunScript has a long running command
        :param only_if_free: refuse it where nothing could be started now; else the start may be dropped when it is due
        :raises BusyError: `only_if_free`, and a procedure has the turn, or an abort script has the next
        :raises OetError: as `prepare` does
        """
        self.admin_mode.check()
        path = self._find(cmd.script)
        with self._lock:
            if only_if_free:
                self._procedures.check_free()
            call = ArgCapture(fn_name, run_args, clock.time())
            self._procedures.check_waiting(call)
            procedure = self._prepare("Run", cmd, path, caller, call.time)
            uid = self._command_requests.uid_of(_request("Run", caller, call.time), procedure.id)
            self._start(procedure, call, force=True, command_uid=uid)
            return procedure.summary

    def abort(self, caller: Caller | None = None) -> str:
        """Stop all that is under way: what has the turn, and what long running commands wait for.

        The abort script follows what is stopped last, which is what has the turn.  Never refused; returns the uid of
        the long running command, which finishes when all has ended, the abort script too.
        """
        with self._lock:
            uid, updates = self._commands.begin_abort(clock.time())
            self._command_requests.tell(updates)
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
                self._stop_for_abort(uid, pid, caller, time, run_abort=None if pid == ids[-1] else False)
        finally:  # whatever happens, whoever waits for it is told its end
            with self._lock:
                if self._procedures.abort_failure != failure:
                    self._commands.note_abort_problem(uid, self._procedures.abort_failure)
                self._command_requests.tell(self._commands.close_abort(uid, clock.time()))
        self._await_history()  # whoever has a uid is told its end, whatever dies
        return uid

    def _stop_for_abort(
        self, uid: str, pid: int, caller: Caller | None, time: float, *, run_abort: bool | None
    ) -> None:
        try:
            scripts = self.stop(StopProcessCommand(pid, run_abort, "Abort"), caller, ABORT, time)
        except UnknownProcedureError:  # it has ended, and left the attributes, this moment
            return
        with self._lock:
            for script in scripts:
                known = self._procedures.get(script.id)
                if known is not None and known.is_alive:
                    self._commands.wait_for(uid, script.id, is_script=True)

    def stop(
        self, cmd: StopProcessCommand, caller: Caller | None = None, command: str = "Stop", time: float = 0.0
    ) -> list[ProcedureSummary]:
        """Stop a procedure in any state, optionally running a second script once it has ended.

        Never refused while the process lives; harmless when repeated or when it has ended.  Without an id the
        active one is stopped.

        :param command: what the caller has asked for
        :param time: when (Unix seconds); 0: now
        :return: the summary of the abort script, if one was started
        :raises UnknownProcedureError: no such procedure
        :raises InvalidStateError: no id, and it is not clear which one is meant
        """
        if cmd.process_uid is not None and self._is_past(cmd.process_uid):
            self._audit.note(command, caller or Caller(), cmd.process_uid, "accepted; it had ended long ago", time)
            return []
        with self._lock:
            procedure = self._to_be_stopped(cmd.process_uid)
            pid = procedure.id
            if not procedure.is_alive:
                self._audit.note(command, caller or Caller(), pid, f"accepted; procedure {pid} had ended already", time)
                return []
            why = " ".join(cmd.reason.split())
            self._manager.stop(pid, why)
            if procedure.stopping:
                self._audit.note(command, caller or Caller(), pid, f"accepted; procedure {pid} is being stopped", time)
            else:
                self._note_request(procedure, command, caller, f"accepted; {why}" if why else "accepted", time)
            if procedure.is_unknown:
                procedure.stopping = f"Procedure {pid} is sent SIGKILL once more."
                return []
            if not procedure.stopping:  # the first one's reason and time count
                latest = clock.strftime("%H:%M:%S", clock.gmtime(clock.time() + self.settings.stop_grace_period))
                shown = f" ({why})" if why else ""
                procedure.stopping = (
                    f"Procedure {pid} is being stopped{shown}; if need be it is killed at {latest} UTC."
                )
            script, path = self._abort.script, self._abort.path
            if script is None or path or not self._abort.may_follow(procedure, cmd.run_abort):
                found = Found(script, path) if script is not None else None
                return self._follow(procedure, cmd, found, caller, command, time)
            self._procedures.sought_for.append(pid)
        try:
            found = self._find_abort(script)
            with self._lock:
                return self._follow(procedure, cmd, found, caller, command, time)
        finally:
            with self._lock:
                self._procedures.sought_for.remove(pid)

    def check(self, cmd: CheckCommand, caller: Caller | None = None) -> int:
        """Have a script loaded, of which nothing is called, and told of; returns the id of the check.

        Nothing of the procedures changes.  That there is no such script is told by the report, too.

        :raises TooManyError: too many checks are waiting
        :raises NotConnectedError: nobody carries messages to a main process
        """
        self._manager.check_connected()
        check_id = self._checks.check(cmd, self.script_context)
        uri = getattr(cmd.script, "script_uri", "")
        self._audit.keep("Check", caller or Caller(), 0, f"accepted; check {check_id} of {uri}")
        return check_id

    def check_report(self, check_id: int) -> CheckReport | None:
        """Return the report of a check; None while it is under way.

        :raises UnknownCheckError: there is no such check, or its report is not kept any more
        """
        return self._checks.report(check_id)

    def summarise(self, pids: Iterable[int] | None = None) -> list[ProcedureSummary]:
        """Return the summaries of the procedures with the given ids; None for all current ones.

        Of a single one the arguments are whole, as far as they are kept; several share the room there is.

        :raises UnknownProcedureError: one of the ids is not known
        :raises TooLargeError: there are too many
        """
        with self._lock:
            if pids is None:
                current = self._procedures.summaries
                if len(current) > MOST_TOLD:
                    raise TooLargeError(f"{len(current)} procedures are in the attributes: ask for some at a time")
                return share_room(current)
            wanted = list(itertools.islice(pids, MOST_SUMMARISED + 1))
            if len(wanted) > MOST_SUMMARISED:
                raise TooLargeError(f"more than {MOST_SUMMARISED} procedures are asked for: ask for fewer at a time")
            known = {pid: self._procedures.get(pid) for pid in wanted}
            found = {pid: procedure.summary for pid, procedure in known.items() if procedure is not None}
        older = [pid for pid in wanted if pid not in found]
        if older:
            stored = self.history.procedures(older, room_for(len(wanted)))
            found.update((pid, summary_of(each)) for pid, each in stored.items())
        for pid in wanted:
            if pid not in found:
                self._unknown(pid)
        return share_room([found[pid] for pid in wanted])

    def find(self, query: HistoryQuery) -> list[ProcedureSummary]:
        """Return the summaries of procedures that live, or are in the history; newest first, see `Past.find`.

        :raises TooLargeError: nothing was found in the time for it; says how to go on
        :raises HistoryError: the history cannot be read
        """
        return self._past.find(query)

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
        if not before:
            self._audit.tell_left_out_on_request()
        return self.history.requests_before(before, limit)

    def environments(self) -> list[EnvironmentInfo]:
        """Return what is known of the environments of scripts, the least recently used first."""
        return self._environments.list()

    def remove_environment(self, env_id: str, caller: Caller | None = None) -> None:
        """Remove an environment.

        :raises InvalidArgumentError: there is no such environment
        :raises InvalidStateError: it is in use, or being made
        """
        self._environments.remove(env_id)
        self._audit.keep("RemoveEnvironment", caller or Caller(), 0, f"accepted; {env_id}")

    def collect_environments(self, reached: float | None) -> str:
        """Remove environments that are old, or too many; returns a sentence if the store is too large all the same.

        :param reached: a time (Unix seconds) that has been reached for certain; None: no environment counts as old
        """
        return self._environments.collect(reached)

    def audit(self, command: str, caller: Caller, process_uid: int, answer: str) -> None:
        """Keep a request that has changed little or nothing, such as one that was refused; of many, how many."""
        self._audit.note(command, caller, process_uid, answer)

    def tell_left_out(self, *, at_once: bool = False) -> None:
        """Keep how many requests have no entry of their own in the history.  To be called now and then."""
        self._audit.tell_left_out(at_once=at_once)

    def forget_before(self, time: float) -> None:
        """Delete from the durable history, and from the output, what ended before `time` (Unix seconds).

        Nothing is deleted while all of it is that old: it is the clock then that is in doubt.
        """
        self.history.forget_before(time)
        if self.output is not None:
            self.output.forget_before(time, keep=self.unfinished)

    # -- what operators have selected

    @property
    def selection(self) -> Selection:
        """What commands without arguments act on."""
        return self._selection.now

    def wait_for_selection(self, seconds: float) -> None:
        """Wait until what is selected is on the disk, or cannot be, at most so long."""
        self._selection.wait(seconds)

    def list_scripts_again(self) -> None:
        """Have the list of scripts follow what lies below ScriptRoots.  Returns at once; to be called once a second."""
        self.scripts.look_again(self.settings.script_roots)

    def select_script(self, script: ExecutableScript | None, caller: Caller | None = None) -> None:
        """Select a script; None: no script.

        One that is listed is taken as it is, any other has to be there.

        :raises ScriptNotFoundError, NotAllowedError, InvalidArgumentError: it could not be prepared
        """
        uri = script.script_uri if script is not None else ""
        if script is not None and uri not in self.scripts.uris:
            try:
                self._locate(script)
            except ScriptNotFoundError as error:
                raise ScriptNotFoundError(f"{error}; choose one of availableScripts") from None
        self._selection.change(script=uri)
        self._audit.note("selectedScript", caller or Caller(), 0, f"accepted; set to {brief(uri) or 'none'}")

    def select_arguments(self, text: str, caller: Caller | None = None) -> None:
        """Select the arguments of what is run next, as JSON text that has been checked."""
        self._selection.change(arguments=text)
        self._audit.note("scriptArguments", caller or Caller(), 0, f"accepted; set to {brief(text) or 'none'}")

    def select_procedure(self, process_uid: int, caller: Caller | None = None) -> None:
        """Select a procedure that is in the attributes; 0: the active one, whichever that is.

        :raises UnknownProcedureError: there is none
        """
        if process_uid and self._procedures.get(process_uid) is None:
            raise UnknownProcedureError(
                f"there is no procedure {process_uid} among those that live and the newest that have ended;"
                " 0 stands for the active one"
            )
        self._selection.change(process_uid=process_uid)
        self._audit.note("selectedProcedure", caller or Caller(), process_uid, f"accepted; set to {process_uid}")

    def override_wait_for_qa_ready(self, msg_src: str) -> None:
        """Tell the scripts that wait for quality assurance to go on, this once."""
        self.bus.publish(topics.operator.wait_for_qa_ready.override, msg_src=msg_src)

    def set_wait_for_qa_ready(self, enabled: bool, msg_src: str) -> None:
        """Set the operator's persistent flag, for scripts that begin from now on."""
        operator = topics.operator.wait_for_qa_ready
        self.bus.publish(operator.enable if enabled else operator.disable, msg_src=msg_src)

    def tell_context(self) -> None:
        """Have what is called of scripts from now on be given the context as it is now."""
        with self._lock:  # what is told last is the newest
            self._manager.change_context(self.script_context.as_data())

    def shutdown(self) -> None:
        """Stop every procedure without abort scripts.  Main ends and reaps the processes."""
        for procedure in self._procedures.living:
            self._manager.stop(procedure.id)

    # -- how things stand

    def notices(self) -> Notices:
        """Return what Status is to say beside the state."""
        with self._lock:
            living = self._procedures.living
            dropped = itertools.chain.from_iterable(procedure.dropped for procedure in living)
            told = (sentence for procedure in living for sentence in (procedure.stopping, procedure.overdue))
            sentences = (
                self.admin_mode.notice,
                *told,
                *dropped,
                self._abort.notice,
                self._procedures.clean_up_failure,
            )
            return Notices(
                tuple(filter(None, sentences)), self._procedures.abort_failure, self._procedures.clean_up_failure
            )

    @property
    def commands(self) -> LongRunningCommands:
        """The long running commands, as they stand.  Any thread."""
        return self._commands.commands

    def command_status(self, uid: str) -> TaskStatus:
        """Return how a long running command stands; NOT_FOUND if it is not known.  Any thread."""
        return self._commands.status_of(uid)

    def snapshot(self) -> Snapshot:
        """Return how things stand."""
        return self._procedures.snapshot()

    def progress(self) -> Progress | None:
        """Return what the active procedure reports of itself; None where it reports nothing."""
        with self._lock:
            active = self._procedures.active
            return active.progress if active is not None else None

    def newest_change(self, pid: int) -> int:
        """Return the sequence number of a procedure's newest lifecycle event, which may still be on its way; else 0."""
        procedure = self._procedures.get(pid)
        return procedure.newest_sequence if procedure is not None else 0

    @property
    def checking(self) -> list[str]:
        """The run ids of the checks that are under way."""
        return self._checks.run_ids

    @property
    def unfinished(self) -> dict[int, str]:
        """The run ids of the procedures that have not ended."""
        return {procedure.id: procedure.summary.run_id for procedure in self._procedures.living}

    # -- after a restart; see Restorer

    def restore(self, living: Iterable[dict[str, Any]], untold: Collection[tuple[int, int, float]] = ()) -> None:
        """Take up the procedures of an earlier device server: those that live, and the newest that have ended."""
        self._restorer.restore(living, untold, self.settings.history_length)
        self._command_requests.take_up()

    def recall(self) -> dict[int, str]:
        """Take up what a history that has come late knows; returns the run ids of those that have not ended.

        :raises HistoryError: it cannot be read all the same
        """
        left = self._restorer.recall(self.settings.history_length)
        self._command_requests.take_up()
        return left

    def settle(
        self,
        left: Collection[int],
        reaped: Mapping[int, list[int]],
        elsewhere: str = "",
        cause: str = "server restarted",
    ) -> None:
        """Tell the truth about the procedures `left`, which did not survive: FAILED, with what happened."""
        self._restorer.settle(left, reaped, elsewhere, cause)

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
        self.tell_context()
        self.bus.publish(topics.operator.override.state, msg_src=self.device, wait_for_qa_ready=enabled)

    def _on_statechange(self, message: LifecycleMessage) -> None:
        pid = message.msg_src
        with self._lock:
            procedure = self._procedures.get(pid)
            if procedure is None:
                problem = f"a change of procedure {pid}, which is not known, to {message.new_state.name}"
            elif procedure.knows(message):
                problem = ""
            elif not (problem := procedure.problem_with(message)):
                self._record(procedure, message)
                return
        if problem:
            _log.error("%s", problem, extra=about(self.device, pid))
        self._recorder.acknowledge(message.number)

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
        _log.warning("%s", sentence, extra=about(self.device, pid))

    def _on_delayed(self, message: DelayMessage) -> None:
        with self._lock:
            procedure = self._procedures.get(message.msg_src)
            if procedure is not None:
                procedure.whereabouts = message.where

    def _on_loaded(self, message: ProvenanceMessage) -> None:
        with self._lock:
            procedure = self._procedures.get(message.msg_src)
            if procedure is not None:
                procedure.note_provenance(message.provenance)
            self.history.update(
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
        with self._lock:
            procedure = self._procedures.get(msg_src)
            if procedure is None:
                return
            progress = Progress.from_data(data)
            if progress is None:
                self._note_misreport(procedure, data)
                return
            procedure.progress = progress
            self._commands.progressed(msg_src, progress.percent)
        self.bus.publish(topics.procedure.lifecycle.progress, msg_src=msg_src, progress=progress, time=time)

    def _note_misreport(self, procedure: Procedure, data: Mapping[str, Any]) -> None:
        """Say once for each procedure that its progress is none: it may report thousands of times a second."""
        if not procedure.misreports:
            procedure.misreports = True
            text = "procedure %d reports progress as %.300r, which is none; it is ignored"
            _log.warning(text, procedure.id, data, extra=about(self.device, procedure.id))

    # -- the steps of the use cases; but for `_find`, `_find_abort` and `_is_past` the lock is held

    def _find(self, script: ExecutableScript) -> str:
        """Return a script's path, as `find_script` does.  A file system may hang: the lock is not held."""
        self._manager.check_connected()
        return self._look_for(script, self._finder)

    def _find_abort(self, script: ExecutableScript) -> Found:
        """Return where the abort script is, or why that is not known; what else is looked for does not matter to it."""
        try:
            found = Found(script, self._look_for(script, self._abort_finder))
        except OetError as error:  # Stop is never refused
            return Found(script, "", error)
        with self._lock:
            if self._abort.script is script:
                self._abort.path = found.path
        return found

    def _locate(self, script: ExecutableScript) -> str:
        """Return the path of a script that is to be checked; its process finds out whether it is Python."""
        return self._look_for(script, self._finder, locate_script)

    def _look_for(
        self,
        script: ExecutableScript,
        finder: Finder,
        find: Callable[[ExecutableScript, Settings], str] | None = None,
    ) -> str:
        settings, find = self.settings, find or find_script
        if isinstance(script, GitScript):  # its process looks for it
            return find(script, settings)
        place = place_of(getattr(script, "path", ""), settings.script_roots)
        return finder.find(script.script_uri, lambda: find(script, settings), place)

    def _follow(
        self,
        stopped: Procedure,
        cmd: StopProcessCommand,
        found: Found | None,
        caller: Caller | None,
        command: str,
        time: float,
    ) -> list[ProcedureSummary]:
        return self._abort.follow(
            stopped,
            cmd.run_abort,
            found,
            lambda found, stopped: self._prepare_abort(found, stopped, caller, command, time or clock.time()),
        )

    def _prepare(
        self,
        command: str,
        cmd: PrepareProcessCommand,
        path: str,
        caller: Caller | None,
        time: float,
        *,
        abort_of: int | None = None,
    ) -> Procedure:
        """Take the id, keep the creation, and ask for the launch: in this order, straight down."""
        if abort_of is None:
            self._procedures.check_room(self.settings.max_procedures)
        request = _request(command, caller, time)
        if abort_of is None:
            self._command_requests.check_room(request)
        procedure = Procedure(self._summary(cmd, path, request), abort_of=abort_of)
        self._procedures.add(procedure)
        if abort_of is None:
            self._command_requests.begin(request, procedure.id)
        self._recorder.enter(procedure, ProcedureState.CREATING, request.time, None)
        which = f"; {brief(getattr(cmd.script, 'script_uri', ''))}" if caller is not None and caller.via else ""
        self._audit.keep(command, caller or Caller(), procedure.id, f"accepted{which}", request.time)
        # Should everything die now, somebody has to know that its script may have begun to load.
        self._await_history()
        self._launch(procedure, cmd, path)
        return procedure

    def _await_history(self) -> None:
        """Wait a moment until what happened is on record; not again and again where that is in vain."""
        if clock.monotonic() < self._impatient_until:
            return
        if not self.history.wait(_DATABASE_PATIENCE):
            self._impatient_until = clock.monotonic() + _IMPATIENCE

    def _summary(self, cmd: PrepareProcessCommand, path: str, request: RequestRecord) -> ProcedureSummary:
        pid = self.history.next_id()
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

    def _launch(self, procedure: Procedure, cmd: PrepareProcessCommand, path: str) -> None:
        pid = procedure.id
        output = str(self.output.path(pid)) if self.output is not None else ""
        folder = str(self.output.run_folders.path(pid)) if self.output is not None else ""
        self._manager.launch(
            load_of(
                pid,
                cmd.script,
                cmd.init_args,
                self.settings,
                path=path,
                run_id=procedure.summary.run_id,
                context=self.script_context.as_data(),
                output=output,
                folder=folder,
            )
        )

    def _prepare_abort(
        self, found: Found, stopped: Procedure, caller: Caller | None, command: str, time: float
    ) -> Procedure:
        """Prepare the abort script, and have it start when the procedure has ended that is being stopped.

        Under the lock: a second Stop must find that this one is followed already.
        """
        self._manager.check_connected()
        cmd = PrepareProcessCommand(found.script, ProcedureInput(subarray_id=self.settings.subarray_id))
        # Clients know it by this Stop, whichever button was pressed for it.
        asked_by = dataclasses.replace(caller, via="") if caller is not None else None
        abort = self._prepare(command, cmd, found.path, asked_by, time, abort_of=stopped.id)
        abort.waits_for_turn = True
        self._start(abort, ArgCapture("main", ProcedureInput(), clock.time()), force=True, after=stopped.id)
        return abort

    def _start(
        self,
        procedure: Procedure,
        call: ArgCapture,
        *,
        force: bool,
        after: int | None = None,
        command_uid: str = "",
    ) -> None:
        already_waiting = procedure.queued_starts + procedure.is_starting
        self._commands.note_start(procedure.id, Started(call.fn, command_uid), already_waiting)
        procedure.note_start(call)
        self._abort.notice = ""
        self._manager.run(
            procedure.id,
            call=call.fn,
            run_args=call.fn_args,
            force_start=force,
            after=after,
        )
        self.history.add_call(procedure.id, StoredCall(call.fn, call.fn_args.as_data(), call.time))

    def _note_request(
        self,
        procedure: Procedure,
        command: str,
        caller: Caller | None,
        answer: str = "accepted",
        time: float = 0.0,
    ) -> None:
        request = _request(command, caller, time)
        procedure.note_request(request)
        self._audit.keep(command, caller or Caller(), procedure.id, answer, request.time)

    @property
    def _lock(self) -> threading.RLock:
        return self._procedures.lock

    def _uri_of(self, pid: int) -> str:
        return f"{self._uri()}#{pid}"

    def _to_be_stopped(self, pid: int | None) -> Procedure:
        if pid is not None:
            return self._get(pid)
        procedure = to_be_stopped(self._procedures.living)
        about_it = about(self.device, procedure.id, procedure.summary.run_id)
        _log.info("a Stop without an id means procedure %d", procedure.id, extra=about_it)
        return procedure

    def _get(self, pid: int) -> Procedure:
        return self._procedures.get(pid) or self._unknown(pid)

    def _is_past(self, pid: int) -> bool:
        """Say whether a procedure has left the attributes for the durable history; the lock is not held."""
        if self._procedures.get(pid) is not None:
            return False
        return bool(self.history.procedures([pid], 0)) or self._unknown(pid)

    def _unknown(self, pid: int) -> NoReturn:
        raise UnknownProcedureError(f"there is no procedure {pid} on {self.device or 'this device'}")


def _request(command: str, caller: Caller | None, time: float) -> RequestRecord:
    caller = caller or Caller()
    return RequestRecord(caller.via or command, caller.client, caller.user, time or clock.time())
