"""The fleet board: one row a subarray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import _looks as looks
from . import _widgets as w
from ._layout import GAP, Column, Node, Row

WIDTH = 1880
_HEADER = 50
_TITLE = 30
_ROW = 40

_COLUMNS = (
    (400, "Subarray"),
    (100, "Healthy"),
    (100, "Running"),
    (100, "Failed"),
    (100, "Id"),
    (160, "State"),
    (120, "Progress"),
    (400, "Script"),
    (0, "Now"),
)


def fleet_board(devices: Sequence[str], names: Mapping[str, str]) -> tuple[Node, tuple[int, int]]:
    """Return what is on the board, and its width and height in pixels.

    :param devices: the references to the devices, one a row
    :param names: the names of all boards, for the links
    """
    head = Row([(width, w.title(text)) for width, text in _COLUMNS], gap=0)
    lamps = [(_ROW, _row(device)) for device in devices]
    parts: list[tuple[int, Node]] = [
        (_HEADER, _header(names)),
        (_TITLE + _ROW * len(lamps), Column(((_TITLE, head), *lamps), gap=0)),
        (_TITLE + 40 + 40 * len(devices), _table(devices)),
    ]
    return Column(parts), (WIDTH, sum(height for height, _ in parts) + GAP * (len(parts) - 1))


def _header(names: Mapping[str, str]) -> Node:
    return Row(
        (
            (230, w.label(names["fleet"], 1.5, looks.TITLE_BACKGROUND)),
            (0, None),
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
        w.display(device, "activeProcedureId"),
        w.display(device, state),
        w.display(device, "activeProgress", precision=0),
        w.display(device, "activeScript", css=looks.TWO_LINES),
        w.display(device, "activeActivity", css=looks.TWO_LINES),
    )
    return Row([(width, cell) for (width, _), cell in zip(_COLUMNS, cells, strict=True)], gap=0)


def _table(devices: Sequence[str]) -> Node:
    columns = ["State", "healthState", "activeProcedureId", "activeProcedureState", "activeProgress", "activeFunction"]
    return Column(((_TITLE, w.title("As a table")), (0, w.devices(devices, columns))), gap=0)
