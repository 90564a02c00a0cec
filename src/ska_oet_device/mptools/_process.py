"""Child processes: starting them, learning how each one ended, and finding what they left behind."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

_UNCLAIMED_KEPT = 256
_RESET_IN_CHILDREN = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


@dataclass(frozen=True)
class ExitStatus:
    """How a process ended: `exit_code`, or the number of the `signal` that ended it; the other is None."""

    exit_code: int | None
    signal: int | None

    @classmethod
    def from_wait_status(cls, status: int) -> ExitStatus:
        code = os.waitstatus_to_exitcode(status)
        return cls(code, None) if code >= 0 else cls(None, -code)

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.exit_code}"
        try:
            return f"signal {self.signal} ({signal.Signals(self.signal).name})"
        except ValueError:
            return f"signal {self.signal}"


def own_python() -> list[str]:
    """Return the command of this interpreter for ``-m``: what lies in the folder that we stand in is not imported.

    Python 3.10 has no option for that.
    """
    return [sys.executable, *(["-P"] if sys.version_info >= (3, 11) else [])]


def spawn(argv: Sequence[str], env: Mapping[str, str], fds: Mapping[int, int]) -> int:
    """Start a fresh program in a session of its own and return its process id.

    No signal is blocked or ignored in it, whatever this process does.

    :param fds: what descriptor of ours becomes which number of the child's, {child's: ours}
    :raises OSError: the program cannot be started
    """
    actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in fds.items()]
    return os.posix_spawn(
        argv[0], list(argv), env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_RESET_IN_CHILDREN
    )


def send_signal(pid: int, signum: int) -> bool:
    """Send a signal; False if there is no such process any more."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def kill_group(pid: int) -> None:
    """SIGKILL to every process of the group that `pid` leads or led."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


class Children:
    """The child processes of this process; `reap` is to be called after each SIGCHLD.

    Belongs to the event loop's thread.  Processes that nobody watches are reaped all the same:
    they are orphans that fell to this process as the subreaper.
    """

    def __init__(self) -> None:
        self._watched: dict[int, Callable[[ExitStatus], None]] = {}
        self._unclaimed: OrderedDict[int, ExitStatus] = OrderedDict()
        self._not_ours: set[int] = set()
        self.on_orphan_reaped: Callable[[int], None] = lambda pid: None

    def disclaim_present(self) -> None:
        """Leave the children alone that there are now: who started them became this program by exec."""
        self._not_ours = set(self.present())

    def watch(self, pid: int, on_exit: Callable[[ExitStatus], None]) -> None:
        """Call `on_exit` when `pid` has ended and been reaped; at once if that has happened already."""
        status = self._unclaimed.pop(pid, None)
        # Ids are used again: the status of a process that is there belongs to an orphan of long ago.
        if status is not None and not Path(f"/proc/{pid}").exists():
            on_exit(status)
        else:
            self._watched[pid] = on_exit

    def signal(self, pid: int, signum: int) -> bool:
        """Send a signal to a child that is watched; False if it has been reaped: its id may be another process's."""
        return pid in self._watched and send_signal(pid, signum)

    def reap(self, only: int = -1) -> None:
        """Collect every child that has ended, or `only` this one, if it has."""
        while True:
            try:
                pid, status = os.waitpid(only, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._not_ours.discard(pid)
            on_exit = self._watched.pop(pid, None)
            if on_exit is not None:
                on_exit(ExitStatus.from_wait_status(status))
                continue
            # Nobody asked yet: an orphan, or a worker whose birth is still unread in its pipe.
            self._unclaimed[pid] = ExitStatus.from_wait_status(status)
            while len(self._unclaimed) > _UNCLAIMED_KEPT:
                self._unclaimed.popitem(last=False)
            self.on_orphan_reaped(pid)

    @staticmethod
    def has_ended(pid: int) -> bool:
        """Say whether a child has ended and is not reaped yet; leaves it to `reap`."""
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # reaped, or not adopted yet
            return False

    def present(self) -> list[int]:
        """Return the children that there are, dead ones that are not reaped yet included."""
        try:
            text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        except OSError:
            text = _children_from_stat()
        return [pid for pid in map(int, text.split()) if pid not in self._not_ours]

    def orphans(self) -> list[int]:
        """Return the living children that nobody watches."""
        return [pid for pid in self.present() if pid not in self._watched]


def _children_from_stat() -> str:
    """Find the children by a walk over /proc: for kernels built without CONFIG_PROC_CHILDREN."""
    me = os.getpid()
    return " ".join(str(pid) for pid in all_pids() if (found := stat_of(pid)) and found.parent == me)


def all_pids() -> list[int]:
    """Return the ids of all processes that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


@dataclass(frozen=True)
class ProcessStat:
    """The part of /proc/PID/stat that matters here (proc(5)).

    `start` is the time of start in clock ticks since boot.
    """

    state: str
    parent: int
    group: int
    session: int
    start: int


def stat_of(pid: int) -> ProcessStat | None:
    """Read /proc/PID/stat; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets
    return ProcessStat(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def carries_mark(pid: int, title_start: str, variable: str) -> bool:
    """Say whether a process bears a mark: its title begins so (by fork), or it was given a variable (by exec).

    :param title_start: the first words of the title
    :param variable: ``NAME=value``, whole: a process that merely names the mark, such as a search for it, has none
    """
    return _read_of(pid, "cmdline").startswith(title_start.encode()) or (
        variable.encode() in _read_of(pid, "environ").split(b"\0")
    )


def _read_of(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def title_of(pid: int) -> str:
    """Return the command line or title of a process; empty if there is none."""
    return _read_of(pid, "cmdline").decode(errors="replace").replace("\0", " ").strip()


def machine_boot() -> str:
    """Return what changes with each boot of the machine; empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
