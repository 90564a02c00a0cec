"""What others have written, made harmless for a terminal: colours stay, whatever else could steer it goes."""

from __future__ import annotations

import re

# Those that change the direction of a text could show it as something else.
_UNWANTED = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069"
_PIECES = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # all other control sequences: cursor, screen, modes
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # title, clipboard, links: with a text of their own
    r"|\x1b[ -/]*[0-~]"
    rf"|[{_UNWANTED}]"
)
_CUT = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?$")
_LONGEST_CUT = 4096  # characters; what is longer is no sequence
RESET = "\x1b[0m"


class Harmless:
    """Filters a text that comes in pieces: a sequence may be cut between two of them.

    :param colours: whether colours stay
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._kept = ""
        self._is_coloured = False

    def feed(self, text: str) -> str:
        """Return what of the next piece may be shown; line ends, tabs and carriage returns are left as they are."""
        text = self._kept + text
        cut = _CUT.search(text)
        self._kept = ""
        if cut is not None and len(cut[0]) <= _LONGEST_CUT:
            text, self._kept = text[: cut.start()], cut[0]
        return _PIECES.sub(self._replacement, text)

    def end(self) -> str:
        """Return what puts the colours back."""
        return RESET if self._is_coloured else ""

    def _replacement(self, found: re.Match[str]) -> str:
        colour = found["colour"]
        if colour is None or not self._colours:
            return ""
        self._is_coloured = colour not in (RESET, "\x1b[m")
        return colour


def one_line(text: object) -> str:
    """Return a text as one line without any control characters."""
    return " ".join(_PIECES.sub("", str(text)).split())


def lines_of(text: str) -> str:
    """Return a text of several lines without control characters and colours."""
    return _PIECES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
