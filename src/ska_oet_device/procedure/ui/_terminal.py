"""What a terminal would show of the last lines of an output: for people, who read it in an attribute.

Progress bars write a line again and again, by carriage returns, backspaces and movements of the cursor, and colour it.
Of each line its last state counts.  A pure function, for any text: it raises nothing, and what it takes and returns is
bounded by the length of the text.
"""

from __future__ import annotations

import re

_RIGHTMOST = 200  # column that movements of the cursor lead to: a terminal ends somewhere

# CSI (ECMA-48 5.4); OSC and the other strings, up to their end or, if that is still to come, to the end of the text;
# other escapes; and what else is no character.
_CONTROL = re.compile(
    r"\x1b\[(?P<arguments>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|\x1b\[[0-?]*[ -/]*\Z"
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\Z)"
    r"|\x1b[ -/]*(?:[0-~]|\Z)"
    r"|[\x00-\x08\x0b-\x1f\x7f]"
    r"|\n",
    re.DOTALL,
)


class _Screen:
    """Lines as they stand, and where the next character goes."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0

    def write(self, text: str) -> None:
        line, column = self.lines[self.row], self.column
        if column == len(line):  # as nearly always
            line.extend(text)
        else:
            line.extend(" " * (column - len(line)))
            line[column : column + len(text)] = text
        self.column += len(text)

    def new_line(self) -> None:
        self.row += 1
        self.column = 0
        if self.row == len(self.lines):
            self.lines.append([])

    def move(self, rows: int) -> None:
        """Go down, or up, among the lines that there are: at its edges a terminal does not scroll for that."""
        self.row = min(max(0, self.row + rows), len(self.lines) - 1)

    def erase_line(self, which: int) -> None:
        line = self.lines[self.row]
        if which == 0:
            del line[self.column :]
        elif which == 1:
            line[: self.column + 1] = " " * min(self.column + 1, len(line))
        else:
            line.clear()

    def erase_below(self) -> None:
        self.erase_line(0)
        del self.lines[self.row + 1 :]

    def control(self, final: str, arguments: str) -> None:
        """Do what a control sequence says, if it moves the cursor or erases; colours and all else are left out."""
        first = arguments.split(";")[0]
        number = int(first) if first.isdecimal() and len(first) < 5 else 0
        steps = max(1, number)
        if final == "K":
            self.erase_line(number)
        elif final == "J" and number == 0:
            self.erase_below()
        elif final in "AF":
            self.move(-steps)
        elif final in "BE":
            self.move(steps)
        elif final == "C":
            self.column = max(self.column, min(self.column + steps, _RIGHTMOST))
        elif final == "D":
            self.column = max(0, self.column - steps)
        elif final == "G":
            self.column = min(steps - 1, _RIGHTMOST)
        if final in "EF":
            self.column = 0


def as_shown(text: str) -> str:
    """Return what a terminal without an end to the right would show: without trailing blanks, one line a line."""
    if not _CONTROL.search(text.replace("\n", "")):
        return text
    screen = _Screen()
    end = 0
    for found in _CONTROL.finditer(text):
        if found.start() > end:
            screen.write(text[end : found.start()])
        end = found.end()
        _obey(screen, found)
    if end < len(text):
        screen.write(text[end:])
    return "\n".join("".join(line).rstrip(" ") for line in screen.lines)


def _obey(screen: _Screen, found: re.Match[str]) -> None:
    what = found[0]
    if what == "\n":
        screen.new_line()
    elif what == "\r":
        screen.column = 0
    elif what == "\b":
        screen.column = max(0, screen.column - 1)
    elif found["final"]:
        screen.control(found["final"], found["arguments"])
