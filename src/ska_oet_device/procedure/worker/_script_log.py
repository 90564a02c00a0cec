"""The log of a script that has configured none: the SKA's lines on standard output, from INFO on.

For all else logging is as Python starts it.  The root logger has no handler: `basicConfig`, `dictConfig`, and whoever
looks whether somebody has set the log up, find what they find anywhere.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from ...logs import SkaFormatter


class _OurLevel(int):
    """The root logger's level while nobody has said another one; what a script sets is an integer like any other."""


class _OnStandardOutput(logging.StreamHandler[TextIO]):
    """Writes to what is standard output when something is logged: a script may have put another stream there."""

    def __init__(self, tags: str) -> None:
        logging.Handler.__init__(self)  # the other one would set the stream
        self.tag(tags)

    def tag(self, tags: str) -> None:
        """Have records that bring no tags be told with these."""
        self.setFormatter(SkaFormatter(tags, scripts=True))

    @property
    def stream(self) -> Any:  # type: ignore[override]
        """The stream that the process began with; the script's own where that one has been closed or taken apart."""
        return sys.__stdout__ if _is_usable(sys.__stdout__) else sys.stdout


def _is_usable(stream: TextIO | None) -> bool:
    try:
        return stream is not None and not stream.closed
    except ValueError:  # its buffer was detached
        return False


class _Handlers(list[logging.Handler]):
    """The handlers of the root logger.  While there are none, a record that is handed to each of them meets ours.

    `logging.lastResort` would not do: it is for those alone of whose loggers none has a handler, and libraries give
    theirs a NullHandler.
    """

    def __init__(self, ours: _OnStandardOutput) -> None:
        super().__init__()
        self._ours = ours

    def __iter__(self) -> Iterator[logging.Handler]:
        return super().__iter__() if len(self) else iter((self._ours,))

    def tag(self, tags: str) -> None:
        """Have ours tell these tags, whether it is used or not."""
        self._ours.tag(tags)

    def append(self, handler: logging.Handler) -> None:
        """Take a handler of the script: its log is its own from now on, with the level that Python begins with."""
        super().append(handler)
        if isinstance(logging.root.level, _OurLevel):
            logging.root.setLevel(logging.WARNING)


def _unless_implied(basic_config: Callable[..., None]) -> Callable[..., None]:
    """Have `logging.info` and its kin, which configure what nobody has configured, leave it to ours; a script may."""

    @functools.wraps(basic_config)
    def configure(**options: Any) -> None:
        if sys._getframe(1).f_globals is not vars(logging):
            basic_config(**options)

    return configure


def configure_logging(tags: str = "") -> None:
    """Begin the log of a process that runs a script, replacing what was set up before."""
    for handler in logging.root.handlers[:]:
        logging.root.removeHandler(handler)
        handler.close()
    logging.root.handlers = _Handlers(_OnStandardOutput(tags))
    logging.root.setLevel(_OurLevel(logging.INFO))
    if not hasattr(logging.basicConfig, "__wrapped__"):
        logging.basicConfig = _unless_implied(logging.basicConfig)


def change_tags(tags: str) -> None:
    """Have what is logged from now on be told with other tags; a log that the script has set up is its own."""
    if isinstance(logging.root.handlers, _Handlers):
        logging.root.handlers.tag(tags)
