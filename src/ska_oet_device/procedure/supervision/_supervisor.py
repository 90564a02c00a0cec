"""The supervisor of all scripts of one server: what main_loop does.

It hands scripts to workers, keeps the deadlines of their phases, arbitrates who may run, ends
what is to be ended, and announces every change.  It runs in the one thread of main, never
blocks, and has the last word on how a procedure ended, since it alone sees the process end.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
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
    dumps,
    encode,
    kill_group,
    send_signal,
    stat_of,
)
from ..messages import (
    CONTROL,
    LISTENING,
    PUBSUB,
    Announcement,
    Broadcast,
    EnvironmentReady,
    Finished,
    LifecycleMessage,
    Load,
    ProvenanceMessage,
    Run,
    RunFunction,
    ScriptLoaded,
    StateEntered,
    StopProcess,
    from_payload,
    to_frame,
)
from ..state import ProcedureState, may_follow
from ..turns import Obstacle, in_the_way
from ._environment_pools import EnvironmentPools
from ._orphans import Undertaker

_log = logging.getLogger(__name__)

Key = tuple[str, int]  # device and id of a procedure

_REMINDERS_AFTER = (0.1, 0.5)  # seconds from the first SIGTERM to the next ones
UNKILLABLE_AFTER = 2.0  # seconds after SIGKILL; then the process is in an uninterruptible sleep
_MOST_WORKERS = 3  # tried for one procedure, if they die before they have read what to do
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
    """What the supervisor says to the device server; main_loop numbers and keeps it until acknowledged."""

    def announce(self, announcement: Announcement) -> None: ...

    def pubsub(self, frame: bytes) -> bool:
        """Pass a script's message on; False if the device server takes no more for now."""


class SupervisedScript:
    """One procedure as main sees it: its worker, its phase, and what is to become of it."""

    def __init__(self, request: Load) -> None:
        self.key: Key = (request.device, request.process_uid)
        self.request = request
        self.state = ProcedureState.CREATING
        self.worker: WorkerHandle | None = None
        self.started_ticks = 0
        self.cancel_take: Callable[[], None] = lambda: None
        self.deadline: Timer | None = None
        self.escalation: Timer | None = None
        self.reminders: list[Timer] = []
        self.runs: deque[RunFunction] = deque()
        self.fate: tuple[ProcedureState, str] | None = None
        self.finished: Finished | None = None
        self.signals_sent: list[str] = []
        self.listening = False
        self.starting = False
        self.function = ""
        self.dropped_messages = 0
        self.workers_lost = 0
        self.environment: EnvironmentReady | None = None
        self.continued = False
        self.broken = False
        self.over = False
        self.states: list[tuple[int, float]] = []
        self.dropped: list[tuple[float, str]] = []
        self._entered: set[tuple[int, float]] = set()
        self.note_state(int(self.state), time.time())

    def note_state(self, state: int, claimed: object) -> float:
        """Note a state, and return when it was entered: state and time together tell a change from its repetition."""
        when = _when(claimed)
        if (state, when) in self._entered:
            when = time.time()
        self._entered.add((state, when))
        self.states.append((state, when))
        return when

    def description(self) -> dict[str, Any]:
        """Return what is known of this procedure, as plain data."""
        request = self.request
        return {
            "device": request.device,
            "process_uid": request.process_uid,
            "run_id": request.run_id,
            "script": request.script,
            "path": request.path,
            "os_pid": self.pid,
            "states": list(self.states),
            "dropped": list(self.dropped),
        }

    @property
    def pid(self) -> int | None:
        return self.worker.pid if self.worker is not None else None

    @property
    def main_returned(self) -> bool:
        """Whether the process is about to end by itself."""
        return self.state is ProcedureState.READY and self.function == "main"

    def cancel_timers(self) -> None:
        for timer in (self.deadline, self.escalation, *self.reminders):
            if timer is not None:
                timer.cancel()


