"""What procedures leave behind: killed when a worker has ended, until nothing is left of it.

Each worker takes its orphaned descendants in while it lives, as a subreaper (prctl(2)); when it ends, they fall to
main.  So each child that main has not made was left behind by a worker that has ended, whatever it calls itself.
"""

from __future__ import annotations

import itertools
import logging
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ...mptools import Children, EventLoop, ProcessStat, Signalled, Timer, kill_group, send_signal
from ..marks import carries_run
from ._helpers import Helpers

_log = logging.getLogger(__name__)

_SHARE = 0.003  # seconds that one turn of the loop has for this: what others wait for is not delayed by more
_REST = 2.0  # times as long as a look: whoever takes all of a busy processor waits for it when something else comes
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05  # seconds between looks while the killed die; mostly SIGCHLD comes first
_GIVE_UP_AFTER = 10.0  # seconds after which what still lives is told as surviving
_GIVE_UP_REFUSED_AFTER = 1.0  # the same if nothing is left but what may not be killed
_LOOK_AFTER_SURVIVORS = 1.0  # seconds
_SEARCHED_FOR_HELPERS = 100  # processes that have been left behind, and what they have made
_MOST_TOLD = 100  # process ids; one that forks and exits at once leaves thousands


@dataclass(eq=False)
class _Burial:
    """One ended worker, and what is known of that which it has left behind."""

    pid: int
    run_id: str
    done: Callable[[list[int], list[int]], None]
    on_gone: Callable[[list[int]], None]
    began: float = field(default_factory=time.monotonic)
    killed: dict[int, None] = field(default_factory=dict)
    has_given_up: bool = False


@dataclass
class _Stray:
    """A process that was left behind, by one of `suspects`."""

    start: int
    session: int
    suspects: tuple[_Burial, ...]
    is_alive: bool = True
    is_refused: bool = False


