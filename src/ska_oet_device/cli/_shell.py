"""What every command of `oet` has: its device, and the way it writes to standard output."""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _times
from ._status import Ended, Status, unwritable
from ._table import table
from ._tango_host import NOT_SET, is_tango_host_set
from ._text import one_line
from ._tracing import begin_trace

if TYPE_CHECKING:
    from ..client import OetClient

_OF_OTHER_CLASSES = ("API_CommandNotFound", "API_AttrNotFound")
_COLOURS = {
    "COMPLETE": "32",
    "OK": "32",
    "DEGRADED": "33",
    "NO ANSWER": "1;31",
    "NOT RUNNING": "1;31",
    "RUNNING": "1;36",
    "READY": "36",
    "STOPPED": "33",
    "FAILED": "1;31",
    "UNKNOWN": "1;35",
}


@dataclass
class Shell:
    """A call of the command: what was said of the device and of the way of writing, and what follows from it.

    :param device: Tango name of the device; None: it is found
    :param as_json: whether all that is written is JSON, one object a line
    :param utc: whether times are UTC; else they are local
    :param login: who is said to ask; None: the login name
    :param program: how this call is called in a trace
    """

    device: str | None = None
    as_json: bool = False
    utc: bool = False
    login: str | None = None
    program: str = "oet"
    is_terminal: bool = field(default_factory=lambda: sys.stdout.isatty())

    @functools.cached_property
    def client(self) -> OetClient:
        """The client of the device; made when it is asked for, since Tango takes long to import.

        :raises Ended: nobody has said where the Tango database is
        """
        self.begin(self.device or os.environ.get("OET_DEVICE"))
        from ..client import OetClient

        return OetClient(self.device, user=self.login or _login_name())

    def begin(self, device: str | None = None) -> None:
        """Begin to use Tango.

        :param device: the name of the device that is meant, if one was named
        :raises Ended: nobody has said where the Tango database is
        """
        if not is_tango_host_set(device):
            raise Ended(Status.USAGE, "usage", NOT_SET)
        begin_trace(self.program)

    @contextlib.contextmanager
    def only_oet_devices(self) -> Iterator[None]:
        """Have a device of another class told as such.

        :raises Ended: it lacks what every OetDevice has
        """
        try:
            yield
        except Exception as error:
            if getattr(error, "reason", None) not in _OF_OTHER_CLASSES:
                raise
            raise Ended(Status.USAGE, "usage", f"{self.client.device} is no OetDevice: {error}") from None

    @property
    def is_capable(self) -> bool:
        """Whether standard output is a terminal on which something can be written in place."""
        return self.is_terminal and not self.as_json and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")

    @property
    def has_colours(self) -> bool:
        """Whether there may be colours: on a terminal, unless NO_COLOR is set."""
        return self.is_capable and not os.environ.get("NO_COLOR")

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None if it is none."""
        if not self.is_terminal:
            return None
        try:
            return os.get_terminal_size(sys.stdout.fileno()).columns or 80
        except OSError:
            return 80

    def time(self, seconds: float) -> str:
        """Return a time with its day, as it is shown."""
        return _times.day_and_time(seconds, utc=self.utc)

    def time_of_day(self, seconds: float) -> str:
        """Return a time without its day, as it is shown."""
        return _times.time_of_day(seconds, utc=self.utc)

    def coloured(self, text: str) -> str:
        """Return the name of a state, maybe with spaces behind it, in its colour."""
        colour = _COLOURS.get(text.strip(), "") if self.has_colours else ""
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text

    def write(self, text: str) -> None:
        """Write a text as it is, at once.

        :raises Ended: nobody reads it any more, or it cannot be written
        """
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            raise unwritable(error) from None

    def line(self, text: str = "") -> None:
        """Write a line."""
        self.write(f"{text}\n")

    def data(self, data: Mapping[str, Any]) -> None:
        """Write an object as a line of JSON."""
        self.line(json.dumps(data))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write a table; the second column is that of states."""
        cells = [[one_line("" if cell is None else cell) for cell in row] for row in rows]
        self.write("".join(f"{text}\n" for text in table(head, cells, self.width, self.coloured)))


def _login_name() -> str | None:
    try:
        return getpass.getuser()[:128]
    except (OSError, KeyError, ImportError):  # a container's user need not have a name
        return None
