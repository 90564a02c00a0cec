"""One procedure as main sees it: its worker, the states it enters, and their deadlines."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...errors import OetError
from ...mptools import (
    Children,
    EventLoop,
    ExitStatus,
    Frame,
    NotPlainError,
    WorkerHandle,
    WorkerPool,
)
from ..messages import (
    LISTENING,
    PUBSUB,
    Announcement,
    AskDelay,
    CheckDone,
    ContextChanged,
    Delay,
    DelayMessage,
    EnvironmentReady,
    FilledIn,
    Finished,
    LifecycleMessage,
    Load,
    ProvenanceMessage,
    Run,
    RunFunction,
    ScriptLoaded,
    StateEntered,
    to_frame,
)
from ..script_message import check_said, label_of
from ..state import ProcedureState, may_follow
from ..turns import Claim, Hold
from ._allowance import Allowance
from ._deadline import Deadline
from ._delay import DelayWatch
from ._ending import Ending
from ._environment_pools import EnvironmentPools
from ._guard import GuardedLoop, guarded
from ._orphans import Undertaker
from ._output import Output
from ._provenance import Provenance
from ._recorder import Recorder
from ._shared_memory import SharedMemoryWatch
from ._worker_messages import Told, read_told, require
from ._workers import Workers

_log = logging.getLogger(__name__)

Key = tuple[str, int]  # device and id of a procedure

_FIRST_WORD_PATIENCE = 5.0  # seconds from the request to the worker's first word, which takes some milliseconds
_LARGEST_BACKLOG = 8 * 1024 * 1024  # bytes of messages kept for a script that does not read them
_LONGEST_FAULT = 1000  # characters of an exception's text in a reason
_CLEAN_EXIT = ExitStatus(0, None)

_ONCE = (ProcedureState.PREP_ENV, ProcedureState.LOADING)
"""What is entered once at most: what main keeps of a procedure, and tells of it, grows by what is asked for alone."""

_CALLS = (ProcedureState.INITIALISING, ProcedureState.RUNNING)
"""The states in which a function is being called."""

_BEFORE_INIT = (ProcedureState.CREATING, ProcedureState.IDLE, *_ONCE)

_FUNCTIONS = {ProcedureState.INITIALISING: "init"}
"""The function that begins with a state, where it is always the same."""


class Announcer(Protocol):
    """What is said to the device server; main_loop numbers and keeps it until acknowledged."""

    def announce(self, announcement: Announcement) -> None: ...

    def tell(self, message: DelayMessage | CheckDone) -> None:
        """Tell what need not be kept for a device server that is not there."""

    def pubsub(self, frame: bytes, *, waits: bool = True) -> bool:
        """Pass a script's message on; False if the device server takes no more for now.

        :param waits: whether the script waits then; what one says that does not may be dropped
        """


class Neighbourhood(Protocol):
    """What a script tells and asks where others are concerned, too."""

    def pass_on(self, script: SupervisedScript, frame: Frame) -> None:
        """The script has published a message."""

    def listens(self, script: SupervisedScript) -> None:
        """The script wants to hear what others publish."""

    def became_ready(self, script: SupervisedScript) -> None:
        """The script is READY, and no function of it runs."""

    def ended(self, script: SupervisedScript) -> None:
        """The procedure has ended, or is UNKNOWN, and that is announced."""


@dataclass(frozen=True)
class Shared:
    """What all scripts of a server have in common."""

    loop: EventLoop
    children: Children
    pool: WorkerPool
    undertaker: Undertaker
    environments: EnvironmentPools
    announcer: Announcer
    memory_watch: SharedMemoryWatch
    recorder: Recorder
    neighbourhood: Neighbourhood


class SupervisedScript:
    """One procedure: from the request until its end is announced.  In main's loop.

    It has no worker while it waits for one; its worker has `ended` while what that left behind is cleaned up;
    its state is terminal when it is over.

    What is `guarded` is what others call.  A fault in it ends this procedure, and is not the caller's.
    """

    _patience_for_worker = 0.0
    """Seconds that it has for getting a worker, however short LoadTimeout is."""

    def __init__(self, request: Load, shared: Shared) -> None:
        self.key: Key = (request.device, request.process_uid)
        self.name = f"procedure {request.device}#{request.process_uid}"
        self.label = label_of(*self.key)
        self._request = request
        self._state = ProcedureState.CREATING
        self._shared = shared
        self._workers = Workers(shared.pool, shared.environments, self._adopt)
        self._loop = GuardedLoop(shared.loop, self)
        self._delays = DelayWatch(self._loop, self._ask_delay, self._tell_delay)
        self._ending = Ending(
            self._loop, shared.children, self._workers, request.grace, self._unkillable, lambda: self._delays.where
        )
        self._output = Output(self._loop, shared.recorder, request.output, request.max_output)
        self._deadline = Deadline(self._loop, request.timeouts, self._is_late)
        self._entered: dict[tuple[int, float], None] = {}  # in their order
        self._dropped_starts: list[tuple[float, str]] = []
        self._runs: deque[RunFunction] = deque()
        self._is_starting = False
        self._is_called = False
        self._called = self._function = ""
        self._listens = False
        self._provenance = Provenance(self._announce_provenance)
        self._dropped_messages = 0
        self._faults = 0
        self._is_told = False
        self._first_word: Allowance | None = None
        self._note_state(ProcedureState.CREATING, time.time())

    @guarded
    def begin(self) -> None:
        """Have a worker load the script."""
        self._deadline.enter(self._state, self._patience_for_worker)
        self._workers.take()
        limit = self._request.max_memory
        self._shared.memory_watch.add(self, limit, lambda: self._workers.pid, lambda: self._is_ending, self._fail)

    def description(self) -> dict[str, Any]:
        """Return what is known of this procedure, as plain data."""
        request = self._request
        return {
            "device": request.device,
            "process_uid": request.process_uid,
            "run_id": request.run_id,
            "script": request.script,
            "path": request.path,
            "os_pid": self._workers.pid,
            "states": list(self._entered),
            "dropped": list(self._dropped_starts),
        }

    # -- what its worker says

    def _adopt(self, worker: WorkerHandle) -> None:
        """Listen to a worker, whatever comes: its end is the last that is heard of it."""
        worker.on_frame = self._take_frame
        worker.on_end = self._reaped
        worker.on_garbage = self._break
        worker.on_fault = self.fail_internally
        self._listens = False
        self._load(worker)

    @guarded
    def _load(self, worker: WorkerHandle) -> None:
        request, environment = self._request, self._workers.environment
        if environment is not None:
            request = replace(request, source=environment.source)
        pipe = self._output.begin()
        try:
            worker.send(to_frame(request), pipe)
        finally:
            if pipe is not None:
                os.close(pipe)
        self._first_word = Allowance(self._loop, _FIRST_WORD_PATIENCE, lambda: self._says_nothing(worker))

    def _says_nothing(self, worker: WorkerHandle) -> None:
        """End a worker that does not take its script up, since it has been stopped: another one follows."""
        if worker is self._workers.current and self._has_not_begun:
            _log.error("worker %s does not take %s up: it is replaced", worker.pid, self.name)
            worker.end(signal.SIGKILL)

    @guarded
    def _take_frame(self, frame: Frame) -> None:
        self._shared.pool.note_activity()
        if self._first_word is not None:
            self._first_word.cancel()
            self._first_word = None
        if self._state.is_terminal:
            return
        try:
            if frame.tag == PUBSUB:
                check_said(frame.payload)
                self._shared.neighbourhood.pass_on(self, frame)
            elif frame.tag == LISTENING:
                require(not self._listens, "it listens already")
                self._listens = True
                self._shared.neighbourhood.listens(self)
            else:
                self._take_message(read_told(frame.payload))
        except NotPlainError as error:
            self._break(str(error))

    def _take_message(self, message: Told) -> None:
        """Believe a message of the worker, as often as it can be so in the life of a procedure.

        :raises NotPlainError: it cannot be so now
        """
        if isinstance(message, Delay):
            self._delays.note(message.where)
            return
        require(self._ending.finished is None, "it goes on behind its end")
        if isinstance(message, StateEntered):
            self._enter(message)
        elif isinstance(message, EnvironmentReady):
            self._hold_environment(message)
        elif isinstance(message, ScriptLoaded):
            require(self._state is ProcedureState.LOADING, "no script is being loaded")
            self._provenance.load(message.provenance)
        elif isinstance(message, FilledIn):
            require(self._state in _CALLS, "no function has just begun")
            self._provenance.fill_in(self._function, message.arguments)
        else:
            require(isinstance(message, Finished), "nothing of it is being checked")
            assert isinstance(message, Finished)
            is_complete = message.outcome == "completed"
            require(not is_complete or self._main_has_returned, "it completes before main has returned")
            if not is_complete:
                self._deadline.cancel()  # there is one for the end
                self._delays.begin(self._request.grace)
            self._ending.note_finished(message)

    def _announce_provenance(self, provenance: dict[str, Any]) -> None:
        device, uid = self.key
        self._shared.announcer.announce(ProvenanceMessage(uid, provenance, device))

    @guarded
    def _break(self, reason: str) -> None:
        """End a procedure whose worker says what it cannot say: that it has completed is not believed either."""
        self._ending.distrust()
        self._listens = False
        if self._workers.current is not None:
            self._workers.current.silence()
        self.end(ProcedureState.FAILED, f"its pipe is broken: {reason}")

    def _hold_environment(self, ready: EnvironmentReady) -> None:
        """Keep the environment that this worker has made; the worker ends now, and another one goes on.

        :raises NotPlainError: none is being made
        """
        is_new = self._state is ProcedureState.PREP_ENV and self._workers.environment is None
        require(is_new, "no environment is being made")
        if self._is_ending:
            return
        try:
            self._workers.hold(ready)
        except (OetError, OSError) as error:
            self.end(ProcedureState.FAILED, str(error))

    # -- its states

    def _enter(self, message: StateEntered) -> None:
        """Follow the worker into a state.

        :raises NotPlainError: it cannot be there now
        """
        state = ProcedureState(message.state)
        # That it stays READY is for main to say.
        can_be = state is not self._state and may_follow(self._state, state)
        require(can_be, f"{state.name} cannot follow {self._state.name}")
        require(state is not ProcedureState.RUNNING or self._is_starting, "it is RUNNING and was not told to")
        require(state not in _ONCE or not self._has_been(state), f"it is {state.name} for the second time")
        self._state = state
        function = self._called if state is ProcedureState.RUNNING else _FUNCTIONS.get(state)
        self._function = function or self._function
        self._is_starting = False
        self._provenance.begin_call()
        if self._main_has_returned:
            self._runs.clear()  # nothing is called behind main; the end, which follows, is what tells it
            self._deadline.outlive_main()
            if not self._is_ending:
                self._delays.begin()
        elif not self._is_ending:
            self._deadline.enter(state)
        when = self._note_state(state, message.time)
        self._announce(state, when, os_pid=self._workers.pid, fn_name=function)
        if state is ProcedureState.READY:
            self._shared.neighbourhood.became_ready(self)

    def _has_been(self, state: ProcedureState) -> bool:
        return any(entered == int(state) for entered, _ in self._entered)

    def _note_state(self, state: ProcedureState, claimed: float) -> float:
        """Note a state, and return when it was entered: state and time together tell a change from its repetition.

        Nobody has entered it in the future.
        """
        when = min(claimed, now := time.time())
        if (int(state), when) in self._entered:
            when = now
        self._entered[int(state), when] = None
        return when

    def _announce(self, state: ProcedureState, when: float, **details: Any) -> None:
        device, uid = self.key
        self._shared.announcer.announce(LifecycleMessage(uid, state, device, when, **details))

    def _is_late(self, reason: str) -> None:
        wants = self._workers.wants or (self._delays.where if self._main_has_returned else "")
        if self._ending.finished is not None:
            self._ending.distrust()  # it has completed, but not in time
        self.end(ProcedureState.FAILED, f"{reason}: {wants}" if wants else reason)

    def _ask_delay(self) -> None:
        if self._workers.current is not None and not self._workers.current.ended:
            self._workers.current.send(to_frame(AskDelay()))

    def _tell_delay(self, where: str) -> None:
        device, uid = self.key
        self._shared.announcer.tell(DelayMessage(uid, where, device))

    # -- its functions, at its turn

    @guarded
    def ask(self, request: RunFunction) -> None:
        """Have a function called at the procedure's turn; not if it has ended, which is announced or soon will be."""
        if not self._is_ending and self._ending.finished is None and not self._main_has_returned:
            self._runs.append(request)

    @property
    def _main_has_returned(self) -> bool:
        """Whether the process is about to end by itself."""
        return self._state is ProcedureState.READY and self._function == "main"

    @property
    def due_run(self) -> RunFunction | None:
        """What is to be called next, if the procedure is ready for that."""
        is_free = self._state is ProcedureState.READY and not self._is_starting and not self._is_ending
        return self._runs[0] if is_free and self._runs else None

    @property
    def claim(self) -> Claim | None:
        """What it has to do with the turn of its device."""
        hold = Hold.of(
            drives=self._state is ProcedureState.RUNNING or self._main_has_returned or self._is_told,
            is_starting=self._is_starting,
            is_called=self._is_called,
            is_ending=self._is_ending or self._ending.finished is not None or self._main_has_returned,
            is_reserved=any(run.after is not None for run in self._runs),
            is_unknown=self.is_unknown,
        )
        return Claim(self.key[1], hold, tuple(self._ending.survivors)) if hold is not None else None

    @property
    def is_unknown(self) -> bool:
        """Whether what is left of it cannot be killed, and that is announced."""
        return self._state is ProcedureState.UNKNOWN

    @property
    def is_told(self) -> bool:
        """Whether its end is announced for good; after a fault of this program its process may still be there."""
        return self._is_told

    @property
    def is_called(self) -> bool:
        """Whether a function of it has been called at some time."""
        return self._is_called

    @guarded
    def call_next(self) -> None:
        """Call the function that is due: it is its turn."""
        run = self._runs.popleft()
        self._is_starting = self._is_called = True
        self._called = run.fn_name
        worker = self._workers.current
        assert worker is not None
        worker.send(to_frame(Run(run.fn_name, run.run_args, self._request.context, run.traceparent, run.asked)))
        self._deadline.call(run.fn_name)

    @guarded
    def drop_next(self, reason: str) -> None:
        """Tell that the start that is due is dropped: the procedure stays READY, and enters it once more."""
        self._runs.popleft()
        when = self._note_state(ProcedureState.READY, time.time())
        self._dropped_starts.append((when, reason))
        self._announce(ProcedureState.READY, when, reason=reason, os_pid=self._workers.pid)

    @guarded
    def change_context(self, change: ContextChanged) -> None:
        """Have what is called from now on be given another context: `init`, too, which the worker calls by itself."""
        self._request = replace(self._request, context=change.context)
        if self._state in _BEFORE_INIT:
            self._send_unless_unread(to_frame(change))

    @guarded
    def limit_output(self, limit: int) -> None:
        """Keep so many bytes of what it prints from now on; 0: all."""
        self._output.limit(limit)

    # -- messages for it, and a device server that does not read its own

    @guarded
    def hear(self, data: bytes) -> None:
        """Send it a message, if it listens; those that it does not read are dropped."""
        if self._listens and not self._state.is_terminal:
            self._send_unless_unread(data)

    def _send_unless_unread(self, data: bytes) -> None:
        worker = self._workers.current
        if worker is None or worker.ended:
            return
        if worker.channel.pending > _LARGEST_BACKLOG:
            if not self._dropped_messages:
                _log.warning("%s does not read its messages: they are dropped", self.name)
            self._dropped_messages += 1
            return
        worker.send(data)

    @property
    def can_wait(self) -> bool:
        """Whether it may be paused: one that is to end may not, lest it have no time to do so."""
        return not self._is_ending

    @guarded
    def pause(self) -> None:
        """Read no more from it, unless it is to end."""
        if self._workers.current is not None and self.can_wait:
            self._workers.current.pause()

    @guarded
    def resume(self) -> None:
        """Read from it again."""
        if self._workers.current is not None:
            self._workers.current.resume()

    # -- its end

    @property
    def _is_ending(self) -> bool:
        """Whether it is decided that it ends, or it has ended."""
        return self._ending.fate is not None

    @guarded
    def stop(self, reason: str, stop_reason: str = "") -> None:
        """End it because somebody has asked for that, unless it has ended by itself.

        :param stop_reason: why, in the words of whoever has asked; the first one's are kept
        """
        if self._workers.pid is not None:
            self._shared.children.reap(self._workers.pid)  # its death may be known to the kernel alone
        if self.is_unknown:
            self._ending.kill_again()
        if stop_reason and not self._is_ending:
            self._ending.stop_reason = stop_reason
            reason = f"{reason}: {stop_reason}"
        self.end(ProcedureState.STOPPED, reason)

    def end(self, state: ProcedureState, reason: str) -> None:
        """Begin to end it, unless that is so already: SIGTERM now, SIGKILL after the grace period."""
        if self._is_ending:
            return
        self._runs.clear()
        self._deadline.cancel()
        self.resume()
        self._ending.begin(state, reason)
        self._delays.begin(self._request.grace)
        if self._workers.current is None:
            self._conclude(None, [])

    def _fail(self, reason: str) -> None:
        self.end(ProcedureState.FAILED, reason)

    @guarded
    def kill(self, because: str) -> None:
        """End its process, if there is one, without any more grace."""
        self._ending.kill(because)

    @guarded
    def lose_environment(self, folder: str, reason: str) -> None:
        """No worker can be made for an environment: end it if it waits for one of these."""
        environment = self._workers.environment
        if environment is not None and environment.folder == folder and self._workers.current is None:
            self.end(ProcedureState.FAILED, reason)

    def _unkillable(self, reason: str, status: ExitStatus | None = None, reaped: Sequence[int] = ()) -> None:
        """Tell that it is UNKNOWN, unless its end is told: that follows when what is left of it has gone.

        It is told once more when the worker, which was what could not be killed, has gone and has left something behind
        that cannot be killed either: whoever is to kill it must know what it is.
        """
        _log.critical("%s: %s", self.name, reason)
        if not self._is_told:
            self._finish(ProcedureState.UNKNOWN, reason, status, reaped)

    @guarded
    def _reaped(self, status: ExitStatus) -> None:
        """The worker has been reaped; see to what it left behind, then announce the end, or go on with another one."""
        worker = self._workers.current
        assert worker is not None
        if self._has_not_begun and self._workers.replace_lost():
            _log.warning("a spare worker ended with %s when %s took it", status, self.name)
            return
        self._deadline.cancel()
        self._delays.end()
        if not self._goes_on_after(status):
            self._ending.settle(status, self._state)  # a Stop that comes while things are cleaned up changes nothing
        self._clean_up(
            worker,
            lambda reaped, survivors: self._buried(status, reaped, survivors),
            lambda reaped: self._gone(status, reaped),
        )

    def _clean_up(
        self,
        worker: WorkerHandle,
        done: Callable[[list[int], list[int]], None],
        on_gone: Callable[[list[int]], None] = lambda reaped: None,
    ) -> None:
        """Kill what a worker, which has ended, has left behind; see Undertaker.bury."""
        assert worker.pid is not None
        self._shared.undertaker.bury(worker.pid, self._request.run_id, done, on_gone)

    @property
    def _has_not_begun(self) -> bool:
        """Whether none of the script's code has run."""
        return self._state is ProcedureState.CREATING and not self._is_ending and self._ending.finished is None

    def _goes_on_after(self, status: ExitStatus) -> bool:
        """Whether a worker of the environment that this one has made takes the script over."""
        is_done = status == _CLEAN_EXIT and self._ending.finished is None
        return self._workers.has_successor and is_done and not self._is_ending

    @guarded
    def _buried(self, status: ExitStatus, reaped: list[int], survivors: list[int]) -> None:
        """Nothing is left of the worker: announce the end, or have one of the environment take the script over.

        :param survivors: what is left all the same
        """
        if self._is_told:
            self._leave(survivors)
        elif survivors:
            if not self._is_ending:
                self._ending.settle(status, self._state)
            self._unkillable(self._ending.note_survivors(survivors), status, reaped)
        elif self._is_ending:
            self._conclude(status, reaped)
        else:
            self._workers.take()
            self._deadline.enter(self._state)

    @guarded
    def _gone(self, status: ExitStatus, reaped: list[int]) -> None:
        """What could not be killed has gone."""
        self._conclude(status, reaped)

    def _conclude(self, status: ExitStatus | None, reaped: Sequence[int]) -> None:
        """Announce how it has ended: nothing is left of it."""
        if self._is_told:
            self._leave()
            return
        if self.is_unknown:
            self._ending.note_gone()
        assert self._ending.fate is not None
        self._workers.leave()
        fate = self._ending.fate
        self._output.when_written(lambda: self._finish(*fate, status, reaped))

    def _finish(self, state: ProcedureState, reason: str, status: ExitStatus | None, reaped: Sequence[int]) -> None:
        if self._is_told:  # a fault has ended it while its last words were on their way to the file
            return
        self._state = state
        when = self._note_state(state, time.time())
        record = self._ending.exit_record(reason, status, reaped)
        stacktrace = self._ending.stacktrace
        self._announce(state, when, reason=reason, stacktrace=stacktrace, os_pid=self._workers.pid, exit=record)
        self._is_told = state.is_final
        if self._is_told:
            self._output.release()
        self._shared.neighbourhood.ended(self)

    # -- a fault of ours

    def fail_internally(self, error: Exception) -> None:
        """End it for a fault of this program: as any other, or, should that fail, too, in ever simpler ways."""
        _log.critical("%s: a fault of this program", self.name, exc_info=error)
        if self._is_told:
            if self._workers.pid is None:  # else it is kept until its process has been reaped
                self._shared.neighbourhood.ended(self)
            return
        reason = f"internal fault of OET: {type(error).__name__}: {error}"[:_LONGEST_FAULT]
        ways = self._end_with_grace, self._end_at_once, self._let_go
        self._faults += 1
        try:
            ways[min(self._faults, len(ways)) - 1](reason)
        except Exception as another:  # what is in disorder may be what ends it
            if self._faults < len(ways):
                self.fail_internally(another)
            else:
                _log.critical("%s cannot be ended", self.name, exc_info=another)

    def _end_with_grace(self, reason: str) -> None:
        if self._is_ending or self._workers.pid is None:
            self._end_at_once(reason)
        else:
            self.end(ProcedureState.FAILED, reason)

    def _end_at_once(self, reason: str) -> None:
        self._ending.fate = ProcedureState.FAILED, reason
        if self._workers.pid is None:
            self._let_go(reason)
        else:
            self._ending.kill("its process was killed")

    def _let_go(self, reason: str) -> None:
        """Kill its process, whatever becomes of that, and tell the end; its turn is kept until the process has gone."""
        self._ending.fate = self._state, _ = ProcedureState.FAILED, reason
        if self._workers.pid is not None:
            self._shared.children.signal(self._workers.pid, signal.SIGKILL)
        if not self._is_told:
            self._is_told = True
            self._announce(self._state, time.time(), reason=reason, exit=self._ending.exit_record(reason, None, []))
        self._workers.leave()
        self._output.release()
        worker = self._workers.current
        if worker is None:
            self._shared.neighbourhood.ended(self)
        elif worker.ended:  # else that is done when it has been reaped
            self._clean_up(worker, lambda reaped, survivors: self._leave(survivors), lambda reaped: self._leave())

    def _leave(self, survivors: Sequence[int] = ()) -> None:
        """Give the turn of a procedure back whose end is told already, unless something of it survives."""
        if survivors:
            _log.critical("%s: %s", self.name, self._ending.note_survivors(survivors))
        else:
            self._shared.neighbourhood.ended(self)
