"""Which process belongs to which procedure, after its parent is gone.

Processes that a script started and left behind fall to main, the subreaper.  The session, the
run id in the title (inherited by fork) and the run id in the environment (inherited by exec)
tell whose they are.  One that has shed all three belongs to one of the procedures that lived
when it was started.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping

from ...mptools import Children, EventLoop, Timer, all_pids, carries_mark, send_signal, stat_of, title_of
from ._marks import RUN_ID_VARIABLE, run_title

# A worker that the template has just made is nobody's orphan, though main has not read of its birth yet.
SPARE_TITLES = ("oet-spare", "oet-template")

_LOOK_AGAIN = 0.01  # seconds; children of the killed fall to main a moment later
_ANNOUNCE_AFTER = 0.04  # seconds after which an end is announced though something still dies
_GIVE_UP_AFTER = 10.0


class Undertaker:
    """Kills what an ended procedure has left behind, and says when that is done.  Runs in main's loop.

    :param pid: the worker, which has ended
    :param run_id: the mark that its descendants carry
    :param could_belong_elsewhere: says of an unmarked process, by its start in clock ticks, whether
        another living procedure may have started it
    :param done: called once, with the ids of the processes that had to be killed
    """

    def __init__(
        self,
        loop: EventLoop,
        children: Children,
        pid: int,
        run_id: str,
        could_belong_elsewhere: Callable[[int], bool],
        done: Callable[[list[int]], None],
    ) -> None:
        self._loop = loop
        self._children = children
        self._pid = pid
        self._run_id = run_id
        self._could_belong_elsewhere = could_belong_elsewhere
        self._done: Callable[[list[int]], None] | None = done
        self._killed: list[int] = []
        self._waited = 0.0
        self._timer: Timer | None = None

    def work(self) -> None:
        """Look for descendants and kill them; again until there are none."""
        alive = self._kill_all(self._children.orphans())
        if not alive:
            self._announce()
            return
        if self._waited >= _ANNOUNCE_AFTER:
            self._announce()
        if self._waited < _GIVE_UP_AFTER:
            self._waited += _LOOK_AGAIN
            self._timer = self._loop.call_later(_LOOK_AGAIN, self.work)

    def _kill_all(self, orphans: Iterable[int]) -> bool:
        alive = False
        for orphan in orphans:
            if orphan in self._killed or self._is_mine(orphan):
                alive = True
                if orphan not in self._killed:
                    self._killed.append(orphan)
                send_signal(orphan, signal.SIGKILL)
        return alive

    def _is_mine(self, orphan: int) -> bool:
        stat = stat_of(orphan)
        if stat is None or stat.state == "Z" or title_of(orphan).startswith(SPARE_TITLES):
            return False
        if stat.session == self._pid or carries_run(orphan, self._run_id):
            return True
        return not self._could_belong_elsewhere(stat.start)

    def _announce(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self._killed)


def carries_run(pid: int, run_id: str) -> bool:
    """Say whether a process is of the run `run_id`: a worker, what it forked, or what that executed."""
    return bool(run_id) and carries_mark(pid, run_title(run_id), f"{RUN_ID_VARIABLE}={run_id}")


def reap_escaped(run_ids: Mapping[int, str], patience: float = 1.0) -> dict[int, list[int]]:
    """Kill the processes that an earlier main, which died, has left behind; runs in the device server.

    :param run_ids: {procedure id: the run id that its processes carry}
    :param patience: seconds to wait until they are gone
    :return: {procedure id: ids of the processes that were killed}
    """
    reaped: dict[int, list[int]] = {}
    deadline = time.monotonic() + patience
    while run_ids and time.monotonic() < deadline:
        found = {pid: uid for pid in all_pids() for uid, mark in run_ids.items() if _escaped(pid, mark)}
        if not found:
            break
        for pid, uid in found.items():
            if pid not in reaped.setdefault(uid, []):
                reaped[uid].append(pid)
            send_signal(pid, signal.SIGKILL)
        time.sleep(_LOOK_AGAIN)
    return reaped


def _escaped(pid: int, mark: str) -> bool:
    if pid == os.getpid() or not carries_run(pid, mark):
        return False
    stat = stat_of(pid)
    return stat is not None and stat.state != "Z"
