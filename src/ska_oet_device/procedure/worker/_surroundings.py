"""What a worker does to its process: title, identity, output, memory.  Main thread of a worker."""

from __future__ import annotations

import errno
import io
import logging
import os
import resource
import sys
from typing import Any

from ...logs import about, configure_logging
from ..marks import RUN_ID_VARIABLE
from ..messages import Load

_log = logging.getLogger(__name__)

_MEMORY_RESERVE = 16 * 1024 * 1024  # bytes beyond MaxMemory, for telling of its end


def set_title(title: str) -> None:
    """Set the title of this process, as `ps` shows it."""
    # Loaded by the template; main, which imports this package too, has no use for it.
    from setproctitle import setproctitle

    setproctitle(title)


def take_identity(message: Load) -> None:
    """Mark this process, and all it will start, as belonging to the procedure."""
    os.environ[RUN_ID_VARIABLE] = message.run_id
    configure_logging(str(about(message.device, message.process_uid, message.run_id)["tags"]))
    sys.argv = [message.path]


def redirect_output(path: str) -> None:
    """Have everything that this process and its children print go to a file, by descriptor."""
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    if not path:
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        _log.exception("the output cannot be kept in %s", path)
        return
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    sys.stdout, sys.stderr = text_stream(1), text_stream(2)


class _LenientFile(io.FileIO):
    """A file that drops what a full disk does not take: no script ends because of what it prints."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            return len(data)


def text_stream(descriptor: int) -> io.TextIOWrapper:
    """Return a stream that writes by line, so that what a script prints can be followed while it runs."""
    file = io.BufferedWriter(_LenientFile(descriptor, "w", closefd=False))
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)


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
