"""Child processes: starting them, learning how each one ended, and finding what they left behind."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ._signals import reset_signals

if TYPE_CHECKING:
    from ._event_loop import EventLoop

_log = logging.getLogger(__name__)

_UNCLAIMED_KEPT = 256
_SHARE = 0.003  # seconds that one turn of the loop has for collecting what has ended
_AT_ONCE = 50  # processes between two looks for births
_MOST_DESCRIPTORS = 2**31 - 1
_RESET_IN_CHILDREN = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


@dataclass(frozen=True)
class ExitStatus:
    """How a process ended: `exit_code`, or the number of the `signal` that ended it; the other is None.

    Both are None where nobody knows any more.
    """

    exit_code: int | None
    signal: int | None

    @classmethod
    def from_wait_status(cls, status: int) -> ExitStatus:
        code = os.waitstatus_to_exitcode(status)
        return cls(code, None) if code >= 0 else cls(None, -code)

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.exit_code}" if self.exit_code is not None else "an unknown status"
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


def fork_apart(run: Callable[[], None], keep: int) -> int:
    """Fork a process in a session of its own that has no descriptor but the standard ones and `keep`, and only runs.

    For a process with one thread.

    :return: its process id
    :raises OSError: it cannot be forked
    """
    pid = os.fork()
    if pid != 0:
        return pid
    status = 1
    try:
        os.setsid()
        reset_signals()
        os.closerange(3, keep)
        os.closerange(keep + 1, _MOST_DESCRIPTORS)
        run()
        status = 0
    except BaseException:  # top of a process
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


class Signalled(IntEnum):
    """What has become of a signal.  True if there is such a process."""

    GONE = 0
    SENT = 1
    REFUSED = 2  # it is another user's


def send_signal(pid: int, signum: int) -> Signalled:
    """Send a signal to a process; raises nothing if it is gone, or is another user's."""
    return _signalled(os.kill, pid, signum)


def kill_group(pid: int) -> Signalled:
    """SIGKILL to every process of the group that `pid` leads or led; REFUSED if that is allowed for none of them."""
    if pid <= 1:  # to the system call these mean one's own group, and everybody
        return Signalled.GONE
    return _signalled(os.killpg, pid, signal.SIGKILL)


def _signalled(send: Callable[[int, int], None], pid: int, signum: int) -> Signalled:
    try:
        send(pid, signum)
    except ProcessLookupError:
        return Signalled.GONE
    except PermissionError:
        return Signalled.REFUSED
    return Signalled.SENT


