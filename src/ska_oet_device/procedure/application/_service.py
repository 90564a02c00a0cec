"""The use cases of script execution.

Everything here runs in the device server process: requests in the threads of Tango, changes in
the thread of the link.  One lock guards the procedures; it is never held while an event is pushed.
"""

from __future__ import annotations

import itertools
import threading
import time as clock
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...config import Settings
from ...errors import InvalidArgumentError, InvalidStateError, NotAllowedError
from ...event import Bus, topics
from ..domain import ProcessManager, load_of
from ..environment import EnvironmentInfo
from ..history import LifecycleEvent, MemoryHistory, StoredRequest
from ..messages import Load
from ..output import OutputFiles, Page
from ..script import ExecutableScript, ProcedureInput
from ._abort import AbortScript
from ._aborting import Aborter
from ._admin import AdminMode
from ._audit import Audit
from ._changes import ChangeRecorder
from ._checks import Checks
from ._environments import Environments
from ._listener import Listener
from ._lrc import LongRunningCommands, TaskStatus
from ._lrc_requests import CommandRequests
from ._lrc_tracker import CommandTracker
from ._making import Maker, request_of
from ._meant import to_be_started
from ._model import (
    ArgCapture,
    Caller,
    CheckCommand,
    CheckReport,
    Notices,
    PrepareProcessCommand,
    ProcedureSummary,
    Progress,
    ScriptContext,
    Snapshot,
    StartProcessCommand,
    StopProcessCommand,
)
from ._past import HistoryQuery, Past
from ._procedures import Procedures
from ._restore import Restorer
from ._script_finder import ScriptFinder
from ._script_list import ScriptList
from ._selecting import Selector
from ._selection import KeptSelection, Selection
from ._stopping import Stopper

