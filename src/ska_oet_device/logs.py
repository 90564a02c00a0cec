"""Log lines in the SKA's standard format, on standard error of the process.

``1|2026-11-22T23:12:37.526Z|INFO|MainThread|function|file.py#1|tags|message``: version of the
format, UTC time, severity, thread, function, file and line, tags, message.
"""

from __future__ import annotations

import logging
import sys
import time


class SkaFormatter(logging.Formatter):
    """Formats a record as one line of the SKA's log format."""

    converter = staticmethod(time.gmtime)

    def __init__(self, tags: str = "") -> None:
        super().__init__(
            "1|%(asctime)s.%(msecs)03dZ|%(levelname)s|%(threadName)s|%(funcName)s|"
            f"%(filename)s#%(lineno)d|{tags.replace('%', '%%')}|%(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )


def configure_logging(tags: str = "", level: int = logging.INFO) -> None:
    """Send this process's log to its standard error, replacing what was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SkaFormatter(tags))
    logging.basicConfig(level=level, handlers=[handler], force=True)