class Children:
    """The child processes of this process; `reap` is to be called after each SIGCHLD, which `reap_in` has a loop do.

    Belongs to the event loop's thread.  Processes that nobody watches are reaped all the same:
    they are orphans that fell to this process as the subreaper.
    """

    def __init__(self) -> None:
        self._watched: dict[int, Callable[[ExitStatus], None]] = {}
        self._unclaimed: OrderedDict[int, ExitStatus] = OrderedDict()
        self._births: dict[Callable[[], None], None] = {}
        self._not_ours: set[int] = set()
        # What this process starts gets a session of its own; 0: the session of somebody outside of the container.
        self._foreign_sessions = {0, os.getsid(0)}
        self._since = 0
        self.on_orphan_reaped: Callable[[int], None] = lambda pid: None

    def disclaim_present(self) -> None:
        """Leave the children alone that there are now: who started them became this program by exec."""
        self._since = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        self._not_ours = set(self.present())
        self._foreign_sessions |= {stat.session for pid in self._not_ours if (stat := _stat_of_child(pid)) is not None}

    def expect_birth(self, read: Callable[[], None]) -> None:
        """Expect a child that another process makes; `read` reads what has been told of it, if anything has."""
        self._births[read] = None

    def forget_birth(self, read: Callable[[], None]) -> None:
        """The child is there and watched, or will never be."""
        self._births.pop(read, None)

    def _read_births(self) -> None:
        for read in list(self._births):
            read()

    def watch(self, pid: int, on_exit: Callable[[ExitStatus], None]) -> None:
        """Call `on_exit` when `pid` has ended and been reaped; at once if that has happened already."""
        status = self._unclaimed.pop(pid, None)
        # Ids are used again: the status of a process that is there belongs to an orphan of long ago.
        if Path(f"/proc/{pid}").exists():
            self._watched[pid] = on_exit
        else:  # a status that is not here any more was one of too many
            on_exit(status or ExitStatus(None, None))

    def signal(self, pid: int, signum: int) -> Signalled:
        """Send a signal to a child that is watched; GONE if it has been reaped: its id may be another process's."""
        return send_signal(pid, signum) if pid in self._watched else Signalled.GONE

    def reap(self, only: int = -1) -> bool:
        """Collect every child that has ended, or `only` this one, if it has.

        :return: whether there may be more: of thousands, as many are collected as a turn of the loop has time for
        """
        until = time.monotonic() + _SHARE
        orphans = []
        may_be_more = True
        while may_be_more and time.monotonic() < until:
            pid, status = self._next_ended(only)
            may_be_more = pid != 0
            self._not_ours.discard(pid)
            on_exit = self._watched.pop(pid, None)
            if on_exit is not None:
                on_exit(ExitStatus.from_wait_status(status))
            elif pid != 0:
                self._unclaimed[pid] = ExitStatus.from_wait_status(status)
                orphans.append(pid)
        if only == -1 and orphans:
            self._read_births()  # now, since any number of orphans may end before somebody asks
        while len(self._unclaimed) > _UNCLAIMED_KEPT:
            self._unclaimed.popitem(last=False)
        for pid in orphans:
            self.on_orphan_reaped(pid)
        return may_be_more

    def reap_in(self, loop: EventLoop) -> None:
        """Have a loop reap who has ended; once more if that is much, or if anything goes wrong with one of them."""

        def reap() -> None:
            again = loop.call_later(0, reap)
            if not self.reap():
                again.cancel()

        loop.on_signal(signal.SIGCHLD, reap)

    @staticmethod
    def _next_ended(only: int) -> tuple[int, int]:
        """Return id and status of a child that has ended, which is gone by that; (0, 0) if there is none."""
        try:
            return os.waitpid(only, os.WNOHANG)
        except ChildProcessError:
            return 0, 0

    @staticmethod
    def has_ended(pid: int) -> bool:
        """Say whether a child has ended and is not reaped yet; leaves it to `reap`."""
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # reaped, or not adopted yet
            return False

    def present(self) -> list[int]:
        """Return the children that there are, dead ones that are not reaped yet included; of thousands, the first."""
        return [pid for pid in children_of_main_thread() if pid not in self._not_ours]

    def left_behind(self) -> tuple[Iterator[tuple[int, ProcessStat]], bool]:
        """Return the children that this process has not made, dead ones included, and whether these are all.

        Whatever their title or environment: a session cannot be joined from outside, nor left for another one but a
        new one.  A child in the session of a process that is watched is that one's, or is being born.

        Only this process removes any from the list that the kernel goes through.  While it does so others may be added,
        but only where one that is in the list has died, or lives.
        """
        try:
            present, is_all = _first_children()
        except OSError:  # files run short
            return iter(()), False
        return self._strays_in(
            [pid for pid in present if pid not in self._watched and pid not in self._not_ours]
        ), is_all

    def _strays_in(self, present: list[int]) -> Iterator[tuple[int, ProcessStat]]:
        while present:
            stats = [
                (pid, stat) for pid in present[:_AT_ONCE] if (stat := _stat_of_child(pid)) and self._is_stray(stat)
            ]
            del present[:_AT_ONCE]
            if stats and self._births:
                self._read_births()  # who has left the template's session has told of its birth before
            yield from ((pid, stat) for pid, stat in stats if pid not in self._watched)

    def _is_stray(self, stat: ProcessStat) -> bool:
        return stat.parent == os.getpid() and stat.session not in self._watched and not self._is_foreign(stat)

    def end_all(self) -> dict[int, Signalled]:
        """Kill all children, watched or not, and reap the dead, whose end is told to nobody any more.

        :return: those that were there, and what became of the signal; once there were none, none can follow
        """
        found = {}
        for pid in self.present():
            stat = _stat_of_child(pid)
            if stat is None or self._is_foreign(stat):
                continue
            kill_group(stat.group)
            found[pid] = send_signal(pid, signal.SIGKILL)
            if stat.has_ended and os.waitpid(pid, os.WNOHANG)[0]:
                found[pid] = Signalled.GONE
        return found

    def _is_foreign(self, stat: ProcessStat) -> bool:
        """Say whether it stems from whoever has started this process, by way of one of the children disclaimed."""
        return stat.session in self._foreign_sessions or 0 < stat.start < self._since


def children_of_main_thread() -> list[int]:
    """Return the children that the main thread of this process has made or adopted; of thousands, the first.

    Dead ones that are not reaped yet are included.  Where the kernel cannot tell, those of other threads are, too.
    """
    return _first_children()[0]


def _first_children() -> tuple[list[int], bool]:
    """Return as many as the kernel tells in a short time, and whether these are all."""
    try:
        file = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)
    except FileNotFoundError:
        return _children_from_stat(), True
    try:
        pages = [os.read(file, 65536) for _ in range(3)]  # the kernel fills one page at a time, with whole ids
    finally:
        os.close(file)
    return [int(pid) for page in pages[:2] for pid in page.split()], not pages[2]


