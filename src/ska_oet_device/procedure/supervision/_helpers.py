"""Python's own helpers among what a worker leaves behind: they have a moment in which to clean up.

multiprocessing's resource tracker, and loky's, unlink the shared memory and the semaphores of processes that could not
do that themselves.  It ends by itself, as soon as nobody holds the other end of its pipe any more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ...mptools import ProcessStat, children_of, command_line_of, stat_of

LONGEST_MOMENT = 2.0  # seconds; one that only says that it is a helper lives for no longer
_MOMENT = 0.25  # seconds for one that waits, though nothing else has ended, or come to light, meanwhile
_MARK = b"resource_tracker import main"  # in the command line: what each of these runs, in all versions
_MOST_SPARED = 3  # of one worker: multiprocessing's, loky's, and that of another program
_LEAST_SEARCHED = 30  # processes that are looked at however long it takes on a busy machine


@dataclass
class _Spared:
    """What says that it is a helper, until when it is not killed, by the monotonic clock, and whether that is over."""

    group: int
    until: float
    at_most: float
    is_over: bool = False


class Helpers:
    """The helpers that are spared for a moment.  In main's loop.

    What a process says of itself may be a lie.  So one that sleeps is killed soon: nobody is left whom it could wait
    for.  One that runs, or waits for the processor or a disk, may be a Python that has yet to start on a busy machine.
    On such a machine main, too, may wait: a moment is never over in the middle of a look, when those who were killed in
    it have had no time to end.
    """

    def __init__(self) -> None:
        self._spared: dict[tuple[int, int], _Spared] = {}  # by id and start; also those whose moment is over

    def look_for(self, left_behind: Iterable[tuple[int, ProcessStat]], until: float) -> None:
        """Find helpers among what an ended worker has left behind, and the descendants of that.

        A process that comes later is not spared.

        :param until: when to stop looking, by the monotonic clock: what multiplies must be killed first
        """
        found = 0
        waiting = [pid for pid, _ in left_behind]
        for number, pid in enumerate(waiting):  # which grows meanwhile
            if number >= _LEAST_SEARCHED and time.monotonic() > until:
                return
            line = command_line_of(pid)
            # One that the kernel is giving another program has no command line; its parent may run on already (vfork).
            if _MARK in line or not line:
                found += self._spare(pid)
                if found == _MOST_SPARED:
                    return
            waiting += children_of(pid)

    def _spare(self, pid: int) -> bool:
        """Begin its moment, unless it has had one; says whether it has begun."""
        stat = stat_of(pid)
        if stat is None or stat.has_ended or (pid, stat.start) in self._spared:
            return False
        now = time.monotonic()
        self._spared[pid, stat.start] = _Spared(stat.group, now + _MOMENT, now + LONGEST_MOMENT)
        return True

    def begin_look(self, alive: Iterable[tuple[int, int]]) -> None:
        """Note that there is one more look at what is left behind.

        :param alive: id and start of what was alive at the end of the last one: a helper waits for the others of them
        """
        if any(process not in self._spared for process in alive):
            self.note_news()
        now = time.monotonic()
        for spared in self._spared.values():
            spared.is_over = now >= spared.until

    def is_spared(self, pid: int, stat: ProcessStat) -> bool:
        """Say whether a process is not to be killed yet."""
        spared = self._spared.get((pid, stat.start))
        if spared is None:
            return False
        line = command_line_of(pid)
        if line and _MARK not in line:  # it has become another program
            del self._spared[pid, stat.start]
            return False
        if stat.state in "RD":
            self._put_off(spared)
            spared.is_over = time.monotonic() >= spared.until
        return not spared.is_over

    def note_news(self) -> None:
        """Another process has ended, or come to light: it may have held the other end of a helper's pipe until now."""
        for spared in self._spared.values():
            self._put_off(spared)

    @staticmethod
    def _put_off(spared: _Spared) -> None:
        """Begin its moment anew, as far as it may last."""
        spared.until = min(time.monotonic() + _MOMENT, spared.at_most)

    def is_in(self, group: int) -> bool:
        """Say whether a group is not to be killed as a whole yet."""
        return any(spared.group == group and not spared.is_over for spared in self._spared.values())

    def forget(self) -> None:
        """Nothing is left behind any more."""
        self._spared.clear()
