"""How wide a text is in Helvetica, whose measures Arial and Liberation Sans share.

The widths are those of Adobe's metrics of the standard fonts, in thousandths of the size, from the blank to the tilde.
"""

from __future__ import annotations

_PLAIN = """
278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 584 584
584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278
278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500 500
500 334 260 334 584
"""
_BOLD = """
278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 333 333 584 584
584 611 975 722 722 722 722 667 611 778 722 278 556 722 611 833 722 778 667 778 722 667 611 722 667 944 667 667 611 333
278 333 584 556 333 556 611 556 611 556 333 611 611 278 278 556 278 889 611 611 611 611 389 556 333 611 556 778 556 556
500 389 280 389 584
"""
_WIDTHS = {bold: tuple(map(int, text.split())) for bold, text in ((False, _PLAIN), (True, _BOLD))}
_WIDEST = 1015  # what is not in the table counts as this


def width(text: str, pixels: float, *, bold: bool = False) -> float:
    """Return the width of a line of text in pixels, without kerning.

    :param pixels: the size of the font
    """
    widths = _WIDTHS[bold]
    return sum(widths[ord(each) - 32] if 32 <= ord(each) < 127 else _WIDEST for each in text) * pixels / 1000
