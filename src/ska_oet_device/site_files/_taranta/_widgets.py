"""Taranta's widgets, filled in: one function each, for whoever says what stands on a board.

Texts are sized in em, of 16 pixels.  Styles take one ``property: value`` a line: Taranta ignores a line with several.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from . import _looks as looks
from ._layout import Widget
from ._names import attribute, attribute_reference, command_reference, value_of

FONT = "Helvetica"
TITLE = 1.05
"""Size of the title of a part of a board, in em."""


def label(
    text: str, size: float = 1.0, colour: str = looks.TEXT, background: str = looks.CLEAR, css: str = ""
) -> Widget:
    """Return a text that stays."""
    return Widget(
        "LABEL",
        {
            "text": text,
            "textColor": colour,
            "backgroundColor": background,
            "size": size,
            "borderWidth": 0,
            "borderColor": looks.TEXT,
            "font": FONT,
            "linkTo": "",
            "automaticResize": "Disabled",
            "customCss": css or looks.MIDDLE,
        },
    )


def title(text: str) -> Widget:
    """Return the title of a part of a board."""
    return label(text, TITLE, looks.TITLE_TEXT, looks.TITLE_BACKGROUND, looks.TITLE_CSS)


def subtitle(text: str) -> Widget:
    """Return the title of one of many parts below a title."""
    return label(text, 0.95, looks.TEXT, looks.SUBTITLE_BACKGROUND, looks.TITLE_CSS)


def box(*inner: Widget, layout: str = "vertical") -> Widget:
    """Return widgets of one size, one below the other or side by side, in a box that Taranta keeps together."""
    return Widget(
        "BOX",
        {
            "title": "",
            "bigWidget": 1,  # Taranta shares a box out in slots; here each widget takes one, also a plot
            "smallWidget": 1,
            "textColor": looks.TEXT,
            "backgroundColor": looks.CLEAR,
            "borderColor": looks.PANEL,
            "borderWidth": 0,
            "borderStyle": "solid",
            "textSize": 1,
            "fontFamily": FONT,
            "layout": layout,
            "alignment": "Left",
            "padding": 0,
            "customCss": "",
        },
        inner,
    )


def choice(text: str, variable: str) -> Widget:
    """Return the choice of the device that a variable stands for."""
    return Widget("PARAMETRIC_WIDGET", {"name": text, "variable": variable})


def link(board: str, text: str) -> Widget:
    """Return a button that opens another dashboard, which Taranta looks up by its name."""
    return Widget(
        "DASHLINK",
        {
            "DefaultDashboard": json.dumps({"name": board, "id": ""}),
            "HideDropdown": True,
            "NewTab": False,
            "ButtonText": text,
            "DropDownCss": "",
            "ButtonCss": looks.LINK_BUTTON,
            "CustomCss": looks.WHOLE,
        },
    )


def device_state(device: str, *, named: bool = False) -> Widget:
    """Return a device's State as a lamp and a word, with the device's name if it is to be seen."""
    return Widget(
        "DEVICE_STATUS",
        {
            "device": device,
            "state": {"device": None, "attribute": None},  # Taranta fills them in, from the device
            "showDeviceName": named,
            "showStateString": True,
            "showStateLED": True,
            "showTangoDB": False,
            "LEDSize": 1.2,
            "textColor": looks.TEXT,
            "backgroundColor": looks.CLEAR,
            "textSize": 1.1,
            "linkTo": "",
            "widgetCss": looks.LINE,
        },
    )


def display(
    device: str,
    name: str,
    text: str = "",
    *,
    size: float = 1.0,
    precision: int = 2,
    background: str = looks.CLEAR,
    css: str = looks.LINE,
) -> Widget:
    """Return the value of an attribute, behind a label; of a text that is JSON Taranta makes a tree."""
    return Widget(
        "ATTRIBUTE_DISPLAY",
        {
            "attribute": attribute_reference(device, name, text),
            "precision": precision,
            "format": "",
            "showDevice": False,
            "showTangoDB": False,
            "showAttribute": "Label" if text else "None",
            "showUnit": True,
            "scientificNotation": False,
            "showEnumLabels": True,
            "showAttrQuality": False,
            "jsonCollapsed": False,
            "alignTextCenter": False,
            "alignValueRight": False,
            "textColor": looks.TEXT,
            "backgroundColor": background,
            "size": size,
            "font": FONT,
            "widgetCss": css,
        },
    )


def text(device: str, name: str) -> Widget:
    """Return a long text, or lines of one, which are scrolled within their widget."""
    return display(device, name, background=looks.PANEL, css=looks.LINES)


def tail(device: str, name: str) -> Widget:
    """Return lines of which the last count: they are seen, and the others are scrolled to."""
    return display(device, name, background=looks.PANEL, css=looks.TAIL)


def lamp(device: str, name: str, value: str, text: str, colour: str, otherwise: str = looks.OFF) -> Widget:
    """Return a lamp that has a colour while a DevEnum attribute has a value, and another one otherwise."""
    return _lamp(device, name, value_of(name, value), text, colour, otherwise)


def _lamp(device: str, name: str, compare: int, text: str, colour: str, otherwise: str) -> Widget:
    return Widget(
        "LED_DISPLAY",
        {
            "attribute": attribute_reference(device, name, text),
            "relation": "=",
            "compare": compare,
            "trueColor": colour,
            "falseColor": otherwise,
            "ledSize": 1.2,
            "textSize": 0.9,
            "showAttributeValue": False,
            "showDeviceName": False,
            "showTangoDB": False,
            "showAttribute": "Label" if text else "None",
            "alignTextCenter": False,
            "alignValueRight": False,
            "customCss": looks.LINE,
        },
    )


def switch(device: str, name: str, text: str) -> Widget:
    """Return a switch for a DevBoolean attribute that can be written."""
    return Widget(
        "BOOLEAN_DISPLAY",
        {
            "attribute": attribute_reference(device, name, text),
            "showAttribute": "Label",
            "showDevice": False,
            "alignSwitchRight": True,
            "widgetCSS": looks.LINE,
            "OnCSS": "",
            "OffCSS": "",
        },
    )


def writer(device: str, name: str, text: str) -> Widget:
    """Return a field that writes an attribute when Enter is pressed."""
    return Widget(
        "ATTRIBUTE_WRITER",
        {
            "title": "",
            "attribute": attribute_reference(device, name, text),
            "showDevice": False,
            "showTangoDB": False,
            "showAttribute": "Label",
            "alignValueRight": False,
            "textColor": looks.TEXT,
            "backgroundColor": looks.CLEAR,
            "size": 1,
            "font": FONT,
            "widgetCss": looks.LINE,
        },
    )


def dropdown(device: str, name: str, prompt: str, *, choices: str = "") -> Widget:
    """Return a menu that writes an attribute: the values of a DevEnum, or those that another attribute lists.

    The menu is clipped to the widget, which must be high enough for it; the present value is not shown.

    :param choices: a DevString spectrum whose values are offered; "": the values of the attribute, a DevEnum
    """
    offered = [] if choices else [{"title": each, "value": str(i)} for i, each in enumerate(attribute(name).labels)]
    spectrum = attribute_reference(device, choices, "") if choices else {"device": None, "attribute": None}
    spectrum.pop("label", None)
    return Widget(
        "ATTRIBUTE WRITER DROPDOWN",
        {
            "attribute": attribute_reference(device, name, ""),
            "submitButtonTitle": "Set",
            "dropdownTitle": prompt,
            "writeValues": offered,
            "writeValuesSpectrum": spectrum,
            "showDevice": False,
            "showAttribute": "None",
            "textColor": looks.TEXT,
            "backgroundColor": looks.PANEL,
            "size": 1,
            "font": FONT,
            "dropdownButtonCss": looks.PLAIN_BUTTON,
            "submitButtonCss": looks.GO_BUTTON,
            "customCss": looks.MENU,
        },
    )


def button(device: str, name: str, text: str, css: str, *, confirm: bool = False) -> Widget:
    """Return a button that fills its place, for a command that takes nothing.

    :raises ValueError: the command takes an argument
    """
    if command_reference(device, name)["acceptedType"] != "DevVoid":
        raise ValueError(f"{name} takes an argument: it needs a field")
    return _command(device, name, text, css, looks.WHOLE, confirm=confirm, output=False)


def call(device: str, name: str, text: str, *, choices: Sequence[tuple[str, str]] = ()) -> Widget:
    """Return a button with the answer below, and with a field for the argument, if there is one.

    :param choices: names and values of arguments, of which one is chosen instead of written; the first one, at first
    """
    return _command(device, name, text, looks.PLAIN_BUTTON, looks.ANSWER, confirm=False, output=True, choices=choices)


def _command(
    device: str,
    name: str,
    text: str,
    button: str,
    css: str,
    *,
    confirm: bool,
    output: bool,
    choices: Sequence[tuple[str, str]] = (),
) -> Widget:
    offered = [{"name": each, "value": value, "isDefault": not i} for i, (each, value) in enumerate(choices)]
    return Widget(
        "COMMAND",
        {
            "title": "",
            "buttonText": text,
            "command": command_reference(device, name),
            "commandArgs": offered,
            "showDevice": False,
            "showTangoDB": False,
            "showCommand": False,
            "requireConfirmation": confirm,
            "displayOutput": output,
            "alignButtonRight": False,
            "placeholder": "intypedesc",
            "textColor": looks.TEXT,
            "backgroundColor": looks.PANEL,
            "size": 1,
            "font": FONT,
            "btnCss": button,
            "widgetCss": css,
        },
    )


def dial(device: str, name: str) -> Widget:
    """Return a dial for a number between its smallest and its largest value; it does not tell the number."""
    known = attribute(name)
    return Widget(
        "ATTRIBUTE_DIAL",
        {
            "attribute": attribute_reference(device, name, ""),
            "min": float(known.minimum),
            "max": float(known.maximum),
            "label": "attribute",
            "showWriteValue": False,
            "showTangoDB": False,
            "widgetCss": "",
        },
    )


def log(device: str, name: str, lines: int) -> Widget:
    """Return the last values of an attribute, one a line, with their times."""
    return Widget(
        "ATTRIBUTE_LOGGER",
        {
            "attribute": attribute_reference(device, name, ""),
            "linesDisplayed": lines,
            "showLastValue": False,
            "showDevice": False,
            "showTangoDB": False,
            "showAttribute": "None",
            "showTime": True,
            "logIfChanged": True,
            "OuterDivCSS": looks.SCROLLED,
            "LastValueCSS": "",
            "TableCSS": looks.SMALL,
        },
    )


def values(device: str, name: str, css: str = looks.TABLE) -> Widget:
    """Return the values of a spectrum, one below the other."""
    return Widget(
        "SPECTRUM_TABLE",
        {
            "attribute": attribute_reference(device, name, ""),
            "precision": 2,
            "layout": "vertical",
            "showDevice": False,
            "showTangoDB": False,
            "showAttribute": "None",
            "showIndex": False,
            "showLabel": False,
            "fontSize": 14,
            "showSpecificIndexValue": "",
            "customCss": css,
        },
    )


def table(device: str, name: str, rows: int, columns: int) -> Widget:
    """Return the values of an image, as a table."""
    return Widget(
        "IMAGE_TABLE",
        {
            "attribute": attribute_reference(device, name, ""),
            "rowLimit": rows,
            "columnLimit": columns,
            "rowOffset": 0,
            "columnOffset": 0,
            "showDevice": False,
            "showTangoDB": False,
            "showAttribute": False,
            "showIndex": False,
            "showLabel": False,
            "showWarning": False,
            "fontSize": 12,
        },
    )


def devices(names: Sequence[str], attributes: Sequence[str]) -> Widget:
    """Return a table with one row a device, and one column an attribute."""
    columns: list[dict[str, Any]] = [{"attribute": attribute_reference(names[0], name, name)} for name in attributes]
    return Widget(
        "TABULAR_VIEW",
        {
            "devices": [{"device": name} for name in names],
            "showDefaultAttribute": False,
            "customAttributes": columns,
            "compactTable": True,
            "borderedTable": True,
            "precision": 1,
            "scientificNotation": False,
            "showEnumLabels": True,
            "showTangoDB": False,
            "textColor": looks.TEXT,
            "backgroundColor": looks.PAPER,
            "size": 0.9,
            "font": FONT,
            "widgetCss": looks.SCROLLED,
        },
    )
