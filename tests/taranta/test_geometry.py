"""Nothing on a board overlaps or lies outside, and every text fits; and what does not is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.board_geometry import SCREEN, complaints, judged
from support.helvetica import width

from ska_oet_device.site_files import BOARDS, GRIDS, Site, board
from ska_oet_device.site_files._taranta._layout import Column, LayoutError, Rectangle, Row, Widget, placed

FLEET = tuple(f"mid-oet/subarray/{number:02}" for number in range(1, 17))


def flat(shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for widget in shown:
        yield widget
        yield from flat(widget.get("innerWidgets", []))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("which", BOARDS)
def test_nothing_overlaps_or_lies_outside_and_every_text_fits(which, grid):
    assert complaints(json.loads(board(which, Site(FLEET, grid=grid))), grid) == []


def test_the_operators_board_is_seen_without_scrolling():
    shown = json.loads(board("operator", Site()))["widget"]
    assert max((each["y"] + each["height"]) * 10 for each in shown) <= SCREEN[1]


def test_the_rows_of_sixteen_subarrays_are_seen_without_scrolling():
    shown = json.loads(board("fleet", Site(FLEET)))["widget"]
    assert max((each["y"] + each["height"]) * 10 for each in shown if each["type"] == "DEVICE_STATUS") <= SCREEN[1]


@pytest.mark.parametrize("which", BOARDS)
def test_each_type_of_widget_is_judged(which):
    assert {each["type"] for each in flat(json.loads(board(which, Site()))["widget"])} <= judged()


def of_type(shown: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in flat(shown["widget"]) if each["type"] == kind)


def moved(kind: str, **by: float) -> Callable[[dict[str, Any]], None]:
    def spoil(shown: dict[str, Any]) -> None:
        widget = of_type(shown, kind)
        widget.update({key: widget[key] + value for key, value in by.items()})

    return spoil


def narrow(kind: str, **to: float) -> Callable[[dict[str, Any]], None]:
    return lambda shown: of_type(shown, kind).update(to)


def said(kind: str, **inputs: Any) -> Callable[[dict[str, Any]], None]:
    return lambda shown: of_type(shown, kind)["inputs"].update(inputs)


def labelled(kind: str, label: str, **more: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(shown: dict[str, Any]) -> None:
        inputs = of_type(shown, kind)["inputs"]
        inputs["attribute"]["label"] = label
        inputs.update(showAttribute="Label", **more)

    return spoil


def of_attribute(name: str, **to: Any) -> Callable[[dict[str, Any]], None]:
    """Return what changes the display of an attribute."""

    def spoil(shown: dict[str, Any]) -> None:
        (widget, *_) = (
            each
            for each in flat(shown["widget"])
            if each["type"] == "ATTRIBUTE_DISPLAY" and each["inputs"]["attribute"]["attribute"] == name
        )
        widget["inputs"].update(to)

    return spoil


def in_the_box(**by: float) -> Callable[[dict[str, Any]], None]:
    def spoil(shown: dict[str, Any]) -> None:
        inner = of_type(shown, "BOX")["innerWidgets"][-1]
        inner.update({key: inner[key] + value for key, value in by.items()})

    return spoil


BROKEN = {
    "too-wide": (moved("COMMAND", width=30), "overlaps"),
    "too-low": (moved("COMMAND", y=1.5), "overlaps"),
    "left-of-the-board": (moved("LABEL", x=-1), "begins outside the board"),
    "right-of-the-screen": (moved("DASHLINK", x=30), "wider than the screen"),
    "right-of-the-box": (in_the_box(x=1), "lies outside BOX"),
    "below-the-box": (in_the_box(y=0.1), "lies outside BOX"),
    "within-the-box": (in_the_box(x=-1), "overlaps"),
    "narrow-in-the-box": (in_the_box(width=-1), "not shared evenly"),
    "low-in-the-box": (in_the_box(height=-1), "not shared evenly"),
    "label": (said("LABEL", text="The board of whoever operates the telescope"), "does not fit"),
    "large-label": (said("LABEL", size=4), "does not fit"),
    "button": (said("COMMAND", buttonText="STOP THE ACTIVE PROCEDURE"), "does not fit"),
    "link": (said("DASHLINK", ButtonText="The engineer's board"), "does not fit"),
    "choice": (narrow("PARAMETRIC_WIDGET", width=15), "does not fit"),
    "state": (narrow("DEVICE_STATUS", width=10), "'UNKNOWN' does not fit"),
    "named-state": (said("DEVICE_STATUS", showDeviceName=True), "mid-oet/subarray/01 UNKNOWN"),
    "lamp": (labelled("LED_DISPLAY", "Ready to be started by an operator"), "Ready to be started"),
    "switch": (
        labelled("BOOLEAN_DISPLAY", "Scripts wait until quality assurance is ready, if they ask for it"),
        "ask for",
    ),
    "writer": (
        labelled("ATTRIBUTE_WRITER", "Arguments of the function that is called: as JSON, by position"),
        "not fit",
    ),
    "enumeration": (of_attribute("activeprocedurestate", size=4), "'INITIALISING' does not fit"),
    "number": (of_attribute("activeprogress", size=9), "'100 %' does not fit"),
    "id": (of_attribute("activeprocedureid", size=2), "'Id: 999999' does not fit"),
    "long-text": (of_attribute("activescript", widgetCss="padding: 0"), "a long activeScript"),
    "menu-button": (
        said("ATTRIBUTE WRITER DROPDOWN", dropdownTitle="Choose a script below the roots, " * 2),
        "not fit",
    ),
    "menu-not-scrolled": (said("ATTRIBUTE WRITER DROPDOWN", customCss=""), "a long menu"),
    "menu-too-low": (narrow("ATTRIBUTE WRITER DROPDOWN", height=10), "a menu of 4"),
}


@pytest.mark.parametrize(("spoil", "complaint"), BROKEN.values(), ids=BROKEN)
def test_a_broken_layout_is_found(spoil, complaint):
    shown = json.loads(board("operator", Site()))
    spoil(shown)
    assert any(complaint in each for each in complaints(shown, 10))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (narrow("TABULAR_VIEW", height=5), "2 rows"),
        (narrow("TABULAR_VIEW", width=70), "activeprocedurestate"),
    ],
    ids=["rows", "columns"],
)
def test_a_table_that_is_too_small_is_found(spoil, complaint):
    shown = json.loads(board("fleet", Site()))
    spoil(shown)
    assert any(complaint in each for each in complaints(shown, 10))


def test_widths_are_those_of_helvetica():
    assert width("Hello", 1000) == 722 + 556 + 222 + 222 + 556
    assert width("STOP", 100, bold=True) == pytest.approx(66.7 + 61.1 + 77.8 + 66.7)


def test_what_the_table_of_widths_does_not_have_counts_as_wide():
    assert width("…", 10) == width("@", 10)


THING = Widget("LABEL", {})
PLACE = Rectangle(0, 0, 100, 50)


def widths(row: Row) -> list[int]:
    return [each.place.width for each in placed(row, PLACE)]


def test_what_is_left_is_shared():
    assert widths(Row(((0, THING), (30, THING), (0, THING)))) == [20, 30, 30]
    assert widths(Row(((0, THING), (0, None), (0, THING)), gap=0)) == [30, 40]


@pytest.mark.parametrize(
    "node",
    [
        Row(((60, THING), (40, THING))),
        Row(((60, THING), (40, THING), (0, THING)), gap=0),
        Column(((50, THING), (0, None))),
        Row(((15, THING), (0, None))),
        Widget("BOX", {"layout": "horizontal"}, (THING, THING, THING)),
    ],
    ids=["gap", "nothing-left", "no-room", "off-the-grid", "box"],
)
def test_what_does_not_fit_is_refused(node):
    with pytest.raises(LayoutError):
        list(placed(node, PLACE))
