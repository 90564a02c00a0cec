"""The file of a board, as Taranta exports and imports it: the same board has the same bytes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ._engineer import engineers_board
from ._fleet import fleet_board
from ._layout import Node, Placed, Rectangle, placed
from ._operator import SIZE, operators_board

NAMES = {"operator": "OET operator", "engineer": "OET engineer", "fleet": "OET fleet"}
"""The boards, and the names that they have in Taranta; links between them go by these."""

VARIABLE = "OetDevice"
"""What stands for the subarray that is chosen; and the class of the devices that it is chosen from."""

GRIDS = (10, 20)
"""Pixels that Taranta's grid may have: 10 in SKA's image, 20 in others."""

_VERSION = "2.18.9"  # of Taranta, whose format this is
_TIME = "2026-01-01T00:00:00.000Z"  # Taranta sets it anew when it imports the file


@dataclass(frozen=True)
class Site:
    """Where the boards are to serve.

    :param devices: Tango names of the devices, as mid-oet/subarray/01; the first is chosen at first
    :param prefix: the name of the Tango database in Taranta, with its ://
    :param grid: pixels of Taranta's grid
    """

    devices: tuple[str, ...] = ("mid-oet/subarray/01",)
    prefix: str = "taranta://"
    grid: int = 10

    def __post_init__(self) -> None:
        if self.grid not in GRIDS:
            raise ValueError(f"a grid of Taranta has {' or '.join(map(str, GRIDS))} pixels (given: {self.grid})")
        if not self.devices:
            raise ValueError("a board needs a device")


def board(which: str, site: Site) -> str:
    """Return the text of a board's file.  Pure: the same question has the same answer.

    :param which: a key of NAMES
    :raises KeyError: there is no such board
    """
    name = NAMES[which]
    node, (width, height) = _drawn(which, site)
    ids = itertools.count(1)
    widgets = [
        _widget(each, order, site.grid, ids) for order, each in enumerate(placed(node, Rectangle(0, 0, width, height)))
    ]
    chosen = f"{site.prefix}{site.devices[0]}"
    variable = {
        "_id": hashlib.sha256(name.encode()).hexdigest()[:24],
        "name": VARIABLE,
        "class": VARIABLE,
        "device": chosen,
    }
    told = {
        "name": name,
        "version": _VERSION,
        "user": "oet",
        "insertTime": _TIME,
        "updateTime": _TIME,
        "group": None,
        "groupWriteAccess": False,
        "lastUpdatedBy": "oet",
        "widget": widgets,
        "variables": [variable] if which != "fleet" else [],
        "environment": ["*/*"],
        "filters": [],
    }
    return json.dumps(told, indent=1) + "\n"


def _drawn(which: str, site: Site) -> tuple[Node, tuple[int, int]]:
    device = f"{site.prefix}({VARIABLE})"
    if which == "operator":
        return operators_board(device, VARIABLE, NAMES), SIZE
    if which == "engineer":
        return engineers_board(device, VARIABLE, NAMES)
    return fleet_board([f"{site.prefix}{name}" for name in site.devices], NAMES)


def _widget(each: Placed, order: int, grid: int, ids: Iterator[int]) -> dict[str, Any]:
    where = each.place
    told: dict[str, Any] = {
        "id": str(next(ids)),
        "canvas": "0",
        "type": each.widget.type,
        "x": _units(where.x, grid),
        "y": _units(where.y, grid),
        "width": _units(where.width, grid),
        "height": _units(where.height, grid),
        "order": order,
        "valid": 1,
        "inputs": dict(each.widget.inputs),
    }
    if each.widget.type == "BOX":
        told["innerWidgets"] = _widgets(each.inner, grid, ids)
    return told


def _widgets(inner: Iterable[Placed], grid: int, ids: Iterator[int]) -> list[dict[str, Any]]:
    return [_widget(each, order, grid, ids) for order, each in enumerate(inner)]


def _units(pixels: int, grid: int) -> int | float:
    return pixels // grid if pixels % grid == 0 else pixels / grid
