"""Which long running commands there are, and what the changes of procedures mean for them.

A command is a request for a procedure, seen by whoever has asked: RunScript ends when the function has, PrepareScript
when the procedure is READY, StartScript as RunScript, Abort when all has ended that it has stopped.  Procedures of
which nobody has asked in this way are not looked at.
"""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ...errors import BusyError, InvalidStateError, OetError, TooManyError
from ..state import ProcedureState
from ._lrc import (
    ABORT,
    MOST_UNFINISHED,
    PREPARE,
    RUN,
    CommandUpdate,
    LongRunningCommand,
    LongRunningCommands,
    ResultCode,
    TaskStatus,
)

COMPLETED = "Command Completed"
"""The text of every result that is OK, as the SKA's devices have it: their clients compare it."""

_LONGEST_TEXT = 300  # characters of a result; a hundred of them are told together

_OUTCOMES = {
    ProcedureState.STOPPED: (TaskStatus.ABORTED, ResultCode.ABORTED),
    ProcedureState.FAILED: (TaskStatus.FAILED, ResultCode.FAILED),
    ProcedureState.UNKNOWN: (TaskStatus.FAILED, ResultCode.FAILED),
}


@dataclass(frozen=True)
class Started:
    """A function that was asked for: its name, and the uid of the command that has; "" if none has."""

    fn: str
    uid: str = ""


@dataclass
class _Track:
    """What is to come of one procedure.

    :ivar preparing: the uid of its PrepareScript; "" if there is none, or it has finished
    :ivar waiting: the functions that were asked for and have not begun, in order
    :ivar called: the one that is under way
    :ivar aborts: the Aborts that wait for its end
    """

    preparing: str = ""
    waiting: deque[Started] = field(default_factory=deque)
    called: Started | None = None
    aborts: list[str] = field(default_factory=list)

    @property
    def matters(self) -> bool:
        """Whether there is a command, or may be one behind what waits."""
        return bool(self.preparing or self.waiting or self.aborts or (self.called is not None and self.called.uid))


@dataclass
class _Abort:
    """What an Abort waits for, and what has gone wrong.

    :ivar is_open: it is still being found out what it waits for
    :ivar scripts: the abort scripts among what it waits for
    """

    is_open: bool = True
    waits_for: set[int] = field(default_factory=set)
    scripts: set[int] = field(default_factory=set)
    problem: str = ""


