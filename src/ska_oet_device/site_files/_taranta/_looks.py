"""Colours and styles of the boards.  A style has one ``property: value`` a line, without semicolons."""

from __future__ import annotations


def css(**properties: str) -> str:
    """Return a style; the underscores of the names stand for hyphens."""
    return "\n".join(f"{name.replace('_', '-')}: {value}" for name, value in properties.items())


TEXT = "#1a1f26"
PAPER = "#ffffff"
PANEL = "#f3f5f8"
CLEAR = "transparent"
TITLE_TEXT = "#ffffff"
TITLE_BACKGROUND = "#22364f"
SUBTITLE_BACKGROUND = "#d9e0e8"

# Of states: each says by its place and its word, too, what it says by its colour.
RUNNING = "#1565c0"
WAITING = "#00838f"
GOOD = "#2e7d32"
STOPPED = "#ef6c00"
BAD = "#d50000"
LOST = "#8e24aa"
OFF = "#cfd6de"

_LINE = {"padding": "0 10px", "box_sizing": "border-box", "display": "flex", "align_items": "center"}
_RULE = "1px solid #e1e6ec"
LINE = css(**_LINE, overflow="hidden", white_space="nowrap", border_bottom=_RULE)
"""One line, which ends at the edge of its widget."""

NUMBER = css(**_LINE, height="100%", white_space="nowrap", font_weight="600")

_WORDS = {**_LINE, "align_items": "safe center", "height": "100%", "overflow_wrap": "anywhere"}
SENTENCES = css(**_WORDS, overflow="auto", line_height="20px")
"""Words that go on in the next line, and are scrolled if there are many: from the first of them on, so "safe"."""

TWO_LINES = css(**_WORDS, overflow="hidden", line_height="18px", border_bottom=_RULE)
"""A name that may be long: what it ends with is to be seen, too."""

_SMALL = {"font_size": "13px", "line_height": "16px", "border_bottom": _RULE}
THREE_LINES = css(**_WORDS, overflow="hidden", **_SMALL)
SMALL_SENTENCES = css(**_WORDS, overflow="auto", **_SMALL)
"""Three lines of a row, of which the first say most; the others are scrolled to."""

MIDDLE = css(**_LINE)
RIGHT = css(**_LINE, justify_content="flex-end")
TITLE_CSS = css(**_LINE, font_weight="600")

_LINES = {
    "padding": "6px 10px",
    "box_sizing": "border-box",
    "overflow": "auto",
    "white_space": "pre-wrap",
    "font_family": "monospace",
    "font_size": "12px",
    "line_height": "16px",
    "height": "100%",
}
LINES = css(**_LINES)
"""Lines of a terminal, which are scrolled."""

TAIL = css(**_LINES, display="flex", flex_direction="column-reverse")
"""The same, where the last lines count: what is laid out from below is scrolled to its end, and stays there."""

SCROLLED = css(overflow="auto", height="100%", box_sizing="border-box")
TABLE = css(overflow="auto", height="100%", box_sizing="border-box", background_color=PAPER)
SMALL = css(font_size="12px")
MENU = css(padding="6px 10px", box_sizing="border-box", overflow="auto", height="100%")
WHOLE = css(padding="0", height="100%", width="100%", box_sizing="border-box")
ANSWER = css(padding="4px 10px", box_sizing="border-box", overflow="auto", height="100%")


def _button(background: str, colour: str, **more: str) -> str:
    given = {"border": "none", "border_radius": "6px", "font_weight": "600", **more}
    return css(background_color=background, color=colour, **given)


PLAIN_BUTTON = _button("#e3e8ee", TEXT, border="1px solid #9aa7b5", font_size="15px")
GO_BUTTON = _button(GOOD, "#ffffff", font_size="15px")
_FILLING = {"width": "100%", "height": "100%"}
RUN_BUTTON = _button(GOOD, "#ffffff", font_size="20px", **_FILLING)
PREPARE_BUTTON = _button("#e3e8ee", TEXT, border="1px solid #9aa7b5", font_size="18px", **_FILLING)
WARNING_BUTTON = _button("#ffffff", BAD, border=f"2px solid {BAD}", font_size="16px", **_FILLING)
STOP_BUTTON = _button(BAD, "#ffffff", font_size="40px", letter_spacing="0.05em", **_FILLING)
LINK_BUTTON = _button("#ffffff", TITLE_BACKGROUND, border=f"2px solid {TITLE_BACKGROUND}", font_size="15px", **_FILLING)
