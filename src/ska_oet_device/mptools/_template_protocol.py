"""What main and the template process have agreed on; apart, so that main need not load what forking takes."""

from __future__ import annotations

import struct
from collections.abc import Iterable

FORK_REFUSED, FORKED, FORK_FAILED, WORKER_READY = 249, 250, 251, 252
"""Frame tags by which a new worker's pipe announces it; the tags below belong to the user of the pipe.

Refused: the system has no process or descriptor to give now.  Failed: this template cannot fork any more.
"""

PID = struct.Struct("!I")
OF_A_BIRTH = {FORK_REFUSED: 64 * 1024, FORKED: PID.size, FORK_FAILED: 64 * 1024, WORKER_READY: 0}
"""Bytes that a frame of each of these tags may have."""

CONTROL_FD = 3
REQUEST_SIZE = 16
REPORT_SIZE = 64 * 1024

TEMPLATE_TITLE, SPARE_TITLE = "oet-template", "oet-spare"
"""The titles of the template process, and of a worker that has no work yet."""


def report_of(problems: Iterable[str]) -> bytes:
    """Return what the template says when it has imported its modules: a first line, and one for each problem.

    What is too long for one message is cut off.
    """
    lines = ["ready", *(" ".join(problem.split()) for problem in problems)]
    return "\n".join(lines).encode(errors="backslashreplace")[:REPORT_SIZE]


def problems_in(report: bytes) -> list[str]:
    """Return the problems that a report tells."""
    return report.decode(errors="replace").split("\n")[1:]