class CommandTracker:
    """The long running commands of a device.

    The lock of the procedures is held by whoever calls; `commands` may be read by any thread.
    """

    def __init__(self) -> None:
        self.commands = LongRunningCommands()
        """How they stand.  Replaced and never changed."""
        self._unfinished: dict[str, LongRunningCommand] = {}
        self._tracks: dict[int, _Track] = {}
        self._aborts: dict[str, _Abort] = {}

    def status_of(self, uid: str) -> TaskStatus:
        """Return how a command stands, as far as it is known; NOT_FOUND if it is not.  Any thread."""
        commands = self.commands
        found = (each.status for each in (*commands.unfinished, *commands.finished) if each.uid == uid)
        return next(found, TaskStatus.NOT_FOUND)

    # -- what is asked

    def check_room(self) -> None:
        """See that one more may be asked for.

        :raises TooManyError: too many have not finished
        """
        if len(self._unfinished) >= MOST_UNFINISHED:
            raise TooManyError(f"{MOST_UNFINISHED} long running commands have not finished")

    def begin(self, name: str, process_uid: int, time: float) -> CommandUpdate:
        """Take up a command that was accepted, and return what is to be told of it."""
        command = LongRunningCommand(name, process_uid, time)
        self._unfinished[command.uid] = command
        if name == PREPARE:
            self._track(process_uid).preparing = command.uid
        return self._told(command, {"status": int(command.status)})

    def look_at(self, process_uid: int) -> None:
        """Look at a procedure from now on, whoever asks for its functions."""
        self._track(process_uid)

    def note_start(self, process_uid: int, started: Started, already_waiting: int) -> None:
        """Note that a function was asked for.

        :param already_waiting: how many functions of the procedure have been asked for and have not begun
        """
        if process_uid not in self._tracks:
            if not started.uid:
                return
            self._track(process_uid).waiting.extend([Started("")] * already_waiting)
        self._tracks[process_uid].waiting.append(started)

    @property
    def abort_under_way(self) -> LongRunningCommand | None:
        """The Abort that has not finished; None if there is none."""
        return next((self._unfinished[uid] for uid in self._aborts), None)

    def begin_abort(self, time: float) -> tuple[str, list[CommandUpdate]]:
        """Take up an Abort; `wait_for` says for what, and `close_abort` that this is all.

        One that is asked for while another is under way is the same one: whoever presses twice waits for the same.
        """
        known = self.abort_under_way
        if known is not None:
            self._aborts[known.uid].is_open = True
            return known.uid, []
        command = LongRunningCommand(ABORT, 0, time)
        self._unfinished[command.uid] = command
        self._aborts[command.uid] = _Abort()
        return command.uid, self._begin(command.uid, time)

    def wait_for(self, uid: str, process_uid: int, *, is_script: bool = False) -> None:
        """Have an Abort wait for the end of a procedure that lives.

        :param is_script: it is an abort script, which has to end well
        """
        abort = self._aborts[uid]
        if process_uid in abort.waits_for:
            return
        abort.waits_for.add(process_uid)
        if is_script:
            abort.scripts.add(process_uid)
        self._track(process_uid).aborts.append(uid)

    def close_abort(self, uid: str, time: float) -> list[CommandUpdate]:
        """Have an Abort finish as soon as what it waits for has ended, perhaps now."""
        self._aborts[uid].is_open = False
        return self._finish_abort(uid, time)

    # -- what happens

    def changed(
        self, process_uid: int, previous: ProcedureState | None, state: ProcedureState, time: float, reason: str | None
    ) -> tuple[CommandUpdate, ...]:
        """Return what a change of a procedure means for its commands."""
        track = self._tracks.get(process_uid)
        if track is None:
            return ()
        if state is ProcedureState.READY:
            return tuple(self._ready(process_uid, track, previous, time, reason))
        if state is ProcedureState.RUNNING:
            track.called = track.waiting.popleft() if track.waiting else None
            return tuple(self._begin(track.called.uid, time)) if track.called is not None else ()
        if state.is_terminal:
            del self._tracks[process_uid]
            return tuple(self._ended(process_uid, track, state, time, reason or state.name))
        taken_up = [track.preparing, *(each.uid for each in track.waiting)] if previous is not None else []
        begun = [self._begin(uid, time) for uid in taken_up if uid.endswith((f"_{PREPARE}", f"_{RUN}"))]
        return tuple(update for updates in begun for update in updates)

    def progressed(self, process_uid: int, percent: float) -> None:
        """Note what a procedure reports of itself."""
        if process_uid not in self._tracks:
            return
        for uid, command in self._unfinished.items():
            if command.process_uid == process_uid and command.status is TaskStatus.IN_PROGRESS:
                self._unfinished[uid] = replace(command, progress=int(percent))
                self._tell_all()
                return

    def _ready(
        self,
        process_uid: int,
        track: _Track,
        previous: ProcedureState | None,
        time: float,
        reason: str | None,
    ) -> Iterable[CommandUpdate]:
        if previous is ProcedureState.READY:
            dropped = track.waiting.popleft() if track.waiting else Started("")
            error = BusyError(f"{reason or 'the start was dropped'}; procedure {process_uid} stays READY")
            yield from self._reject(dropped.uid, error, time)
        elif previous is ProcedureState.RUNNING:
            if track.called is not None and track.called.fn != "main":
                yield from self._finish(track.called.uid, TaskStatus.COMPLETED, ResultCode.OK, COMPLETED, time)
                track.called = None
        else:
            uid, track.preparing = track.preparing, ""
            yield from self._finish(uid, TaskStatus.COMPLETED, ResultCode.OK, COMPLETED, time)

    def _ended(
        self, process_uid: int, track: _Track, state: ProcedureState, time: float, reason: str
    ) -> Iterable[CommandUpdate]:
        called = track.called.uid if track.called is not None else ""
        if state is ProcedureState.COMPLETE:
            yield from self._finish(called, TaskStatus.COMPLETED, ResultCode.OK, COMPLETED, time)
            late = InvalidStateError(f"main of procedure {process_uid} has returned: nothing more can be started")
            for each in track.waiting:
                yield from self._reject(each.uid, late, time)
        else:
            status, code = _OUTCOMES[state]
            for uid in (track.preparing, called, *(each.uid for each in track.waiting)):
                yield from self._finish(uid, status, code, reason, time)
        for uid in track.aborts:
            abort = self._aborts[uid]
            abort.waits_for.discard(process_uid)
            is_script = process_uid in abort.scripts
            abort.problem = abort.problem or problem_of_abort(process_uid, state, reason, is_script=is_script)
            yield from self._finish_abort(uid, time)

    def note_abort_problem(self, uid: str, problem: str) -> None:
        """Note what has gone wrong of what an Abort has asked for."""
        if uid in self._aborts:
            self._aborts[uid].problem = self._aborts[uid].problem or problem

    def _finish_abort(self, uid: str, time: float) -> list[CommandUpdate]:
        abort = self._aborts[uid]
        if abort.is_open or abort.waits_for:
            return []
        del self._aborts[uid]
        if abort.problem:
            return self._finish(uid, TaskStatus.FAILED, ResultCode.FAILED, abort.problem, time)
        return self._finish(uid, TaskStatus.COMPLETED, ResultCode.OK, COMPLETED, time)

    # -- what becomes of one

    def _begin(self, uid: str, time: float) -> list[CommandUpdate]:
        command = self._unfinished.get(uid)
        if command is None or command.status is TaskStatus.IN_PROGRESS:
            return []
        begun = self._unfinished[uid] = replace(command, status=TaskStatus.IN_PROGRESS, started=time)
        return [self._told(begun, {"status": int(TaskStatus.IN_PROGRESS)})]

    def _reject(self, uid: str, error: OetError, time: float) -> list[CommandUpdate]:
        return self._finish(uid, TaskStatus.REJECTED, ResultCode.REJECTED, f"{error.reason}: {error}", time)

    def _finish(self, uid: str, status: TaskStatus, code: ResultCode, text: str, time: float) -> list[CommandUpdate]:
        command = self._unfinished.pop(uid, None)
        if command is None:
            return []
        text = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."
        finished = replace(command, status=status, finished=time, result=(code, text))
        self.commands = self.commands.with_finished(finished, clock.monotonic())
        return [self._told(finished, {"status": int(status), "result": [int(code), text]})]

    def _told(self, command: LongRunningCommand, data: dict[str, object]) -> CommandUpdate:
        self._tell_all()
        return CommandUpdate(data, command)

    def _tell_all(self) -> None:
        self.commands = replace(self.commands, unfinished=tuple(self._unfinished.values()))

    def _track(self, process_uid: int) -> _Track:
        return self._tracks.setdefault(process_uid, _Track())

    # -- after a restart

    def take_up(self, earlier: Iterable[CommandTracker]) -> None:
        """Take over what others know of earlier servers; what is known already stays as it is."""
        found = list(self.commands.taken_up)
        for tracker in earlier:
            # Whatever is missing in what is kept: of a procedure that has ended nothing is waited for.
            awaited = (each for each in tracker._unfinished.values() if each.process_uid in tracker._tracks)
            found += [*awaited, *(tracker._unfinished[uid] for uid in tracker._aborts), *tracker.commands.finished]
            self._aborts |= tracker._aborts
            for pid, track in tracker._tracks.items():
                if pid in self._tracks:
                    self._tracks[pid].aborts += track.aborts
                elif track.matters:
                    self._tracks[pid] = track
        self.commands = self.commands.with_taken_up(tuple(found))
        self._unfinished = {each.uid: each for each in self.commands.unfinished}

    def concerns(self, process_uid: int) -> bool:
        """Say whether a procedure has to do with a command, or is looked at."""
        commands = (*self._unfinished.values(), *self.commands.finished)
        return process_uid in self._tracks or any(each.process_uid == process_uid for each in commands)


def problem_of_abort(process_uid: int, state: ProcedureState, reason: str, *, is_script: bool) -> str:
    """Return what an Abort has failed of, in one procedure that it has waited for; "" if it has not.

    :param is_script: it is an abort script
    """
    if state is ProcedureState.UNKNOWN:
        return f"procedure {process_uid} could not be ended: {reason}"
    if is_script and state is not ProcedureState.COMPLETE:
        return f"the abort script, procedure {process_uid}, is {state.name}: {reason}"
    return ""