class ScriptSupervisor:
    """Supervises the scripts of every device of this server."""

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        pool: WorkerPool,
        announcer: Announcer,
        *,
        entry: str = "",
        imports: tuple[str, ...] = (),
    ) -> None:
        """Create a supervisor.

        :param entry: what workers of environments run; `imports` is what their templates import
        """
        self._environments = EnvironmentPools(loop, children, entry, imports, self._environment_broken)
        self._loop = loop
        self._children = children
        self._pool = pool
        self._announcer = announcer
        self._scripts: dict[Key, SupervisedScript] = {}
        self._running: dict[str, int] = {}
        self._paused: set[WorkerHandle] = set()
        self.on_idle: Callable[[], None] = lambda: None

    # -- requests of the device server

    def create(self, request: Load) -> None:
        """Have a worker load a script."""
        script = SupervisedScript(request)
        if script.key in self._scripts:
            _log.warning("procedure %s#%d exists already", *script.key)
            return
        self._scripts[script.key] = script
        self._set_deadline(script)
        script.cancel_take = self._pool.take(lambda worker: self._got_worker(script, worker))

    def run(self, request: RunFunction) -> None:
        """Have a function called, now or at the procedure's turn."""
        script = self._scripts.get((request.device, request.process_uid))
        if script is None or script.fate is not None or script.finished is not None or script.main_returned:
            return  # it has ended meanwhile, and its end is announced
        script.runs.append(request)
        self._take_turn(script)

    def stop(self, request: StopProcess) -> None:
        """End a procedure, whatever it is doing."""
        script = self._scripts.get((request.device, request.process_uid))
        if script is not None:
            self._end(script, ProcedureState.STOPPED, "stopped on request")

    def broadcast(self, request: Broadcast) -> None:
        """Publish a message in every script of a device."""
        frame = encode(PUBSUB, dumps((request.device, 0, request.topic, request.data, time.time())))
        for script in self._of(request.device):
            self._pass_to(script, frame)

    def kill_all(self) -> None:
        """Let no procedure have its grace period any longer."""
        for script in list(self._scripts.values()):
            if script.worker is not None:
                self._kill(script)

    def stop_all(self, reason: str) -> None:
        """End every procedure with grace; `on_idle` is called when none is left."""
        for script in list(self._scripts.values()):
            self._end(script, ProcedureState.STOPPED, reason)
        if not self._scripts:
            self.on_idle()

    @property
    def living(self) -> list[dict[str, Any]]:
        """What a new device server must know of each living procedure."""
        return [script.description() for script in self._scripts.values()]

    def resume_paused(self) -> None:
        """Read again from the workers that had to wait for the device server."""
        paused, self._paused = self._paused, set()
        for worker in paused:
            worker.resume()

    def _of(self, device: str) -> Iterator[SupervisedScript]:
        return (script for script in list(self._scripts.values()) if script.key[0] == device)

    # -- the life of a worker

    def _got_worker(self, script: SupervisedScript, worker: WorkerHandle) -> None:
        request = script.request
        script.worker = worker
        stat = stat_of(worker.pid) if worker.pid is not None else None
        script.started_ticks = stat.start if stat is not None else 0
        worker.on_frame = lambda frame: self._frame(script, frame)
        worker.on_end = lambda status: self._ended(script, status)
        worker.on_garbage = lambda reason: self._break(script, reason)
        if script.environment is not None:
            request = replace(request, source=script.environment.source)
        worker.send(to_frame(request))

    def _frame(self, script: SupervisedScript, frame: Frame) -> None:
        self._pool.note_activity()
        if frame.tag == PUBSUB:
            self._route(script, frame)
        elif frame.tag == CONTROL:
            self._control(script, frame)
        elif frame.tag == LISTENING:
            script.listening = True

    def _control(self, script: SupervisedScript, frame: Frame) -> None:
        try:
            message = from_payload(frame.payload)
        except NotPlainError as error:
            self._break(script, str(error))
            return
        if isinstance(message, StateEntered):
            self._entered(script, message)
        elif isinstance(message, EnvironmentReady):
            self._hold_environment(script, message)
        elif isinstance(message, ScriptLoaded):
            device, uid = script.key
            self._announcer.announce(ProvenanceMessage(uid, message.provenance, device))
        elif isinstance(message, Finished):
            script.finished = message
            script.cancel_timers()
            self._free_turn(script)
            # One that has completed may take its time: its own threads and exit functions still run.
            if script.fate is not None or message.outcome != "completed":
                self._escalate_later(script)

    def _entered(self, script: SupervisedScript, message: StateEntered) -> None:
        if script.over:
            return
        try:
            state = ProcedureState(message.state)
        except ValueError as error:
            self._break(script, str(error))
            return
        if state is script.state or not may_follow(script.state, state):
            self._break(script, f"{state.name} cannot follow {script.state.name}")
            return
        script.state = state
        script.function = message.fn_name or script.function
        if script.main_returned:
            script.runs.clear()  # nothing is called behind main; the end, which follows, is what tells it
        when = script.note_state(message.state, message.time)
        script.starting = False
        self._set_deadline(script)
        if state is ProcedureState.READY:
            self._free_turn(script)
        self._announce(script, state, when, os_pid=script.pid, fn_name=message.fn_name or None)
        if state is ProcedureState.READY:
            self._take_turn(script)
            self._wake_held(script.key[0])

    def _set_deadline(self, script: SupervisedScript) -> None:
        if script.fate is not None:
            return
        if script.deadline is not None:
            script.deadline.cancel()
            script.deadline = None
        limit = _PHASES.get(script.state)
        seconds = script.request.timeouts.get(limit, 0.0) if limit else 0.0
        if seconds > 0:
            reason = f"{script.state.name} took longer than {limit} ({seconds:g} s)"
            script.deadline = self._loop.call_later(seconds, lambda: self._end(script, ProcedureState.FAILED, reason))

    # -- whose turn it is

    def _take_turn(self, script: SupervisedScript) -> None:
        """Start what was asked for, if the procedure is READY and nobody else is RUNNING."""
        while script.runs and script.state is ProcedureState.READY and not script.starting and script.fate is None:
            request = script.runs[0]
            device = script.key[0]
            if request.after is not None and (device, request.after) in self._scripts:
                return
            script.runs.popleft()
            obstacle = in_the_way(
                request.process_uid,
                self._running.get(device),
                self._reserved(device),
                is_abort=request.after is not None,
            )
            if obstacle is not None:
                self._drop(script, request.fn_name, obstacle)
                continue
            self._running[device] = request.process_uid
            script.starting = True
            assert script.worker is not None
            script.worker.send(to_frame(Run(request.fn_name, request.run_args, request.context)))

    def _drop(self, script: SupervisedScript, fn_name: str, obstacle: Obstacle) -> None:
        """Tell that a start that was asked ahead is dropped: its procedure stays READY, and enters it once more."""
        when = script.note_state(int(ProcedureState.READY), time.time())
        reason = obstacle.drop(fn_name)
        script.dropped.append((when, reason))
        self._announce(script, ProcedureState.READY, when, reason=reason, os_pid=script.pid)

    def _reserved(self, device: str) -> Iterator[int]:
        """Yield the abort scripts for which the next turn is kept."""
        return (script.key[1] for script in self._of(device) if any(run.after is not None for run in script.runs))

    def _announce(self, script: SupervisedScript, state: ProcedureState, when: float, **details: Any) -> None:
        device, uid = script.key
        self._announcer.announce(LifecycleMessage(uid, state, device, when, **details))

    def _free_turn(self, script: SupervisedScript) -> None:
        device, uid = script.key
        if self._running.get(device) == uid:
            del self._running[device]

    def _wake_held(self, device: str) -> None:
        for script in self._of(device):
            if script.runs:
                self._take_turn(script)

    # -- the end

    def _end(self, script: SupervisedScript, state: ProcedureState, reason: str) -> None:
        """Begin to end a procedure: SIGTERM now, SIGKILL after the grace period."""
        if script.fate is not None:
            return
        script.fate = (state, reason)
        script.runs.clear()
        if script.deadline is not None:
            script.deadline.cancel()
        if script.worker is None:
            script.cancel_take()
            self._over(script, None, [])
            return
        if script.worker.paused:
            self._paused.discard(script.worker)
            script.worker.resume()
        assert script.pid is not None
        if send_signal(script.pid, signal.SIGTERM):
            script.signals_sent.append("SIGTERM")
        self._remind_later(script)
        self._escalate_later(script)

    def _remind_later(self, script: SupervisedScript) -> None:
        """Send SIGTERM once more if nothing comes of it.

        Python handles a signal when it next looks for one.  Should the signal arrive after that look and
        before the system call that blocks, the call is not interrupted and nothing looks again.
        The worker takes no notice of a second one if the first has arrived.
        """
        script.reminders.extend(
            self._loop.call_later(seconds, lambda: self._remind(script)) for seconds in _REMINDERS_AFTER
        )

    def _remind(self, script: SupervisedScript) -> None:
        if script.finished is None and script.worker is not None and not script.worker.ended:
            assert script.pid is not None
            send_signal(script.pid, signal.SIGTERM)

    def _break(self, script: SupervisedScript, reason: str) -> None:
        """End a procedure whose worker says what it cannot say: nothing else that it says counts."""
        script.broken = True
        self._end(script, ProcedureState.FAILED, f"its pipe is broken: {reason}")

    def _escalate_later(self, script: SupervisedScript) -> None:
        if script.escalation is not None:
            script.escalation.cancel()
        script.escalation = self._loop.call_later(script.request.grace, lambda: self._kill(script))

    def _kill(self, script: SupervisedScript) -> None:
        assert script.pid is not None
        if script.escalation is not None:
            script.escalation.cancel()
        if send_signal(script.pid, signal.SIGKILL):
            script.signals_sent.append("SIGKILL")
        kill_group(script.pid)
        script.escalation = self._loop.call_later(UNKILLABLE_AFTER, lambda: self._unkillable(script))

    def _unkillable(self, script: SupervisedScript) -> None:
        reason = f"process {script.pid} is still alive {UNKILLABLE_AFTER:g} s after SIGKILL (uninterruptible sleep)"
        _log.critical("procedure %s#%d: %s", *script.key, reason)
        self._conclude(script, ProcedureState.UNKNOWN, reason, None, [])

    def _ended(self, script: SupervisedScript, status: ExitStatus) -> None:
        """The worker has been reaped; see to what it left behind, then announce."""
        if self._replace_lost_worker(script, status):
            return
        script.cancel_timers()
        pid = script.pid
        assert pid is not None
        kill_group(pid)
        Undertaker(
            self._loop,
            self._children,
            pid,
            script.request.run_id,
            lambda start: self._others_lived(script, start),
            lambda reaped: self._over(script, status, reaped),
        ).work()

    def _replace_lost_worker(self, script: SupervisedScript, status: ExitStatus) -> bool:
        """Have another worker load the script if this one died as a mere spare: none of its code has run."""
        if script.state is not ProcedureState.CREATING or script.fate is not None or script.finished is not None:
            return False
        script.workers_lost += 1
        if script.workers_lost >= _MOST_WORKERS:
            return False
        _log.warning("a spare worker ended with %s when procedure %s#%d took it", status, *script.key)
        script.worker = None
        script.cancel_take = self._pool.take(lambda worker: self._got_worker(script, worker))
        return True

    def _others_lived(self, ended: SupervisedScript, start: int) -> bool:
        """Say whether a procedure other than `ended` was alive when a process started, and still is."""
        return any(
            script is not ended and script.worker is not None and not script.over and script.started_ticks <= start
            for script in self._scripts.values()
        )

    def _hold_environment(self, script: SupervisedScript, ready: EnvironmentReady) -> None:
        """Keep the environment while the worker that made it still does; that ends now, and another one goes on."""
        if script.state is not ProcedureState.PREP_ENV or script.environment is not None or script.fate is not None:
            return
        try:
            self._environments.hold(ready.folder)
        except OetError as error:
            self._end(script, ProcedureState.FAILED, str(error))
            return
        script.environment = ready

    def _continue_in_environment(self, script: SupervisedScript, ready: EnvironmentReady) -> None:
        """The worker that made the environment has ended: one that runs in it takes the script over."""
        script.worker = None
        script.continued = True
        self._set_deadline(script)
        script.cancel_take = self._environments.take(ready.folder, lambda worker: self._got_worker(script, worker))

    def _environment_broken(self, folder: str, reason: str) -> None:
        for script in list(self._scripts.values()):
            if script.environment is not None and script.environment.folder == folder and script.worker is None:
                self._end(script, ProcedureState.FAILED, reason)

    def close(self) -> None:
        """End the templates of environments."""
        self._environments.close()

    def _over(self, script: SupervisedScript, status: ExitStatus | None, reaped: list[int]) -> None:
        ready = script.environment
        if ready is not None and not script.continued and script.fate is None and status == _CLEAN_EXIT:
            self._continue_in_environment(script, ready)
            return
        state, reason = _outcome(script, status)
        self._conclude(script, state, reason, status, reaped)

    def _conclude(
        self,
        script: SupervisedScript,
        state: ProcedureState,
        reason: str,
        status: ExitStatus | None,
        reaped: list[int],
    ) -> None:
        if script.over:
            return
        script.over = True
        script.cancel_timers()
        if script.environment is not None:
            self._environments.leave(script.environment.folder)
        if script.worker is not None:
            self._paused.discard(script.worker)
        del self._scripts[script.key]
        self._free_turn(script)
        finished = script.finished
        self._announce(
            script,
            state,
            time.time(),
            reason=reason,
            stacktrace=finished.stacktrace if finished is not None else None,
            exit={
                "exit_code": status.exit_code if status is not None else None,
                "signal": status.signal if status is not None else None,
                "reason": reason,
                "signals_sent": script.signals_sent,
                "reaped": reaped,
            },
        )
        self._wake_held(script.key[0])
        if not self._scripts:
            self.on_idle()

    # -- messages of scripts

    def _route(self, script: SupervisedScript, frame: Frame) -> None:
        """Pass a script's message on to the device server and to the other scripts of its device."""
        data = encode(frame.tag, frame.payload)
        if not self._announcer.pubsub(data) and script.worker is not None and script.fate is None:
            script.worker.pause()
            self._paused.add(script.worker)
        for other in self._of(script.key[0]):
            if other is not script:
                self._pass_to(other, data)

    def _pass_to(self, script: SupervisedScript, data: bytes) -> None:
        if not script.listening or script.worker is None or script.worker.ended:
            return
        if script.worker.channel.pending > _LARGEST_BACKLOG:
            if not script.dropped_messages:
                _log.warning("procedure %s#%d does not read its messages: they are dropped", *script.key)
            script.dropped_messages += 1
            return
        script.worker.send(data)


def _when(claimed: object) -> float:
    """Return a time that a worker tells, or ours if that is none: scripts replace time.time, too."""
    return claimed if isinstance(claimed, float) and math.isfinite(claimed) else time.time()


def _outcome(script: SupervisedScript, status: ExitStatus | None) -> tuple[ProcedureState, str]:
    """Return how a procedure ended and why, from what was asked, what it said and how its process ended."""
    finished, fate = script.finished, script.fate
    completed = finished is not None and finished.outcome == "completed"
    if completed and not script.broken and status is not None and status.exit_code == 0:
        return ProcedureState.COMPLETE, "completed"
    if fate is not None:
        state, reason = fate
        if "SIGKILL" in script.signals_sent:
            reason += f"; the process ignored SIGTERM for {script.request.grace:g} s and was killed"
        return state, reason
    if finished is not None and finished.outcome == "failed":
        return ProcedureState.FAILED, finished.reason
    if finished is not None and finished.outcome == "terminated":
        return ProcedureState.FAILED, f"SIGTERM from outside: {finished.reason}"
    where = f"after it had completed, ended with {status}" if completed else f"ended with {status}"
    return ProcedureState.FAILED, f"the process {where} in {script.state.name}"
