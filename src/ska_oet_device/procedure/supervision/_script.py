"""One procedure as main sees it: its worker, the states it enters, and their deadlines."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...errors import OetError
from ...mptools import (
    Children,
    EventLoop,
    ExitStatus,
    Frame,
    NotPlainError,
    Timer,
    WorkerHandle,
    WorkerPool,
    stat_of,
)
from ..messages import (
    CONTROL,
    LISTENING,
    PUBSUB,
    Announcement,
    EnvironmentReady,
    Finished,
    LifecycleMessage,
    Load,
    ProvenanceMessage,
    Run,
    RunFunction,
    ScriptLoaded,
    StateEntered,
    from_payload,
    to_frame,
)
from ..state import ProcedureState, may_follow
from ._ending import Ending
from ._environment_pools import EnvironmentPools
from ._orphans import Undertaker
from ._workers import Workers

_log = logging.getLogger(__name__)

Key = tuple[str, int]  # device and id of a procedure

_LARGEST_BACKLOG = 8 * 1024 * 1024  # bytes of messages kept for a script that does not read them
_CLEAN_EXIT = ExitStatus(0, None)

_PHASES = {
    ProcedureState.CREATING: "LoadTimeout",
    ProcedureState.PREP_ENV: "EnvironmentTimeout",
    ProcedureState.LOADING: "LoadTimeout",
    ProcedureState.INITIALISING: "InitTimeout",
    ProcedureState.RUNNING: "RunTimeout",
}


class Announcer(Protocol):
    """What is said to the device server; main_loop numbers and keeps it until acknowledged."""

    def announce(self, announcement: Announcement) -> None: ...

    def pubsub(self, frame: bytes) -> bool:
        """Pass a script's message on; False if the device server takes no more for now."""


class Neighbourhood(Protocol):
    """What a script tells and asks where others are concerned, too."""

    def pass_on(self, script: SupervisedScript, frame: Frame) -> None:
        """The script has published a message."""

    def became_ready(self, script: SupervisedScript) -> None:
        """The script is READY, and no function of it runs."""

    def ended(self, script: SupervisedScript) -> None:
        """The procedure has ended, and that is announced."""

    def others_lived(self, script: SupervisedScript, start: int) -> bool:
        """Say whether another procedure that lives was there at a time, in clock ticks since boot."""


@dataclass(frozen=True)
class Shared:
    """What all scripts of a server have in common."""

    loop: EventLoop
    children: Children
    pool: WorkerPool
    environments: EnvironmentPools
    announcer: Announcer
    neighbourhood: Neighbourhood


