"""What a worker does to its process: title, identity, output, memory.  Main thread of a worker."""

from __future__ import annotations

import logging
import os
import resource
import sys

from ...logs import about
from ...this_run import ThisRun
from ...trace_context import trace_id
from ..messages import Load
from ._script_log import configure_logging
from ._streams import Flusher, text_stream

_log = logging.getLogger(__name__)

_MEMORY_RESERVE = 16 * 1024 * 1024  # bytes beyond MaxMemory, for telling of its end


def set_title(title: str) -> None:
    """Set the title of this process, as `ps` shows it."""
    # Loaded by the template; main, which imports this package too, has no use for it.
    from setproctitle import setproctitle

    setproctitle(title)


def take_identity(message: Load) -> ThisRun:
    """Mark this process, and all it will start, as belonging to the procedure."""
    this_run = ThisRun(message.process_uid, message.run_id, message.device, message.context["subarray_id"])
    this_run.tell(message.folder)
    configure_logging(tags_of(this_run, message.traceparent))
    sys.argv = [message.path]
    return this_run


def tags_of(this_run: ThisRun, traceparent: str) -> str:
    """Return the tags of what the script logs, in the SKA's format."""
    return str(about(this_run.device, this_run.process_uid, this_run.run_id, trace_id(traceparent))["tags"])


def redirect_output(path: str, pipe: int | None, flusher: Flusher | None = None) -> None:
    """Have everything that this process and its children print go to a pipe, by descriptor.

    Where there is none, the output goes where the server's own does.

    :param path: of the file where it is to end; empty: nothing is kept
    :param pipe: its end that is written; closed here
    :param flusher: writes what is no line yet
    """
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    if pipe is not None:
        for standard in (1, 2):
            os.dup2(pipe, standard)
        os.close(pipe)
    elif path:
        _log.error("the output cannot be kept in %s: there is no pipe for it", path)
    # Python's own keep what is printed to a pipe or a file, also the server's, until the process ends.  Under both
    # names: who wraps what is behind one of them anew would close it with the last reference.
    sys.stdout = sys.__stdout__ = text_stream(1, "<stdout>", flusher)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = text_stream(2, "<stderr>", flusher)  # type: ignore[misc]


def offer_compatibility() -> None:
    """Let the script import what other executors offer; what is installed or beside the script goes before it."""
    from ...compatibility import FOLDER  # for those alone that are asked for it

    sys.path.append(FOLDER)


def limit_memory(size: int) -> None:
    """Let this process, and each of its children, allocate so many bytes more than it has now; 0: no limit."""
    if size <= 0:
        return
    with open("/proc/self/status") as status:
        has = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
    limit, most = has + size, resource.getrlimit(resource.RLIMIT_DATA)[1]
    if most == resource.RLIM_INFINITY:
        most = limit + _MEMORY_RESERVE
    resource.setrlimit(resource.RLIMIT_DATA, (min(limit, most), min(limit + _MEMORY_RESERVE, most)))


def use_memory_reserve() -> None:
    """Let this process, whose script has used up its memory, say so."""
    _, limit = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
