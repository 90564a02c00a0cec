"""The end of a procedure: what is to become of it, how its process is brought to its end, and what came of that."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from ...mptools import Children, ExitStatus, Signalled, Timer, catches, kill_group, send_signal
from ..messages import CLEAN_UP_FAILED_STATUS, TERMINATED_STATUS, Finished
from ..state import ProcedureState
from ._allowance import Allowance
from ._guard import Clock
from ._helpers import LONGEST_MOMENT
from ._workers import Workers

_REMINDERS_AFTER = (0.1, 0.5)  # seconds from the first SIGTERM to the next ones
_CALLING = (ProcedureState.INITIALISING, ProcedureState.RUNNING)
UNKILLABLE_AFTER = 2.0  # seconds after SIGKILL; then the process is in an uninterruptible sleep


class Ending:
    """The end of one procedure.  In main's loop.

    `fate` is the terminal state that the procedure is to have, with the reason, or None: it may go on.  When its
    process has been reaped, `fate` is what has become of it.  No process is sent a signal once it has been reaped: by
    then its id may be another's.

    :param workers: whose current one is to end
    :param grace: seconds from SIGTERM to SIGKILL
    :param on_unkillable: called with the reason when the process is alive long after SIGKILL
    :param where: returns where the process is, as the end of a sentence; "" if that is not known
    """

    def __init__(
        self,
        loop: Clock,
        children: Children,
        workers: Workers,
        grace: float,
        on_unkillable: Callable[[str], None],
        where: Callable[[], str],
    ) -> None:
        self._loop = loop
        self._children = children
        self._workers = workers
        self._grace = grace
        self._on_unkillable = on_unkillable
        self._where = where
        self.fate: tuple[ProcedureState, str] | None = None
        self.finished: Finished | None = None
        self.stop_reason = ""
        """Why whoever has ended it wanted that: somebody, or the script itself."""
        self.clean_up_error = ""
        """What has become of the clean-up of a script that was interrupted; "": nothing speaks against it."""
        self.survivors: list[int] = []
        """The processes that cannot be killed."""
        self._is_distrusted = False
        self._result: str | None = None
        self._result_note = ""
        self._begun_at = 0.0  # by the monotonic clock, as `Finished` tells it
        self._is_caught = False
        self._killed_because = ""
        self._killed_at = 0.0  # by the monotonic clock
        self._signals_sent: list[str] = []
        self._timers: list[Timer | Allowance] = []

    # -- what is asked for, and what the worker says

    def begin(self, state: ProcedureState, reason: str) -> None:
        """Decide the fate, and have the process, if there is one, end: SIGTERM now, SIGKILL after the grace period."""
        self.fate = state, reason
        self._begun_at = time.monotonic()
        self._look_whether_caught()
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
        """SIGKILL to the process, if there is one, once; `because` is told in the reason.

        Its group follows when it has been reaped (Undertaker), which spares Python's helpers for a moment; or without
        it, should it not die.
        """
        if self._killed_because or not (answer := self._send(signal.SIGKILL)):
            return
        self._killed_because = because if answer is Signalled.SENT else "the process refused SIGKILL"
        self._killed_at = time.monotonic()
        self._cancel_timers()
        self._timers = [Allowance(self._loop, UNKILLABLE_AFTER, self._give_up)]
        if answer is Signalled.SENT:
            self._timers.append(self._loop.call_later(LONGEST_MOMENT, self.kill_again))
        else:
            self.kill_again()

    def kill_again(self) -> None:
        """SIGKILL to a process that it has not ended, whose user may be another one by now, and to its group."""
        pid = self._workers.pid
        if pid is not None and self._children.signal(pid, signal.SIGKILL):
            kill_group(pid)

    def _send(self, signum: signal.Signals) -> Signalled:
        pid = self._workers.pid
        answer = self._children.signal(pid, signum) if pid is not None else Signalled.GONE
        if answer is Signalled.SENT:
            self._signals_sent.append(signum.name)
        return answer

    def _remind(self) -> None:
        """Send SIGTERM once more if nothing has come of it.

        Python handles a signal when it next looks for one.  Should the signal arrive after that look and
        before the system call that blocks, the call is not interrupted and nothing looks again.
        The worker takes no notice of a second one if the first has arrived.
        """
        if self.finished is None and self._workers.pid is not None:
            self._look_whether_caught()
            self._children.signal(self._workers.pid, signal.SIGTERM)

    def _look_whether_caught(self) -> None:
        """Look, before SIGTERM is sent, whether the process has a handler for it, or lets it pass."""
        if self._workers.pid is not None and not self._is_caught:
            self._is_caught = catches(self._workers.pid, signal.SIGTERM)

    def _kill_later(self) -> None:
        since = "SIGTERM" if "SIGTERM" in self._signals_sent else "it had failed"
        self._cancel_timers()
        self._timers = [Allowance(self._loop, self._grace, lambda: self._kill_late(since))]

    def _kill_late(self, since: str) -> None:
        where = self._where()
        because = f"the process was killed {self._grace:g} s after {since}"
        self.kill(f"{because}, {where}" if where else because)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    # -- what came of it

    def settle(self, status: ExitStatus, state: ProcedureState) -> None:
        """The process has been reaped in `state`, and all it had to say was read: the fate is what has become of it."""
        self._cancel_timers()
        self._killed_at = self._killed_at or time.monotonic()  # what it leaves behind is killed from now on
        self.fate = self._outcome(status, state)

    def note_survivors(self, pids: Sequence[int]) -> str:
        """Note processes that SIGKILL does not end; returns why.  That a script has completed does not count then."""
        self.survivors = list(pids)
        self.distrust()
        if self.fate is not None and self.fate[0] is ProcedureState.COMPLETE:
            self.fate = ProcedureState.FAILED, f"{self.fate[1]}, but what it left behind could not be killed"
        return "; ".join(map(self._why_alive, pids))

    def note_gone(self) -> None:
        """Note that the survivors have gone: the reason of the fate says so."""
        assert self.fate is not None
        state, reason = self.fate
        which, seconds = ", ".join(map(str, self.survivors)), time.monotonic() - self._killed_at
        self.fate = state, f"{reason}; process {which} has gone, {seconds:.0f} s after SIGKILL"
        self.survivors = []

    def _why_alive(self, pid: int) -> str:
        if send_signal(pid, 0) is Signalled.REFUSED:
            return f"process {pid} cannot be killed: it is another user's"
        seconds = time.monotonic() - self._killed_at
        return f"process {pid} is still alive {seconds:.0f} s after SIGKILL (uninterruptible sleep)"

    def _give_up(self) -> None:
        assert self._workers.pid is not None
        self._on_unkillable(self.note_survivors([self._workers.pid]))

    def _outcome(self, status: ExitStatus, state: ProcedureState) -> tuple[ProcedureState, str]:
        finished = self.finished
        completed = finished is not None and finished.outcome == "completed"
        if completed and status.exit_code == 0 and self._is_complete:
            assert finished is not None
            self._result, self._result_note = finished.result, finished.result_note
            return ProcedureState.COMPLETE, "completed"
        self.clean_up_error = self._clean_up_error(status, state)
        if self.fate is not None:
            return self.fate[0], self._with_what_followed(self.fate[1])
        if finished is not None and finished.outcome == "stopped":
            self.stop_reason = finished.reason
            reason = f"stopped by the script: {finished.reason}"
            return ProcedureState.STOPPED, "; ".join(filter(None, (reason, self._killed_because)))
        if finished is not None and finished.outcome == "failed":
            return ProcedureState.FAILED, "; ".join(filter(None, (finished.reason, self._killed_because)))
        if finished is not None and finished.outcome == "terminated":
            return ProcedureState.FAILED, self._with_what_followed(f"SIGTERM from outside: {finished.reason}")
        where = f"after it had completed, ended with {status}" if completed else f"ended with {status}"
        return ProcedureState.FAILED, f"the process {where} in {state.name}"

    @property
    def _is_complete(self) -> bool:
        """Whether a worker that says so has completed, although its end may have been begun.

        The handler of this program interrupts what runs.  A script that lets SIGTERM pass may do its work to the end;
        one that has a handler of its own has been told, and may have left half-way.
        """
        assert self.finished is not None
        if self._is_distrusted or self.fate is None or self.finished.moment < self._begun_at:
            return not self._is_distrusted
        return self.fate[0] is ProcedureState.STOPPED and (self.finished.unaware or not self._is_caught)

    def _clean_up_error(self, status: ExitStatus, state: ProcedureState) -> str:
        """Return what speaks against the clean-up of a script that was interrupted; "" if nothing does."""
        finished = self.finished
        if self._killed_because and self.fate is not None and state in _CALLING:
            return self._killed_because
        if finished is None and self.fate is not None and state in _CALLING and _is_crash(status):
            return f"the process ended with {status} before it was done"
        if finished is None or finished.outcome != "terminated":
            return ""
        if finished.clean_up_error:
            return finished.clean_up_error
        if self._killed_because or status.exit_code in (TERMINATED_STATUS, None):
            return ""
        what = "raised" if status.exit_code == CLEAN_UP_FAILED_STATUS else f"ended it with {status}"
        return f"an exit function {what}, see what it has printed"

    def _with_what_followed(self, reason: str) -> str:
        finished = self.finished
        if self._killed_because:
            return f"{reason}; {self._killed_because}"
        if self.clean_up_error:
            return f"{reason}; its clean-up failed: {self.clean_up_error}"
        if finished is not None and finished.outcome == "failed":
            return f"{reason}; it raised {finished.reason}"
        return reason

    @property
    def stacktrace(self) -> str | None:
        return self.finished.stacktrace if self.finished is not None else None

    def exit_record(self, reason: str, status: ExitStatus | None, reaped: Sequence[int]) -> dict[str, Any]:
        """Return how the process ended, as plain data; `status` is None where nothing has been reaped."""
        return {
            "exit_code": status.exit_code if status is not None else None,
            "signal": status.signal if status is not None else None,
            "reason": reason,
            "signals_sent": self._signals_sent,
            "reaped": list(reaped),
            "survivors": self.survivors,
            **({"result": self._result} if self._result is not None else {}),
            **({"result_note": self._result_note} if self._result_note else {}),
            **({"stop_reason": self.stop_reason} if self.stop_reason else {}),
            **({"clean_up_error": self.clean_up_error} if self.clean_up_error else {}),
        }


def _is_crash(status: ExitStatus) -> bool:
    """Say whether no handler of a script, nor a program that it has become, leaves like this when it is told to end."""
    return status.exit_code not in (0, TERMINATED_STATUS, None) or status.signal not in (signal.SIGTERM, None)
