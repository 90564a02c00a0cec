"""The end of a procedure: what is to become of it, how its process is brought to its end, and what came of that."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from ...mptools import Children, EventLoop, ExitStatus, Timer, kill_group
from ..messages import Finished
from ..state import ProcedureState
from ._workers import Workers

_REMINDERS_AFTER = (0.1, 0.5)  # seconds from the first SIGTERM to the next ones
UNKILLABLE_AFTER = 2.0  # seconds after SIGKILL; then the process is in an uninterruptible sleep


class Ending:
    """The end of one procedure.  In main's loop.

    `fate` is the terminal state that the procedure is to have, with the reason, or None: it may go on.  When its
    process has been reaped, `fate` is what has become of it.  No process is sent a signal once it has been reaped: by
    then its id may be another's.

    :param workers: whose current one is to end
    :param grace: seconds from SIGTERM to SIGKILL
    :param on_unkillable: called with the reason when the process is alive long after SIGKILL
    """

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        workers: Workers,
        grace: float,
        on_unkillable: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._children = children
        self._workers = workers
        self._grace = grace
        self._on_unkillable = on_unkillable
        self.fate: tuple[ProcedureState, str] | None = None
        self.finished: Finished | None = None
        self._is_distrusted = False
        self._killed_because = ""
        self._signals_sent: list[str] = []
        self._timers: list[Timer] = []

    # -- what is asked for, and what the worker says

    def begin(self, state: ProcedureState, reason: str) -> None:
        """Decide the fate, and have the process, if there is one, end: SIGTERM now, SIGKILL after the grace period."""
        self.fate = state, reason
        if self._killed_because or not self._send(signal.SIGTERM):
            return
        self._kill_later()
        self._timers += [self._loop.call_later(seconds, self._remind) for seconds in _REMINDERS_AFTER]

    def note_finished(self, message: Finished) -> None:
        """Note how the script ended.  Its process is to follow, but one that has completed may take its time.

        Its own threads and exit functions still run.
        """
        self.finished = message
        if self._killed_because:
            return
        self._cancel_timers()
        if self.fate is not None or message.outcome != "completed":
            self._kill_later()

    def distrust(self) -> None:
        """Believe the worker no more, not even that it has completed."""
        self._is_distrusted = True

    def kill(self, because: str) -> None:
        """SIGKILL to the process, if there is one, and to its group, once; `because` is told in the reason."""
        if self._killed_because or not self._send(signal.SIGKILL):
            return
        assert self._workers.pid is not None
        kill_group(self._workers.pid)
        self._killed_because = because
        self._cancel_timers()
        self._timers = [self._loop.call_later(UNKILLABLE_AFTER, self._give_up)]

    def _send(self, signum: signal.Signals) -> bool:
        pid = self._workers.pid
        if pid is None or not self._children.signal(pid, signum):
            return False
        self._signals_sent.append(signum.name)
        return True

    def _remind(self) -> None:
        """Send SIGTERM once more if nothing has come of it.

        Python handles a signal when it next looks for one.  Should the signal arrive after that look and
        before the system call that blocks, the call is not interrupted and nothing looks again.
        The worker takes no notice of a second one if the first has arrived.
        """
        if self.finished is None and self._workers.pid is not None:
            self._children.signal(self._workers.pid, signal.SIGTERM)

    def _kill_later(self) -> None:
        because = f"the process ignored SIGTERM for {self._grace:g} s and was killed"
        self._cancel_timers()
        self._timers = [self._loop.call_later(self._grace, lambda: self.kill(because))]

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    # -- what came of it

    def settle(self, status: ExitStatus, state: ProcedureState) -> None:
        """The process has been reaped in `state`, and all it had to say was read: the fate is what has become of it."""
        self._cancel_timers()
        self.fate = self._outcome(status, state)

    def _give_up(self) -> None:
        still = f"still alive {UNKILLABLE_AFTER:g} s after SIGKILL"
        reason = f"process {self._workers.pid} is {still} (uninterruptible sleep)"
        self.fate = ProcedureState.UNKNOWN, reason
        self._on_unkillable(reason)

    def _outcome(self, status: ExitStatus, state: ProcedureState) -> tuple[ProcedureState, str]:
        finished = self.finished
        completed = finished is not None and finished.outcome == "completed"
        if completed and not self._is_distrusted and status.exit_code == 0:
            return ProcedureState.COMPLETE, "completed"
        if self.fate is not None:
            fate, reason = self.fate
            return fate, f"{reason}; {self._killed_because}" if self._killed_because else reason
        if finished is not None and finished.outcome == "failed":
            return ProcedureState.FAILED, finished.reason
        if finished is not None and finished.outcome == "terminated":
            return ProcedureState.FAILED, f"SIGTERM from outside: {finished.reason}"
        where = f"after it had completed, ended with {status}" if completed else f"ended with {status}"
        return ProcedureState.FAILED, f"the process {where} in {state.name}"

    @property
    def stacktrace(self) -> str | None:
        return self.finished.stacktrace if self.finished is not None else None

    def exit_record(self, status: ExitStatus | None, reaped: list[int]) -> dict[str, Any]:
        """Return how the process ended, as plain data; `status` is None where nothing has been reaped."""
        return {
            "exit_code": status.exit_code if status is not None else None,
            "signal": status.signal if status is not None else None,
            "reason": self.fate[1] if self.fate is not None else "",
            "signals_sent": self._signals_sent,
            "reaped": reaped,
        }