def _children_from_stat() -> list[int]:
    """Find the children by a walk over /proc: for kernels built without CONFIG_PROC_CHILDREN."""
    me = os.getpid()
    return [pid for pid in all_pids() if (found := stat_of(pid)) and found.parent == me]


def all_pids() -> list[int]:
    """Return the ids of all processes that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


@dataclass(frozen=True)
class ProcessStat:
    """The part of /proc/PID/stat that matters here (proc(5)).

    `start` is the time of start in clock ticks since boot; 0: it is not known.  A process whose main thread has
    ended is in state Z, as one that has ended, while others of its `threads` go on.
    """

    state: str
    parent: int
    group: int
    session: int
    start: int
    threads: int = 1

    @property
    def has_ended(self) -> bool:
        """Whether no thread of it runs any more, and whoever should wait for it has not done so."""
        return self.state in "ZX" and self.threads <= 1


def stat_of(pid: int) -> ProcessStat | None:
    """Read /proc/PID/stat; None if there is no such process, or it cannot be read."""
    text = _read_of(pid, "stat")
    if not text:
        return None
    fields = text[text.rindex(b")") + 2 :].split(None, 20)  # the name before it may hold spaces and brackets
    parent, group, session, threads, start = (int(fields[index]) for index in (1, 2, 3, 17, 19))
    return ProcessStat(fields[0].decode(), parent, group, session, start, threads)


def _stat_of_child(pid: int) -> ProcessStat | None:
    """Return what is known of a child; None only if this process has none of that id.

    /proc may hide it, if it is another user's (proc(5): hidepid), or files may run short: system calls tell the rest.
    """
    stat = stat_of(pid)
    if stat is not None:
        return stat
    try:
        has_ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return ProcessStat("Z" if has_ended else "?", os.getpid(), os.getpgid(pid), os.getsid(pid), start=0)
    except (ChildProcessError, ProcessLookupError):
        return None


def variable_of(pid: int, name: str) -> str:
    """Return a variable of the environment that a process was given by exec; empty if there is none."""
    start = f"{name}=".encode()
    for variable in _read_of(pid, "environ").split(b"\0"):
        if variable.startswith(start):
            return variable[len(start) :].decode(errors="replace")
    return ""


def take_variable(name: str) -> str:
    """Take a variable out of this process's environment and return it; empty if it is not there.

    Nothing that this process starts inherits it, and neither `ps e` nor /proc shows it any more, where the kernel lets
    a process write to itself.
    """
    value = os.environ.pop(name, "")
    try:
        fields = _read_of(os.getpid(), "stat").rpartition(b")")[2].split()
        start, end = int(fields[47]), int(fields[48])  # proc(5): env_start and env_end
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            _blot_out(memory, start, memory.read(end - start), f"{name}=".encode())
    except (OSError, ValueError, IndexError) as error:
        _log.debug("the variable %s can still be seen in /proc: %s", name, error)
    return value


def _blot_out(memory: io.FileIO, start: int, block: bytes, beginning: bytes) -> None:
    place = 0
    for variable in block.split(b"\0"):
        if variable.startswith(beginning):
            memory.seek(start + place)
            memory.write(b"\0" * len(variable))
        place += len(variable) + 1


def catches(pid: int, signum: int) -> bool:
    """Say whether a process answers a signal by a handler of its own, be it the one of this program (proc(5), SigCgt).

    One that ignores it does not, nor one that leaves it to the kernel, nor one that is gone.
    """
    try:
        mask = _read_of(pid, "status").partition(b"SigCgt:")[2].split(maxsplit=1)[0]
        return bool(int(mask, 16) >> (signum - 1) & 1)
    except (IndexError, ValueError):
        return False


def _read_of(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""


def threads_of(pid: int) -> list[int]:
    """Return the ids of the threads of a process; of none if it is gone.  What /proc tells of it, it tells of each."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def children_of(pid: int) -> list[int]:
    """Return the children of a process, those of its other threads included; none where the kernel cannot tell."""
    return [int(child) for thread in threads_of(pid) for child in _read_of(pid, f"task/{thread}/children").split()]


def command_line_of(pid: int) -> bytes:
    """Return the arguments of a process, each ended by a zero byte, or the title that it has put in their place."""
    return _read_of(pid, "cmdline")


def title_of(pid: int) -> str:
    """Return the command line or title of a process as text; empty if there is none."""
    return command_line_of(pid).decode(errors="replace").replace("\0", " ").strip()


def machine_boot() -> str:
    """Return what changes with each boot of the machine; empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
