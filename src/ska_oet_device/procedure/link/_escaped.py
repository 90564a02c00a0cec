"""What an earlier main, which died, has left behind.  Runs in the device server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping

from ...mptools import all_pids, send_signal, stat_of
from ..marks import carries_run

_LOOK_AGAIN = 0.01  # seconds; the killed take a moment to be gone


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
