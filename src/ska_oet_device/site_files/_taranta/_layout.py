"""Rows and columns become rectangles in pixels: what stands on a board is said once, and where follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GAP = 10
"""Pixels between the parts of a row or of a column."""

STEP = 10
"""Pixels of the grid: sizes are multiples of it, so that they are whole, or halves, in each of Taranta's grids."""


class LayoutError(ValueError):
    """The parts do not fit into what they are put into, or not onto the grid."""


@dataclass(frozen=True)
class Widget:
    """One widget, without its place.

    :param type: Taranta's name of its type
    :param inputs: what is set in its form
    :param inner: of a BOX: what is in it, all of one size, in the direction of the box
    """

    type: str
    inputs: Mapping[str, Any]
    inner: tuple[Widget, ...] = ()


@dataclass(frozen=True)
class Row:
    """Parts side by side, each with its width in pixels; 0: an equal share of what is left.  None leaves room."""

    parts: Sequence[tuple[int, Node]]
    gap: int = GAP


@dataclass(frozen=True)
class Column:
    """Parts one below the other, each with its height in pixels; 0 and None are as in a row."""

    parts: Sequence[tuple[int, Node]]
    gap: int = GAP


Node = Widget | Row | Column | None


@dataclass(frozen=True)
class Rectangle:
    """A place, in pixels from the upper left corner of the board."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Placed:
    """A widget in its place.

    :param widget: what it is
    :param place: where it is
    :param inner: of a BOX: what is in it, within its place
    """

    widget: Widget
    place: Rectangle
    inner: tuple[Placed, ...] = field(default=())


def placed(node: Node, place: Rectangle) -> Iterator[Placed]:
    """Yield each widget of the node in its place, from left to right and from top to bottom.

    :raises LayoutError: the parts of a row or a column do not fit
    """
    if isinstance(node, Widget):
        yield Placed(node, place, tuple(_boxed(node, place)))
    elif isinstance(node, Row):
        x = place.x
        for width, part in _sized(node.parts, place.width, node.gap):
            yield from placed(part, Rectangle(x, place.y, width, place.height))
            x += width + node.gap
    elif isinstance(node, Column):
        y = place.y
        for height, part in _sized(node.parts, place.height, node.gap):
            yield from placed(part, Rectangle(place.x, y, place.width, height))
            y += height + node.gap


def _sized(parts: Sequence[tuple[int, Node]], room: int, gap: int) -> Iterator[tuple[int, Node]]:
    """Yield the parts with their sizes, which fill the room if one of them has asked for what is left."""
    left = room - sum(size for size, _ in parts) - gap * (len(parts) - 1)
    sharers = sum(1 for size, _ in parts if not size)
    if left < sharers * STEP:
        raise LayoutError(f"parts of {[size for size, _ in parts]} with gaps of {gap} do not fit into {room} pixels")
    for size, part in parts:
        if not size:
            # What cannot be shared evenly on the grid goes to the last of them.
            size = left // sharers // STEP * STEP
            left, sharers = left - size, sharers - 1
        if size % STEP:
            raise LayoutError(f"{size} pixels are not a multiple of {STEP}")
        yield size, part


def _boxed(box: Widget, place: Rectangle) -> Iterator[Placed]:
    """Yield what is in a box as Taranta arranges it itself: one after the other, all of one size, up to the border."""
    if not box.inner:
        return
    upright = box.inputs["layout"] == "vertical"
    room = place.height if upright else place.width
    size, rest = divmod(room, len(box.inner))
    if rest:
        raise LayoutError(f"a box of {room} pixels cannot be shared evenly by {len(box.inner)}")
    for number, widget in enumerate(box.inner):
        if upright:
            where = Rectangle(place.x, place.y + number * size, place.width, size)
        else:
            where = Rectangle(place.x + number * size, place.y, size, place.height)
        yield from placed(widget, where)
