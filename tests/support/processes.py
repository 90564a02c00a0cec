"""Processes as a test sees them from outside: what /proc tells."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from ska_oet_device.mptools import SPARE_TITLE, TEMPLATE_TITLE, all_pids, stat_of, title_of

from .waiting import wait_until

SCRIPT_TITLE = "oet-script "
ENGINE_MAIN = "ska_oet_device._engine_main"


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that someone else still has to reap has."""
    stat = stat_of(pid)
    return stat is None or stat.has_ended


def suspend(pid: int) -> None:
    """Stop a process (SIGSTOP), and return when none of its threads runs any more.

    On a busy machine one that was sent the signal goes on for a while, and answers.
    One that ends meanwhile is stopped, too.
    """
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_gone(pid) or states_of_threads(pid) <= set("TtZX"), what=f"process {pid} is stopped")


def states_of_threads(pid: int) -> set[str]:
    """Return the states of a process's threads, as proc(5) has them; of those that end meanwhile there may be none."""
    try:
        threads = list(map(int, os.listdir(f"/proc/{pid}/task")))
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {stat.state for each in threads if (stat := stat_of(each)) is not None}


def let_go_on(pid: int) -> None:
    """Undo SIGSTOP; on a busy machine main may have taken the process for one that hangs by then, and killed it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process stopped (SIGSTOP) meanwhile."""
    suspend(pid)
    try:
        yield
    finally:
        let_go_on(pid)


def children_of(pid: int) -> list[int]:
    """Return the children of a process; dead ones that are not reaped yet included."""
    return [each for each in all_pids() if (stat := stat_of(each)) is not None and stat.parent == pid]


def descendants_of(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on."""
    parents = {each: stat.parent for each in all_pids() if (stat := stat_of(each)) is not None}
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def engine_mains(parent: int | None = None) -> list[int]:
    """Return the main processes of the engines that a process has started; None: this one."""
    return [pid for pid in children_of(parent or os.getpid()) if ENGINE_MAIN in title_of(pid)]


def spares_of(main: int) -> list[int]:
    """Return the spares of a main process that are at rest, the oldest first."""
    found = [(stat.start, pid) for pid in children_of(main) if title_of(pid) == SPARE_TITLE and (stat := stat_of(pid))]
    return [pid for _, pid in sorted(found) if (stat := stat_of(pid)) is not None and stat.state == "S"]


def unborn_of(main: int, template: int | None) -> list[int]:
    """Return the processes that the template has forked, and that are no spares yet."""
    return [pid for pid in children_of(main) if pid != template and title_of(pid) == TEMPLATE_TITLE]


def procedures_of(main: int) -> list[str]:
    """Return the procedures that have a process, as device#id."""
    titles = map(title_of, children_of(main))
    return sorted(title.split()[-1] for title in titles if title.startswith(SCRIPT_TITLE))


def descriptors_of(pid: int) -> list[str]:
    """Return what the descriptors of a process are, sorted."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}").split(":")[0])
        except OSError:  # the one by which the folder was read
            continue
    return sorted(found)


def memory_of(pid: int) -> int:
    """Return the bytes of a process that are in memory."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
