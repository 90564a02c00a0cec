"""Processes, pipes, signals and deadlines: a small toolkit that knows nothing of procedures."""

from ._event_loop import EventLoop, Timer
from ._pause import GrowingPause
from ._pipe import BrokenPipeProtocolError, Channel, Connection, Frame, FrameReader, encode
from ._plain import NotPlainError, TooLargeError, dumps, loads
from ._pool import WorkerPool
from ._process import (
    Children,
    ExitStatus,
    ProcessStat,
    Signalled,
    all_pids,
    catches,
    children_of,
    children_of_main_thread,
    command_line_of,
    fork_apart,
    kill_group,
    machine_boot,
    own_python,
    send_signal,
    spawn,
    stat_of,
    take_variable,
    threads_of,
    title_of,
    variable_of,
)
from ._signals import InterruptGate, TerminateInterrupt, become_subreaper, die_with_parent
from ._surroundings import output_pipe, raise_limits, replace_standard_streams, set_up_process
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
    "GrowingPause",
    "InterruptGate",
    "NotPlainError",
    "ProcWorker",
    "ProcessStat",
    "Signalled",
    "TerminateInterrupt",
    "Timer",
    "TooLargeError",
    "WorkerHandle",
    "WorkerPool",
    "all_pids",
    "become_subreaper",
    "catches",
    "children_of",
    "children_of_main_thread",
    "command_line_of",
    "die_with_parent",
    "dumps",
    "encode",
    "fork_apart",
    "kill_group",
    "loads",
    "machine_boot",
    "output_pipe",
    "own_python",
    "raise_limits",
    "replace_standard_streams",
    "send_signal",
    "set_up_process",
    "spawn",
    "stat_of",
    "take_variable",
    "threads_of",
    "title_of",
    "variable_of",
]
