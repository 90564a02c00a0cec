"""What is wrong with where things are on a dashboard of Taranta: a sentence each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tango

from ska_oet_device.interface import InterfaceAttribute, interface

from .helvetica import width as width_of

SCREEN = (1900, 940)
"""Pixels that are left of a screen of 1920 x 1080 by the bars of a browser and of Taranta."""

EM = 16
_ROUNDED = 1e-6  # units: what floating point makes of tenths
LINE = 1.2  # height of a line, in its size
PADDING = 20  # to the left and to the right, together
_LAMP = 8  # between a lamp and a text
_SWITCH = 60
_FIELD = 100  # the least that somebody can write in
_BUTTON = 24  # around the text of a button
_OPENS = 14  # the triangle of a menu
_MENU, _VALUE = 40, 32  # the button above a menu; one line of it
_FEWEST = 4  # values of a menu that are to be seen at once, if it is not known how many it has
_DEVICE = "mid-oet/subarray/01"
_ID = 999_999  # a procedure's
_COUNT = 999_999_999  # of events, say
_ATTRIBUTES = {name.lower(): each for name, each in interface().attributes.items()}

Widget = Mapping[str, Any]


def complaints(board: Mapping[str, Any], grid: int) -> list[str]:
    """Return what is wrong: what overlaps, lies outside, or has a text that does not fit.

    :param grid: pixels of Taranta's grid
    """
    return [*_places(board["widget"], None), *_texts(board["widget"], grid), *_screen(board["widget"], grid)]


def named(widget: Widget) -> str:
    return f"{widget['type']} {widget['id']}"


# -- places


def _screen(widgets: Sequence[Widget], grid: int) -> Iterator[str]:
    for widget in widgets:
        if (widget["x"] + widget["width"]) * grid > SCREEN[0]:
            yield f"{named(widget)} is wider than the screen"


def _places(widgets: Sequence[Widget], box: Widget | None) -> Iterator[str]:
    for one, other in itertools.combinations(widgets, 2):
        if all(_overlap(one, other, start, length) for start, length in (("x", "width"), ("y", "height"))):
            yield f"{named(one)} overlaps {named(other)}"
    for widget in widgets:
        if min(widget["x"], widget["y"]) < 0:
            yield f"{named(widget)} begins outside the board"
        if box is not None and not _is_within(widget, box):
            yield f"{named(widget)} lies outside {named(box)}"
        inner = widget.get("innerWidgets", [])
        yield from _places(inner, widget)
        if inner and not _is_shared_evenly(widget):
            yield f"{named(widget)} is not shared evenly by what is in it, as Taranta will do"


def _overlap(one: Widget, other: Widget, start: str, length: str) -> bool:
    ends = one[start] + one[length] - _ROUNDED, other[start] + other[length] - _ROUNDED
    return bool(one[start] < ends[1] and other[start] < ends[0])


def _is_within(widget: Widget, box: Widget) -> bool:
    return all(
        box[start] <= widget[start] and widget[start] + widget[length] <= box[start] + box[length] + _ROUNDED
        for start, length in (("x", "width"), ("y", "height"))
    )


def _is_shared_evenly(box: Widget) -> bool:
    inner = box["innerWidgets"]
    along, across = ("height", "width") if box["inputs"]["layout"] == "vertical" else ("width", "height")
    share = box[along] / len(inner)
    return all(abs(each[along] - share) < 0.01 and each[across] == box[across] for each in inner)


# -- texts


def _texts(widgets: Sequence[Widget], grid: int) -> Iterator[str]:
    for widget in widgets:
        room = widget["width"] * grid, widget["height"] * grid
        needs = _NEEDS.get(widget["type"])
        if needs is not None:
            for what, wide, high in needs(widget["inputs"]):
                if wide > room[0] or high > room[1]:
                    size = f"{wide:.0f} x {high:.0f} pixels in {room[0]:.0f} x {room[1]:.0f}"
                    yield f"{named(widget)}: {what!r} does not fit, {size}"
        yield from _texts(widget.get("innerWidgets", []), grid)


Need = tuple[str, float, float]
"""A text, and the pixels that it needs with what is around it: width and height."""


def _style(text: str) -> dict[str, str]:
    """Return the properties of a style."""
    return dict(line.split(": ", 1) for line in text.splitlines())


def _is_bold(style: Mapping[str, str]) -> bool:
    return style.get("font-weight", "400") >= "600"


def _label(inputs: Mapping[str, Any]) -> Iterator[Need]:
    pixels = inputs["size"] * EM
    wide = width_of(inputs["text"], pixels, bold=_is_bold(_style(inputs["customCss"])))
    yield inputs["text"], wide + PADDING, pixels * LINE


def _button(text: str, css: str) -> Need:
    style = _style(css)
    pixels = float(style.get("font-size", f"{EM}px").removesuffix("px"))
    spacing = float(style.get("letter-spacing", "0em").removesuffix("em")) * pixels * len(text)
    return text, width_of(text, pixels, bold=_is_bold(style)) + spacing + _BUTTON, pixels * LINE


def _command(inputs: Mapping[str, Any]) -> Iterator[Need]:
    text, wide, high = _button(inputs["buttonText"], inputs["btnCss"])
    field = _FIELD + PADDING if inputs["command"]["acceptedType"] != "DevVoid" else 0
    yield text, wide + field, high


def _dashlink(inputs: Mapping[str, Any]) -> Iterator[Need]:
    yield _button(inputs["ButtonText"], inputs["ButtonCss"])


def _parametric(inputs: Mapping[str, Any]) -> Iterator[Need]:
    text = f"{inputs['name']} {_DEVICE}"
    yield text, width_of(text, EM) + PADDING + _BUTTON + _OPENS, EM * LINE + 10


def _device_status(inputs: Mapping[str, Any]) -> Iterator[Need]:
    pixels = inputs["textSize"] * EM
    state = max(map(str, tango.DevState.names), key=lambda name: width_of(name, pixels))
    text = f"{_DEVICE} {state}" if inputs["showDeviceName"] else state
    lamp = inputs["LEDSize"] * EM
    yield text, width_of(text, pixels) + lamp + _LAMP + PADDING, max(pixels * LINE, lamp)


def _led(inputs: Mapping[str, Any]) -> Iterator[Need]:
    text = inputs["attribute"]["label"] if inputs["showAttribute"] == "Label" else ""
    pixels, lamp = inputs["textSize"] * EM, inputs["ledSize"] * EM
    yield text, width_of(f"{text}: ", pixels) + lamp + PADDING, max(pixels * LINE, lamp)


def _display(inputs: Mapping[str, Any]) -> Iterator[Need]:
    known = _ATTRIBUTES[inputs["attribute"]["attribute"]]
    label = f"{inputs['attribute']['label']}: " if inputs["showAttribute"] == "Label" else ""
    pixels, style = inputs["size"] * EM, _style(inputs["widgetCss"])
    longest = _longest(known, inputs["precision"])
    if longest is None:  # any text: it ends at the edge, or is scrolled; some of it is to be seen
        yield label, width_of(label, pixels) + 5 * pixels + PADDING, pixels * LINE
        if style.get("overflow") not in ("hidden", "auto"):
            yield f"a long {known.name}", float("inf"), pixels * LINE
    else:
        text = label + longest
        yield text, width_of(text, pixels, bold=_is_bold(style)) + PADDING, pixels * LINE


def _longest(known: InterfaceAttribute, precision: int) -> str | None:
    """Return the longest value of an attribute, with its unit; None: there is none."""
    unit = f" {known.unit}" if known.unit else ""
    if known.labels:
        return max(known.labels, key=lambda label: width_of(label, EM))
    if known.type == "DevState":
        return max(map(str, tango.DevState.names), key=lambda name: width_of(name, EM))
    if known.type == "DevBoolean":
        return "false"
    if known.type == "DevDouble" and known.maximum:
        return f"{float(known.maximum):.{precision}f}{unit}"
    if known.type == "DevLong64":
        return f"{_COUNT if 'equence' in known.name else _ID}{unit}"
    return None


def _switch(inputs: Mapping[str, Any]) -> Iterator[Need]:
    text = f"{inputs['attribute']['label']}: "
    yield text, width_of(text, EM) + _SWITCH + PADDING, EM * LINE


def _writer(inputs: Mapping[str, Any]) -> Iterator[Need]:
    text = f"{inputs['attribute']['label']}: "
    yield text, width_of(text, inputs["size"] * EM) + _FIELD + PADDING, inputs["size"] * EM * LINE + 10


def _dropdown(inputs: Mapping[str, Any]) -> Iterator[Need]:
    choose, wide, high = _button(inputs["dropdownTitle"], inputs["dropdownButtonCss"])
    send, wider, higher = _button(inputs["submitButtonTitle"], inputs["submitButtonCss"])
    yield f"{choose} {send}", wide + _OPENS + wider + PADDING, max(high, higher)
    titles = [each["title"] for each in inputs["writeValues"]]
    count = len(titles) or _FEWEST
    yield f"a menu of {count}", max([0, *(width_of(each, EM) for each in titles)]) + PADDING, _MENU + count * _VALUE
    if not titles and _style(inputs["customCss"]).get("overflow") != "auto":
        yield "a long menu", 0, float("inf")


def _tabular(inputs: Mapping[str, Any]) -> Iterator[Need]:
    rows = len(inputs["devices"]) + 1
    yield f"{rows} rows", 0, rows * (inputs["size"] * EM * LINE + 8)
    names = [each["attribute"]["attribute"] for each in inputs["customAttributes"]]
    yield json.dumps(names), sum(width_of(name, inputs["size"] * EM, bold=True) + 16 for name in ["device", *names]), 0


_NEEDS: dict[str, Callable[[Mapping[str, Any]], Iterator[Need]]] = {
    "ATTRIBUTE_DISPLAY": _display,
    "ATTRIBUTE_WRITER": _writer,
    "ATTRIBUTE WRITER DROPDOWN": _dropdown,
    "BOOLEAN_DISPLAY": _switch,
    "COMMAND": _command,
    "DASHLINK": _dashlink,
    "DEVICE_STATUS": _device_status,
    "LABEL": _label,
    "LED_DISPLAY": _led,
    "PARAMETRIC_WIDGET": _parametric,
    "TABULAR_VIEW": _tabular,
}
SCROLLED = ("ATTRIBUTE_LOGGER", "IMAGE_TABLE", "SPECTRUM_TABLE")
"""What is scrolled within its widget, as Taranta does with what it is too small for."""

WITHOUT_TEXT = ("ATTRIBUTE_DIAL", "BOX")
"""Where there is no text, or one that is drawn to scale; the boxes here have no titles."""


def judged() -> set[str]:
    """Return the types of widgets about whose texts something is known."""
    return {*_NEEDS, *SCROLLED, *WITHOUT_TEXT}