_MOST_NEW_EVENTS = 1000


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
        self._uri = uri
        self.bus = bus = bus or Bus()
        self.history = history = history or MemoryHistory(device)
        self.output = output
        self.scripts = ScriptList()
        self.script_context = ScriptContext(wait_for_qa_ready, self._settings.subarray_id)
        self.admin_mode = AdminMode.ONLINE
        self.elsewhere = ""
        """Why another server executes this device's scripts, in a sentence; "" while this one does."""
        self._procedures = known = Procedures(lambda: self.settings.history_length)
        self._manager = manager = ProcessManager(known.states, known.lock, bus=bus, next_id=history.next_id)
        self._audit = audit = Audit(history)
        self._commands = commands = CommandTracker()
        self._requests = requests = CommandRequests(commands, known, history, bus, device)
        recorder = ChangeRecorder(known, history, bus, device, commands)
        self._restorer = Restorer(known, history, recorder, device, self._uri_of)
        self._past = past = Past(known, history, device)
        self._finder = finder = ScriptFinder(lambda: self.settings)
        self._environments = Environments(lambda: self.settings)
        self._checks = Checks(bus, device, lambda: self.settings, finder.locate)
        self._selection = KeptSelection(selection)
        self._selector = Selector(self._selection, self.scripts, finder, known, audit)
        self._abort = abort = AbortScript(abort_script, known, finder, device)
        self._maker = maker = Maker(
            known, recorder, history, audit, commands, requests, manager, self._load_of, self._uri_of
        )
        self._stopper = Stopper(known, past, abort, maker, manager, audit, lambda: self.settings, device)
        self._aborter = Aborter(known, self._stopper, commands, requests, audit)
        self._listener = Listener(known, recorder, history, abort, commands, manager, audit, bus, device)
        operator = topics.operator.wait_for_qa_ready
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
        self._abort.look_for()

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
        self._check_in_use()
        path = self._find(cmd.script)
        with self._lock:
            self._procedures.check_room(self.settings.max_procedures)
            return self._maker.make("Prepare", cmd, path, caller, clock.time()).summary

    def start(self, cmd: StartProcessCommand, caller: Caller | None = None) -> ProcedureSummary:
        """Start execution of a prepared procedure; without an id, of the newest that is READY.

        :param caller: one that has come by StartScript has a long running command
        :raises UnknownProcedureError: no such procedure
        :raises InvalidStateError: it is not READY, and `force_start` is not set; or it is not clear which one is meant
        :raises BusyError: another procedure has the turn, or an abort script has the next
        :raises TooManyError: too many starts are waiting for their turn
        :raises NotAllowedError: the device is not in use
        """
        self._check_in_use()
        pid = cmd.process_uid
        if pid is not None and self._past.has_left(pid):
            raise InvalidStateError(f"procedure {pid} has ended long ago")
        with self._lock:
            call = ArgCapture(cmd.fn_name, cmd.run_args, clock.time())
            living = self._procedures.living
            procedure = self._past.one_here(pid) if pid is not None else to_be_started(living, force=cmd.force_start)
            procedure.check_start(force=cmd.force_start)
            self._procedures.check_turn(procedure)
            procedure.check_queue()
            self._procedures.check_waiting(call)
            request = request_of("Start", caller, call.time)
            self._requests.check_room(request)
            uid = self._requests.begin(request, procedure.id)
            self._maker.call(procedure, call, force=cmd.force_start, command_uid=uid)
            self._maker.note_request(procedure, "Start", caller, time=call.time)
            summary = procedure.summary
        if uid:
            self._maker.await_history()  # whoever has a uid is told its end, whatever dies
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
        self._check_in_use()
        path = self._find(cmd.script)
        with self._lock:
            if only_if_free:
                self._procedures.check_free()
            call = ArgCapture(fn_name, run_args, clock.time())
            self._procedures.check_waiting(call)
            self._procedures.check_room(self.settings.max_procedures)
            procedure = self._maker.make("Run", cmd, path, caller, call.time)
            uid = self._requests.uid_of(request_of("Run", caller, call.time), procedure.id)
            self._maker.call(procedure, call, force=True, command_uid=uid)
            return procedure.summary

    def abort(self, caller: Caller | None = None) -> str:
        """Stop all that is under way: what has the turn, and what long running commands wait for.

        The abort script follows what is stopped last, which is what has the turn.  Never refused; returns the uid of
        the long running command, which finishes when all has ended, the abort script too.
        """
        uid = self._aborter.abort(caller)
        self._maker.await_history()  # whoever has a uid is told its end, whatever dies
        return uid

    def stop(
        self, cmd: StopProcessCommand, caller: Caller | None = None, *, only_if_alive: bool = False
    ) -> list[ProcedureSummary]:
        """Stop a procedure in any state, optionally running a second script once it has ended.

        Never refused while the process lives; harmless when repeated or when it has ended.  Without an id the
        active one is stopped.

        :param only_if_alive: one that has ended is refused: whoever has chosen it before may mean another one now
        :return: the summary of the abort script, if one was started
        :raises UnknownProcedureError: no such procedure
        :raises InvalidStateError: no id, and it is not clear which one is meant; or `only_if_alive`, and it has ended
        """
        return self._stopper.stop(cmd, caller, only_if_alive=only_if_alive)

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
        return self._past.summarise(pids)

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

    def close_selection(self, seconds: float) -> None:
        """Wait until what is selected is on the disk, or cannot be, at most so long; this is the end."""
        self._selection.close(seconds)

    def list_scripts_again(self) -> None:
        """Have the list of scripts follow what lies below ScriptRoots.  Returns at once; to be called once a second."""
        self.scripts.look_again(self.settings.script_roots)

    def select_script(self, script: ExecutableScript | None, caller: Caller | None = None) -> None:
        """Select a script; None: no script.

        One that is listed is taken as it is, any other has to be there.

        :raises ScriptNotFoundError, NotAllowedError, InvalidArgumentError: it could not be prepared
        """
        self._selector.script(script, caller)

    def select_arguments(self, text: str, caller: Caller | None = None) -> None:
        """Select the arguments of what is run next, as JSON text that has been checked."""
        self._selector.arguments(text, caller)

    def select_procedure(self, process_uid: int, caller: Caller | None = None) -> None:
        """Select a procedure that is in the attributes; 0: the active one, whichever that is.

        :raises UnknownProcedureError: there is none
        """
        self._selector.procedure(process_uid, caller)

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

    def _check_in_use(self) -> None:
        """See that scripts may be prepared and started here.

        :raises NotAllowedError: the device is not in use, or another server has it
        """
        self.admin_mode.check()
        if self.elsewhere:
            raise NotAllowedError(self.elsewhere)

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
                self._procedures.abort_failure,
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
        self._requests.take_up()

    def recall(self) -> dict[int, str]:
        """Take up what a history that has come late knows; returns the run ids of those that have not ended.

        :raises HistoryError: it cannot be read all the same
        """
        left = self._restorer.recall(self.settings.history_length)
        self._requests.take_up()
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

    # -- what the collaborators ask of the settings

    def _load_of(self, summary: ProcedureSummary, cmd: PrepareProcessCommand, path: str) -> Load:
        """Return the message that has a procedure launched."""
        output = self.output
        return load_of(
            summary.id,
            cmd.script,
            cmd.init_args,
            self.settings,
            path=path,
            run_id=summary.run_id,
            context=self.script_context.as_data(),
            output=str(output.path(summary.id)) if output is not None else "",
            folder=str(output.run_folders.path(summary.id)) if output is not None else "",
        )

    def _find(self, script: ExecutableScript) -> str:
        """Return a script's path, as `find_script` does.  A file system may hang: the lock is not held."""
        self._manager.check_connected()
        return self._finder.find(script)

    @property
    def _lock(self) -> threading.RLock:
        return self._procedures.lock

    def _uri_of(self, pid: int) -> str:
        return f"{self._uri()}#{pid}"