class SupervisedScript:
    """One procedure: from the request until its end is announced.  In main's loop.

    It has no worker while it waits for one; its worker has `ended` while what that left behind is cleaned up;
    its state is terminal when it is over.
    """

    def __init__(self, request: Load, shared: Shared) -> None:
        self.key: Key = (request.device, request.process_uid)
        self._request = request
        self._state = ProcedureState.CREATING
        self._shared = shared
        self._workers = Workers(shared.pool, shared.environments, self._load)
        self._ending = Ending(shared.loop, shared.children, self._workers, request.grace, self._unkillable)
        self._deadline: Timer | None = None
        self._entered: dict[tuple[int, float], None] = {}  # in their order
        self._dropped_starts: list[tuple[float, str]] = []
        self._runs: deque[RunFunction] = deque()
        self._is_starting = False
        self._function = ""
        self._listens = False
        self._dropped_messages = 0
        self._note_state(ProcedureState.CREATING, time.time())

    def begin(self) -> None:
        """Have a worker load the script."""
        self._set_deadline()
        self._workers.take()

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

    def lived_at(self, start: int) -> bool:
        """Say whether its process was there at a time, in clock ticks since boot, and still is."""
        pid = self._workers.pid
        stat = stat_of(pid) if pid is not None else None
        return stat is not None and stat.start <= start

    # -- what its worker says

    def _load(self, worker: WorkerHandle) -> None:
        worker.on_frame = self._take_frame
        worker.on_end = self._reaped
        worker.on_garbage = self._break
        request, environment = self._request, self._workers.environment
        if environment is not None:
            request = replace(request, source=environment.source)
        worker.send(to_frame(request))

    def _take_frame(self, frame: Frame) -> None:
        self._shared.pool.note_activity()
        if self._state.is_terminal:
            return
        if frame.tag == PUBSUB:
            self._shared.neighbourhood.pass_on(self, frame)
        elif frame.tag == CONTROL:
            self._take_message(frame)
        elif frame.tag == LISTENING:
            self._listens = True

    def _take_message(self, frame: Frame) -> None:
        try:
            message = from_payload(frame.payload)
        except NotPlainError as error:
            self._break(str(error))
            return
        if isinstance(message, StateEntered):
            self._enter(message)
        elif isinstance(message, EnvironmentReady):
            self._hold_environment(message)
        elif isinstance(message, ScriptLoaded):
            device, uid = self.key
            self._shared.announcer.announce(ProvenanceMessage(uid, message.provenance, device))
        elif isinstance(message, Finished):
            self._cancel_deadline()
            self._ending.note_finished(message)

    def _break(self, reason: str) -> None:
        """End a procedure whose worker says what it cannot say: that it has completed is not believed either."""
        self._ending.distrust()
        self.end(ProcedureState.FAILED, f"its pipe is broken: {reason}")

    def _hold_environment(self, ready: EnvironmentReady) -> None:
        """Keep the environment that this worker has made; the worker ends now, and another one goes on."""
        if self._state is not ProcedureState.PREP_ENV or self._workers.environment is not None or self._is_ending:
            return
        try:
            self._workers.hold(ready)
        except OetError as error:
            self.end(ProcedureState.FAILED, str(error))

    # -- its states

    def _enter(self, message: StateEntered) -> None:
        try:
            state = ProcedureState(message.state)
        except ValueError as error:
            self._break(str(error))
            return
        # How it ended is for main to say, and that it stays READY, too.
        if state is self._state or state.is_terminal or not may_follow(self._state, state):
            self._break(f"{state.name} cannot follow {self._state.name}")
            return
        self._state = state
        self._function = message.fn_name or self._function
        self._is_starting = False
        if self._main_has_returned:
            self._runs.clear()  # nothing is called behind main; the end, which follows, is what tells it
        when = self._note_state(state, message.time)
        self._set_deadline()
        self._announce(state, when, os_pid=self._workers.pid, fn_name=message.fn_name or None)
        if state is ProcedureState.READY:
            self._shared.neighbourhood.became_ready(self)

    def _note_state(self, state: ProcedureState, claimed: object) -> float:
        """Note a state, and return when it was entered: state and time together tell a change from its repetition."""
        when = _when(claimed)
        if (int(state), when) in self._entered:
            when = time.time()
        self._entered[int(state), when] = None
        return when

    def _announce(self, state: ProcedureState, when: float, **details: Any) -> None:
        device, uid = self.key
        self._shared.announcer.announce(LifecycleMessage(uid, state, device, when, **details))

    def _set_deadline(self) -> None:
        if self._is_ending:
            return
        self._cancel_deadline()
        limit = _PHASES.get(self._state)
        seconds = self._request.timeouts.get(limit, 0.0) if limit else 0.0
        if seconds > 0:
            reason = f"{self._state.name} took longer than {limit} ({seconds:g} s)"
            self._deadline = self._shared.loop.call_later(seconds, lambda: self.end(ProcedureState.FAILED, reason))

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # -- its functions, at its turn

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
    def has_turn(self) -> bool:
        """Whether a function of it runs, or is about to."""
        return (self._is_starting or self._state is ProcedureState.RUNNING) and self._ending.finished is None

    @property
    def awaits_an_end(self) -> bool:
        """Whether it is to run as soon as another procedure has ended, as an abort script is."""
        return any(run.after is not None for run in self._runs)

    def call_next(self) -> None:
        """Call the function that is due: it is its turn."""
        run = self._runs.popleft()
        self._is_starting = True
        worker = self._workers.current
        assert worker is not None
        worker.send(to_frame(Run(run.fn_name, run.run_args, run.context)))

    def drop_next(self, reason: str) -> None:
        """Tell that the start that is due is dropped: the procedure stays READY, and enters it once more."""
        self._runs.popleft()
        when = self._note_state(ProcedureState.READY, time.time())
        self._dropped_starts.append((when, reason))
        self._announce(ProcedureState.READY, when, reason=reason, os_pid=self._workers.pid)

    # -- messages for it, and a device server that does not read its own

    def hear(self, data: bytes) -> None:
        """Send it a message, if it listens; those that it does not read are dropped."""
        worker = self._workers.current
        if not self._listens or worker is None or worker.ended:
            return
        if worker.channel.pending > _LARGEST_BACKLOG:
            if not self._dropped_messages:
                _log.warning("procedure %s#%d does not read its messages: they are dropped", *self.key)
            self._dropped_messages += 1
            return
        worker.send(data)

    def pause(self) -> None:
        """Read no more from it, unless it is to end."""
        if self._workers.current is not None and not self._is_ending:
            self._workers.current.pause()

    def resume(self) -> None:
        """Read from it again."""
        if self._workers.current is not None:
            self._workers.current.resume()

    # -- its end

    @property
    def _is_ending(self) -> bool:
        """Whether it is decided that it ends, or it has ended."""
        return self._ending.fate is not None

    def stop(self, reason: str) -> None:
        """End it because somebody has asked for that, unless it has ended by itself."""
        if self._workers.pid is not None:
            self._shared.children.reap(self._workers.pid)  # its death may be known to the kernel alone
        self.end(ProcedureState.STOPPED, reason)

    def end(self, state: ProcedureState, reason: str) -> None:
        """Begin to end it, unless that is so already: SIGTERM now, SIGKILL after the grace period."""
        if self._is_ending:
            return
        self._runs.clear()
        self._cancel_deadline()
        self.resume()
        self._ending.begin(state, reason)
        if self._workers.current is None:
            self._conclude(None, [])

    def kill(self, because: str) -> None:
        """End its process, if there is one, without any more grace."""
        self._ending.kill(because)

    def lose_environment(self, folder: str, reason: str) -> None:
        """No worker can be made for an environment: end it if it waits for one of these."""
        environment = self._workers.environment
        if environment is not None and environment.folder == folder and self._workers.current is None:
            self.end(ProcedureState.FAILED, reason)

    def _unkillable(self, reason: str) -> None:
        _log.critical("procedure %s#%d: %s", *self.key, reason)
        self._conclude(None, [])

    def _reaped(self, status: ExitStatus) -> None:
        """The worker has been reaped; see to what it left behind, then announce the end, or go on with another one."""
        worker = self._workers.current
        assert worker is not None
        assert worker.pid is not None
        if self._died_as_spare and self._workers.replace_lost():
            _log.warning("a spare worker ended with %s when procedure %s#%d took it", status, *self.key)
            return
        self._cancel_deadline()
        if not self._goes_on_after(status):
            self._ending.settle(status, self._state)  # a Stop that comes while things are cleaned up changes nothing
        shared = self._shared
        Undertaker(
            shared.loop,
            shared.children,
            worker.pid,
            self._request.run_id,
            lambda start: shared.neighbourhood.others_lived(self, start),
            lambda reaped: self._buried(status, reaped),
        ).begin()

    @property
    def _died_as_spare(self) -> bool:
        """Whether none of the script's code has run."""
        return self._state is ProcedureState.CREATING and not self._is_ending and self._ending.finished is None

    def _goes_on_after(self, status: ExitStatus) -> bool:
        """Whether a worker of the environment that this one has made takes the script over."""
        is_done = status == _CLEAN_EXIT and self._ending.finished is None
        return self._workers.has_successor and is_done and not self._is_ending

    def _buried(self, status: ExitStatus, reaped: list[int]) -> None:
        """Nothing is left of the worker: announce the end, or have one of the environment take the script over."""
        if self._is_ending:
            self._conclude(status, reaped)
        else:
            self._workers.take()
            self._set_deadline()

    def _conclude(self, status: ExitStatus | None, reaped: list[int]) -> None:
        if self._state.is_terminal:
            return
        assert self._ending.fate is not None
        self._state, reason = self._ending.fate
        self._workers.leave()
        self._announce(
            self._state,
            time.time(),
            reason=reason,
            stacktrace=self._ending.stacktrace,
            exit=self._ending.exit_record(status, reaped),
        )
        self._shared.neighbourhood.ended(self)


def _when(claimed: object) -> float:
    """Return a time that a worker tells, or ours if that is none: scripts replace time.time, too."""
    return claimed if isinstance(claimed, float) and math.isfinite(claimed) else time.time()
