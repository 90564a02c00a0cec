"""Tables as lines of text: full width through a pipe, folded to fit a terminal, in blocks where that is narrow."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len

_GAP = "  "
_LEAST = 20  # columns that the last column needs, to be folded
Paint = Callable[[str], str]
"""Colours a cell that has its final width already."""


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, paint: Paint | None = None
) -> Iterator[str]:
    """Yield the lines of a table; nothing of a cell is ever left out.

    :param width: of the terminal; None: it is none, and each row is one line
    :param paint: colours the cells of the second column
    """
    paint = paint or _plain
    widths = [max(cell_len(row[column]) for row in (head, *rows)) for column in range(len(head) - 1)]
    fixed = sum(widths) + len(_GAP) * len(widths)
    last = max((cell_len(row[-1]) for row in (head, *rows)), default=0)
    if width is None or fixed + last <= width:
        yield from (_row(row, widths, paint if row is not head else _plain) for row in (head, *rows))
    elif width - fixed >= _LEAST:
        for row in (head, *rows):
            first, *more = folded(row[-1], width - fixed)
            yield _row([*row[:-1], first], widths, paint if row is not head else _plain)
            yield from (" " * fixed + text for text in more)
    else:
        yield from _blocks(head, rows, width, paint)


def _row(row: Sequence[str], widths: Sequence[int], paint: Paint) -> str:
    cells = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=False)]
    if len(cells) > 1:
        cells[1] = paint(cells[1])
    return _GAP.join([*cells, row[-1]]).rstrip()


def _blocks(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, paint: Paint) -> Iterator[str]:
    """Yield each row as lines `NAME value`: what is too long is folded."""
    names = max(map(cell_len, head))
    for number, row in enumerate(rows):
        if number:
            yield ""
        for column, (name, cell) in enumerate(zip(head, row, strict=True)):
            if not cell:
                continue
            lines = folded(cell, max(1, width - names - len(_GAP)))
            painted = [paint(text) for text in lines] if column == 1 else lines
            yield f"{name:<{names}}{_GAP}{painted[0]}"
            yield from (" " * names + _GAP + text for text in painted[1:])


def folded(text: str, width: int) -> list[str]:
    """Break a text where it has spaces, and words that are too long anywhere."""
    wide = cell_len(text) > len(text)
    return textwrap.wrap(text, max(1, width // 2 if wide else width), break_on_hyphens=False) or [""]


def _plain(text: str) -> str:
    return text