class Undertaker:
    """Kills what ended workers have left behind, and says when that is done.  Runs in main's loop.

    It may take a third of a processor while a script's processes multiply, and never more than a share of one turn of
    the loop.
    """

    def __init__(self, loop: EventLoop, children: Children) -> None:
        self._loop = loop
        self._children = children
        self._burials: list[_Burial] = []
        self._fresh: list[_Burial] = []  # of which nothing has been killed yet
        self._helpers = Helpers()
        self._strays: dict[int, _Stray] = {}
        self._sessions: dict[int, tuple[_Burial, ...]] = {}
        self._is_looking = False
        self._rest_until = 0.0
        self._pause = _FIRST_PAUSE
        self._patience = _GIVE_UP_AFTER
        self._timer: Timer | None = None
        children.on_orphan_reaped = self._orphan_reaped

    def bury(
        self,
        pid: int,
        run_id: str,
        done: Callable[[list[int], list[int]], None],
        on_gone: Callable[[list[int]], None] = lambda reaped: None,
    ) -> None:
        """Kill all that a worker has left behind, until nothing is left.

        :param pid: the worker, which has been reaped
        :param run_id: the mark that its descendants should carry: if several workers end at once, it tells whose a
            process is most probably
        :param done: called once, with the ids of the processes that had to be killed (the first hundred), and of those
            that survive that: none, unless it is given up
        :param on_gone: called later, when the survivors have gone, with the ids of all that were left behind
        """
        burial = _Burial(pid, run_id, done, on_gone)
        self._burials.append(burial)
        self._fresh.append(burial)
        self._sessions[pid] = (burial,)
        self._pause = _FIRST_PAUSE
        self._loop.before_waiting(self._look)  # it concludes at once if nothing is left, as nearly always

    def give_up_soon(self) -> None:
        """From now on tell of what survives as soon as of what may not be killed: somebody waits for the end of all."""
        self._patience = _GIVE_UP_REFUSED_AFTER
        if self._is_active:
            self._look_within(0.0)

    # -- when to look

    def _orphan_reaped(self, _: int) -> None:
        """It may have left another one behind it."""
        if self._is_active and not self._is_looking:
            self._look_within(0.0)

    @property
    def _is_active(self) -> bool:
        return any(not burial.has_given_up for burial in self._burials)

    def _look(self) -> None:
        """Kill what there is, and look again at once for what it has made meanwhile; conclude if there is nothing."""
        if not self._burials:
            return
        began = time.monotonic()
        self._is_looking = True
        try:
            self._kill_and_conclude(began + _SHARE)
        finally:  # whatever those who are told do
            self._is_looking = False
            now = time.monotonic()
            self._rest_until = now + _REST * (now - began)
            self._look_later()

    def _kill_and_conclude(self, until: float) -> None:
        is_complete, has_news = self._kill_all(until)
        while has_news and time.monotonic() < until:
            is_complete, has_news = self._kill_all(until)
        if has_news:
            self._pause = _FIRST_PAUSE
        self._conclude(is_complete and not has_news)

    def _look_later(self) -> None:
        if self._is_active:
            self._look_within(self._pause)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        elif self._burials:
            self._look_within(_LOOK_AFTER_SURVIVORS)

    def _look_within(self, seconds: float) -> None:
        """Look after so many seconds, but rest before; sooner if that is so already."""
        now = time.monotonic()
        when = max(now + seconds, self._rest_until)
        if self._timer is not None and self._timer.callback is not None:
            if self._timer.when <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(when - now, self._look)

    # -- one look

    def _kill_all(self, until: float) -> tuple[bool, bool]:
        """Kill and reap; returns whether all was gone through in time, and whether anything was new.

        A dead one is news, since it may have left another one behind it.
        """
        strays: dict[int, _Stray] = {}
        has_news = False
        self._helpers.begin_look((pid, stray.start) for pid, stray in self._strays.items() if stray.is_alive)
        left_behind, is_complete = self._children.left_behind()
        for pid, stat in self._with_fresh_groups_killed(left_behind, until):
            # Not so one whose main thread has ended while others go on, which is in the same state.
            has_ended = stat.state in "ZX" and self._children.has_ended(pid)
            answer = None if self._helpers.is_spared(pid, stat) else self._kill(pid, stat)
            stray = self._strays.get(pid)
            if stray is None or stray.start != stat.start:
                stray = _Stray(stat.start, stat.session, self._suspects(pid, stat))
                has_news = True
            strays[pid] = stray
            if has_ended:
                stray.is_alive, has_news = False, True
                self._children.reap(pid)
            elif answer is not None:
                self._note(pid, stray, answer)
            if time.monotonic() > until:
                is_complete = False
                break
        if not is_complete:
            strays = {pid: stray for pid, stray in self._strays.items() if stray.is_alive} | strays
        self._strays = strays
        self._note_sessions()
        if has_news:
            self._helpers.note_news()
        return is_complete, has_news

    def _with_fresh_groups_killed(
        self, left_behind: Iterator[tuple[int, ProcessStat]], until: float
    ) -> Iterator[tuple[int, ProcessStat]]:
        """Kill the groups of workers that have just ended, unless one of Python's helpers is to clean up behind them.

        :return: the same, of which the beginning has been gone through
        """
        if not self._fresh:
            return left_behind
        first = list(itertools.islice(left_behind, _SEARCHED_FOR_HELPERS))
        self._helpers.look_for(first, until)
        for burial in self._fresh:
            self._kill_group(burial.pid)
        self._fresh = []
        return itertools.chain(first, left_behind)

    def _kill_group(self, pid: int) -> None:
        # Its id is given to no other process while one of its group lives: whoever has it now is a stranger.
        if not send_signal(pid, 0) and not self._helpers.is_in(pid):
            kill_group(pid)

    def _kill(self, pid: int, stat: ProcessStat) -> Signalled:
        """Kill one, and its group with it, which could escape by forking; who has led that may be dead already."""
        if not self._helpers.is_in(stat.group):
            kill_group(stat.group)
        return send_signal(pid, signal.SIGKILL)

    @staticmethod
    def _note(pid: int, stray: _Stray, answer: Signalled) -> None:
        stray.is_refused = answer is Signalled.REFUSED
        killed = stray.suspects[0].killed if stray.suspects else {}
        if not stray.is_refused and len(killed) < _MOST_TOLD:
            killed[pid] = None

    def _note_sessions(self) -> None:
        """Note whose the sessions are of which something has just been seen; the ids of others are used again."""
        self._sessions = {burial.pid: (burial,) for burial in self._burials if not burial.has_given_up}
        self._sessions |= {stray.session: stray.suspects for stray in self._strays.values()}

    def _suspects(self, pid: int, stat: ProcessStat) -> tuple[_Burial, ...]:
        """Return whose a process may be, the most probable one first: its session tells that, which cannot be forged.

        By all else it may lie; each one that ends now has to wait for it then.
        """
        known = tuple(burial for burial in self._sessions.get(stat.session, ()) if burial in self._burials)
        suspects = known or tuple(burial for burial in self._burials if not burial.has_given_up)
        suspects = suspects or tuple(self._burials)
        if len(suspects) > 1:
            suspects = tuple(sorted(suspects, key=lambda burial: not carries_run(pid, burial.run_id)))
        return suspects

    # -- what came of it

    def _conclude(self, is_certain: bool) -> None:
        """Tell of the burials of which nothing is left, if that `is_certain`, and of those that are given up."""
        for burial in list(self._burials):
            left = [pid for pid, stray in self._strays.items() if stray.is_alive and burial in stray.suspects]
            if not left and is_certain:
                self._burials.remove(burial)
                self._succeed(burial)
            elif not burial.has_given_up and self._is_hopeless(burial, left):
                self._give_up(burial, left)
        if not self._burials:
            self._helpers.forget()

    @staticmethod
    def _succeed(burial: _Burial) -> None:
        if burial.has_given_up:
            burial.on_gone(list(burial.killed))
        else:
            burial.done(list(burial.killed), [])

    def _is_hopeless(self, burial: _Burial, left: list[int]) -> bool:
        waited = time.monotonic() - burial.began
        if not left and not self._strays:  # nothing can be told that a person could look at
            return False
        is_refused = bool(left) and all(self._strays[pid].is_refused for pid in left)
        return waited > (_GIVE_UP_REFUSED_AFTER if is_refused else self._patience)

    def _give_up(self, burial: _Burial, left: list[int]) -> None:
        burial.has_given_up = True
        survivors = (left or list(self._strays))[:_MOST_TOLD]
        _log.critical("what worker %d has left behind cannot be ended: processes %s", burial.pid, survivors)
        killed = [pid for pid in burial.killed if pid not in survivors]
        burial.killed |= dict.fromkeys(survivors)
        burial.done(killed, survivors)
