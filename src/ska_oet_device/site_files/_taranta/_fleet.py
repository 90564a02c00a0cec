"""The fleet board: one row a subarray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import _looks as looks
from . import _widgets as w
from ._layout import GAP, Column, Node, Row

WIDTH = 1880
_HEADER = 50
_TITLE = 30
_ROW = 50  # three lines
_LINE = 40  # of the table

_COLUMNS = (
    (330, "Subarray"),
    (90, "Healthy"),
    (90, "Running"),
    (80, "Failed"),
    (100, "Unknown"),
    (140, "Admin mode"),
    (80, "Id"),
    (150, "State"),
    (100, "Progress"),
    (220, "Script"),
    (150, "Now"),
    (0, "Status"),
)


def fleet_board(devices: Sequence[str], names: Mapping[str, str]) -> tuple[Node, tuple[int, int]]:
    """Return what is on the board, and its width and height in pixels.

    :param devices: the references to the devices, one a row
    :param names: the names of all boards, for the links
    """
    head = Row([(width, w.title(text)) for width, text in _COLUMNS], gap=0)
    lamps = [(_ROW, _row(device)) for device in devices]
    parts: list[tuple[int, Node]] = [
        (_HEADER, _header(devices[0], names)),
        (_TITLE + _ROW * len(lamps), Column(((_TITLE, head), *lamps), gap=0)),
        (_TITLE + _LINE + _LINE * len(devices), _table(devices)),
    ]
    return Column(parts), (WIDTH, sum(height for height, _ in parts) + GAP * (len(parts) - 1))


def _header(first: str, names: Mapping[str, str]) -> Node:
    """Return the title and the links, which lead to one device whatever row they were looked at from."""
    name = first.partition("://")[2]
    warning = f"The boards open with {name}: choose the subarray there first."
    return Row(
        (
            (230, w.label(names["fleet"], 1.5, looks.TITLE_BACKGROUND)),
            (0, None),
            (700, w.label(warning, css=looks.RIGHT)),
            (140, w.link(names["operator"], "Operator")),
            (140, w.link(names["engineer"], "Engineer")),
        )
    )


def _row(device: str) -> Node:
    state = "activeProcedureState"
    cells = (
        w.device_state(device, named=True),
        w.lamp(device, "healthState", "OK", "", looks.GOOD, looks.BAD),
        w.lamp(device, state, "RUNNING", "", looks.RUNNING),
        w.lamp(device, state, "FAILED", "", looks.BAD),
        w.lamp(device, state, "UNKNOWN", "", looks.LOST),
        w.display(device, "adminMode"),
        w.display(device, "activeProcedureId"),
        w.display(device, state),
        w.display(device, "activeProgress", precision=0),
        w.display(device, "activeScript", css=looks.THREE_LINES),
        w.display(device, "activeActivity", css=looks.THREE_LINES),
        w.display(device, "Status", css=looks.SMALL_SENTENCES),
    )
    return Row([(width, cell) for (width, _), cell in zip(_COLUMNS, cells, strict=True)], gap=0)


def _table(devices: Sequence[str]) -> Node:
    columns = [
        "State",
        "healthState",
        "adminMode",
        "activeProcedureId",
        "activeProcedureState",
        "activeProgress",
        "activeFunction",
    ]
    return Column(((_TITLE, w.title("As a table")), (0, w.devices(devices, columns))), gap=0)
