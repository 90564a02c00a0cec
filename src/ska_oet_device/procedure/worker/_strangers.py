"""Reaping what falls to a worker: orphaned descendants of its script, for which nobody waits.

A worker is a subreaper, so that main knows whose everything is that is left behind.  The kernel does not tell an
orphan that was adopted from a child of the script, and the end of a child is the script's alone to ask for.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys

from ...mptools import children_of_main_thread, stat_of

_SHORTEST_PAUSE, _LONGEST_PAUSE = 5.0, 320.0  # seconds between looks; while there are no children it doubles
_DOUBTFUL_KEPT = 500  # dead ones that may be the script's; a script that leaves more of its own waits for none of them


class Strangers:
    """The adopted children of this process.  For one thread of a worker.

    `pause` says in how many seconds to look again.
    """

    def __init__(self) -> None:
        self._session = os.getsid(0)
        self._doubtful: set[int] = set()
        self.pause = _SHORTEST_PAUSE
        self._waitpid = os.waitpid  # whatever the script makes of it

    def reap(self) -> None:
        """Reap the dead ones that were adopted for certain; of so many others that ids might run short, the old ones.

        Certain is what is in a session that neither this process nor it itself leads: a child cannot get there.
        """
        doubtful = set()
        children = children_of_main_thread()
        self.pause = _SHORTEST_PAUSE if children else min(self.pause * 2, _LONGEST_PAUSE)
        for pid in children:
            stat = stat_of(pid)
            if stat is None or stat.state != "Z":
                continue
            if stat.session not in (self._session, pid):
                self._reap(pid)
            else:
                doubtful.add(pid)
        if len(doubtful) > _DOUBTFUL_KEPT:
            for pid in (doubtful & self._doubtful) - _awaited():
                self._reap(pid)
        self._doubtful = doubtful

    def _reap(self, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):  # the script waits for whatever ends
            self._waitpid(pid, os.WNOHANG)


def _awaited() -> set[int]:
    """Return the ids of the children that somebody may ask for by an object of Python's."""
    subprocess = sys.modules.get("subprocess")
    multiprocessing = sys.modules.get("multiprocessing.process")
    popen = getattr(subprocess, "Popen", type(None))
    pids = {each.pid for each in gc.get_objects() if issubclass(type(each), popen) and hasattr(each, "pid")}
    pids |= {each.pid for each in list(getattr(multiprocessing, "_children", ()))}
    return pids
