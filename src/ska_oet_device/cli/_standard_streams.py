"""Standard input, output and error, also where a shell has closed them (`>&-`): Python has None for such a one.

What is opened next would get its number, and Tango's sockets would be written to as if they were standard output.
"""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Have all three; before anything else is opened.

    What was closed gives nothing to read, fails to be written as it did before (EBADF), and takes errors in silence.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(_null(os.O_RDONLY), encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(_null(os.O_RDONLY), "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(_null(os.O_WRONLY), "w", encoding="utf-8", closefd=False)


def _null(flags: int) -> int:
    """Return the lowest number that is free: that of the stream, as long as nothing else was opened."""
    return os.open(os.devnull, flags)
