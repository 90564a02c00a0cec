"""What an earlier main, which died, has left behind.  Runs in the device server, or in the caller of an engine."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Mapping

from ...mptools import ProcessStat, Signalled, all_pids, kill_group, send_signal, stat_of
from ..marks import runs_of

_log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.01  # seconds; the killed take a moment to be gone

Stats = dict[int, ProcessStat]


def reap_escaped(run_ids: Mapping[int, str], patience: float = 1.0) -> dict[int, list[int]]:
    """Kill the processes that an earlier main, which died, has left behind.

    :param run_ids: {procedure id: the run id that its processes carry}; an empty one is carried by none
    :param patience: seconds to wait until they are gone
    :return: {procedure id: ids of the processes that were killed}
    """
    search = _Search({run_id: uid for uid, run_id in run_ids.items() if run_id})
    deadline = time.monotonic() + patience
    while (left := search.kill()) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN)
    if left or search.refused:
        _log.error("processes of scripts that cannot be ended are left behind: %s", sorted({*left, *search.refused}))
    return search.reaped


class _Search:
    """Looks for the processes of some runs: those that carry the run id, and what descends from these.

    Ancestry is known as far as there are parents; beyond that, by the session, which can be left for a new one only.
    No descendant is older than its ancestor.
    """

    def __init__(self, uids: Mapping[str, int]) -> None:
        self._uids = uids
        self._sessions: dict[int, int] = {}
        self._spared_sessions: set[int] = set()
        self.reaped: dict[int, list[int]] = {}
        self.refused: set[int] = set()

    def kill(self) -> list[int]:
        """Kill what is found in one look; returns the ids of those that may be gone at the next one."""
        if not self._uids:
            return []
        stats = {pid: stat for pid in all_pids() if (stat := stat_of(pid)) is not None}
        found = self._owners(stats)
        for pid, uid in found.items():
            self._kill(pid, stats[pid], uid)
        return [pid for pid in found if pid not in self.refused]

    def _owners(self, stats: Stats) -> dict[int, int]:
        """Return whose each process is that belongs to one of the procedures."""
        spared = _self_and_ancestors(stats)
        self._spared_sessions = {stats[pid].session for pid in spared}
        candidates = [pid for pid, stat in stats.items() if pid not in spared and not stat.has_ended]
        owners = {pid: uid for pid in candidates if (uid := self._marked(pid)) is not None}
        while True:
            self._note_sessions(owners, stats)
            more = {
                pid: uid
                for pid in candidates
                if pid not in owners and (uid := self._by_ancestry(stats[pid], owners, stats)) is not None
            }
            if not more:
                return owners
            owners |= more

    def _marked(self, pid: int) -> int | None:
        return next((self._uids[run_id] for run_id in runs_of(pid) if run_id in self._uids), None)

    def _note_sessions(self, owners: Mapping[int, int], stats: Stats) -> None:
        """Note whose a session is: of who leads it, or of any in it if who has led it is gone."""
        for pid, uid in owners.items():
            session = stats[pid].session
            is_known = session in owners or session not in stats or stats[session].has_ended
            if is_known and session not in self._spared_sessions:
                self._sessions.setdefault(session, owners.get(session, uid))

    def _by_ancestry(self, stat: ProcessStat, owners: Mapping[int, int], stats: Stats) -> int | None:
        if stat.parent in owners and stat.start >= stats[stat.parent].start:
            return owners[stat.parent]
        return self._sessions.get(stat.session)

    def _kill(self, pid: int, stat: ProcessStat, uid: int) -> None:
        now = stat_of(pid)
        if now is None or now.start != stat.start:  # gone, and its id is perhaps another's
            return
        if now.session in self._sessions:
            kill_group(now.group)  # at once, so that it cannot fork meanwhile
        answer = send_signal(pid, signal.SIGKILL)
        if answer is Signalled.REFUSED:
            self.refused.add(pid)
        elif answer is Signalled.SENT and pid not in self.reaped.setdefault(uid, []):
            self.reaped[uid].append(pid)


def _self_and_ancestors(stats: Stats) -> set[int]:
    """Return those that are spared, whatever they carry."""
    pids, pid = set(), os.getpid()
    while pid in stats and pid not in pids:
        pids.add(pid)
        pid = stats[pid].parent
    return pids
