"""Whose handler answers SIGTERM: the script's own, if it has one, while its code runs; this program's in between.

Runs in the main thread of a worker.
"""

from __future__ import annotations

import signal
from typing import Any


class TermHandlers:
    """The handler of this program, which was there first, and the one that the script has put into its place.

    A script may answer SIGTERM as it likes, or ignore it, as long as it runs.  Between two functions a handler of its
    own would take the signal that is to end the worker, and nothing would come of it.
    """

    def __init__(self) -> None:
        self._ours = signal.getsignal(signal.SIGTERM)
        self._scripts: Any = None

    def hand_over(self) -> None:
        """The script's code runs next."""
        if self._scripts is not None:
            scripts, self._scripts = self._scripts, None
            signal.signal(signal.SIGTERM, scripts)

    def take_back(self) -> None:
        """The script's code has run.

        The default is no handler of the script's: asyncio puts it into the place of the one that it has had.
        """
        handler = signal.getsignal(signal.SIGTERM)
        if handler is not self._ours and handler is not None:  # None: it is none of Python's
            self._scripts = handler if handler is not signal.SIG_DFL else None
            signal.signal(signal.SIGTERM, self._ours)
