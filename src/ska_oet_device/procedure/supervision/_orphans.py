"""Which process belongs to which procedure, after its parent is gone.

Processes that a script started and left behind fall to main, the subreaper.  The session, the
run id in the title (inherited by fork) and the run id in the environment (inherited by exec)
tell whose they are.  One that has shed all three belongs to one of the procedures that lived
when it was started.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable

from ...mptools import (
    SPARE_TITLE,
    TEMPLATE_TITLE,
    Children,
    EventLoop,
    Timer,
    kill_group,
    send_signal,
    stat_of,
    title_of,
)
from ..marks import carries_run

# A worker that the template has just made is nobody's orphan, though main has not read of its birth yet.
_NOBODYS = (SPARE_TITLE, TEMPLATE_TITLE)

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

    def begin(self) -> None:
        """Kill the group that the worker led, then look for the rest."""
        # Its id is given to no other process while one of its group lives: whoever has it now is a stranger.
        if stat_of(self._pid) is None:
            kill_group(self._pid)
        self._work()

    def _work(self) -> None:
        """Look for descendants and kill them; again until there are none."""
        alive = self._kill_all(self._children.orphans())
        if not alive:
            self._announce()
            return
        if self._waited >= _ANNOUNCE_AFTER:
            self._announce()
        if self._waited < _GIVE_UP_AFTER:
            self._waited += _LOOK_AGAIN
            self._timer = self._loop.call_later(_LOOK_AGAIN, self._work)

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
        if stat is None or stat.state == "Z" or title_of(orphan).startswith(_NOBODYS):
            return False
        if stat.session == self._pid or carries_run(orphan, self._run_id):
            return True
        return not self._could_belong_elsewhere(stat.start)

    def _announce(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self._killed)
