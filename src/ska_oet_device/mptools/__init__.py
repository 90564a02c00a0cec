"""Processes, pipes, signals and deadlines: a small toolkit that knows nothing of procedures."""

from ._event_loop import EventLoop, Timer
from ._pipe import BrokenPipeProtocolError, Channel, Connection, Frame, FrameReader, encode
from ._plain import NotPlainError, dumps, loads
from ._pool import WorkerPool
from ._process import (
    Children,
    ExitStatus,
    all_pids,
    carries_mark,
    kill_group,
    machine_boot,
    own_python,
    send_signal,
    spawn,
    stat_of,
    title_of,
)
from ._signals import InterruptGate, TerminateInterrupt, become_subreaper, die_with_parent
from ._surroundings import replace_standard_streams, set_up_process
from ._template_protocol import SPARE_TITLE, TEMPLATE_TITLE, WORKER_READY
from ._worker import EndOfWork, ProcWorker
from ._worker_handle import WorkerHandle

__all__ = [
    "SPARE_TITLE",
    "TEMPLATE_TITLE",
    "WORKER_READY",
    "BrokenPipeProtocolError",
    "Channel",
    "Children",
    "Connection",
    "EndOfWork",
    "EventLoop",
    "ExitStatus",
    "Frame",
    "FrameReader",
    "InterruptGate",
    "NotPlainError",
    "ProcWorker",
    "TerminateInterrupt",
    "Timer",
    "WorkerHandle",
    "WorkerPool",
    "all_pids",
    "become_subreaper",
    "carries_mark",
    "die_with_parent",
    "dumps",
    "encode",
    "kill_group",
    "loads",
    "machine_boot",
    "own_python",
    "replace_standard_streams",
    "send_signal",
    "set_up_process",
    "spawn",
    "stat_of",
    "title_of",
]
