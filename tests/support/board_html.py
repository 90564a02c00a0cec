"""A dashboard of Taranta as a page that stands still: what an operator sees, without Taranta.

Each widget stands where Taranta puts it and has the style that the file gives it; what is in it is drawn as Taranta
draws it, as far as its source and its pages show that.  Below the page a script writes down which texts are cut off.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

EM = 16  # pixels

STATES = {"ON": "#2e7d32", "RUNNING": "#2e7d32", "ALARM": "#ef6c00", "FAULT": "#d50000", "UNKNOWN": "#9e9e9e"}
"""Colours that Taranta gives to states of devices."""


@dataclass(frozen=True)
class Reading:
    """A value as it is read.

    :param value: None where there is none
    :param labels: of a DevEnum: the names of its values
    :param unit: its unit; "" if it has none
    :param history: earlier values with their times (text), oldest first; the last is the present one
    """

    value: Any
    labels: Sequence[str] = ()
    unit: str = ""
    history: Sequence[tuple[str, Any]] = field(default=())

    def text(self, value: Any, precision: int = 2) -> str:
        """Return a value of this attribute as Taranta shows it."""
        if value is None:
            return "-"
        if self.labels:
            return self.labels[int(value)]
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return f"{value:.{precision}f}"
        if isinstance(value, list | tuple):
            return json.dumps(list(value))
        return str(value)


@dataclass(frozen=True)
class Seen:
    """What there is to be seen.

    :param readings: by device and name of the attribute in lower case
    :param answers: what a command has answered, by its name
    """

    readings: Mapping[tuple[str, str], Reading]
    answers: Mapping[str, str] = field(default_factory=dict)


def page(board: Mapping[str, Any], seen: Seen, grid: int) -> str:
    """Return the page of a dashboard: HTML that needs nothing else.

    :param board: the content of a file of Taranta's
    :param seen: what it is to show
    :param grid: pixels of Taranta's grid
    """
    variables = {each["name"]: each["device"] for each in board["variables"]}
    drawn = "\n".join(_Drawing(variables, seen, grid).widgets(board["widget"]))
    return f"<!doctype html><meta charset=utf-8><title>{_escaped(board['name'])}</title>{_STYLE}{drawn}{_MEASURED}"


def size(board: Mapping[str, Any], grid: int) -> tuple[int, int]:
    """Return the width and the height of what is on a dashboard, in pixels."""
    return (
        round(max(each["x"] + each["width"] for each in board["widget"]) * grid),
        round(max(each["y"] + each["height"] for each in board["widget"]) * grid),
    )


def _escaped(value: object) -> str:
    return html.escape(str(value))


def _style(text: str) -> str:
    """Return what Taranta makes of a style: one property a line, and what is behind a semicolon is dropped."""
    lines = [line.split(";")[0] for line in text.splitlines() if line.count(":") >= 1]
    return "; ".join(line.strip() for line in lines)


class _Drawing:
    """The widgets of one dashboard.

    :param variables: the device that stands for each variable
    """

    def __init__(self, variables: Mapping[str, str], seen: Seen, grid: int) -> None:
        self._variables = variables
        self._seen = seen
        self._grid = grid

    def widgets(self, widgets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        for widget in widgets:
            where = ("left", "x"), ("top", "y"), ("width", "width"), ("height", "height")
            place = "; ".join(f"{name}: {round(widget[key] * self._grid, 2)}px" for name, key in where)
            draw: Callable[[Mapping[str, Any]], str] = getattr(self, f"_{widget['type'].lower().replace(' ', '_')}")
            content = draw(widget["inputs"])
            name = f"{widget['type']} {widget['id']}"
            yield f'<div class="widget" data-name="{_escaped(name)}" style="{place}">{content}</div>'
            yield from self.widgets(widget.get("innerWidgets", []))

    # -- what is shown

    def _device(self, reference: str) -> str:
        named = re.sub(r"^[\w.-]+://", "", reference)
        return re.sub(r"^[\w.-]+://", "", self._variables[named[1:-1]]) if named.startswith("(") else named

    def _reading(self, reference: Mapping[str, Any]) -> Reading:
        return self._seen.readings[self._device(reference["device"]), reference["attribute"]]

    def _named(self, inputs: Mapping[str, Any]) -> str:
        text = inputs["attribute"]["label"] if inputs["showAttribute"] == "Label" else ""
        return f'<span class="name">{_escaped(text)}:&nbsp;</span>' if text else ""

    @staticmethod
    def _block(content: str, inputs: Mapping[str, Any], css: str, size: float | None = None) -> str:
        size = inputs.get("size", 1) if size is None else size
        colours = f"color: {inputs.get('textColor', '#000')}; background-color: {inputs.get('backgroundColor', '#fff')}"
        return f'<div class="block" style="font-size: {size * EM}px; {colours}; {_style(css)}">{content}</div>'

    # -- types of widgets

    def _box(self, inputs: Mapping[str, Any]) -> str:
        return self._block("", inputs, inputs["customCss"])

    def _label(self, inputs: Mapping[str, Any]) -> str:
        return self._block(f"<span>{_escaped(inputs['text'])}</span>", inputs, inputs["customCss"])

    def _parametric_widget(self, inputs: Mapping[str, Any]) -> str:
        chosen = self._device(f"({inputs['variable']})")
        field = f'<span class="field">{_escaped(chosen)} ▾</span>'
        return f'<div class="block line"><span>{_escaped(inputs["name"])}</span>{field}</div>'

    def _dashlink(self, inputs: Mapping[str, Any]) -> str:
        button = f'<button style="{_style(inputs["ButtonCss"])}">{_escaped(inputs["ButtonText"])}</button>'
        return f'<div class="block" style="{_style(inputs["CustomCss"])}">{button}</div>'

    def _device_status(self, inputs: Mapping[str, Any]) -> str:
        device = self._device(inputs["device"])
        state = str(self._seen.readings[device, "state"].value)
        name = f"<span>{_escaped(device)}</span>&nbsp;" if inputs["showDeviceName"] else ""
        lamp = _lamp(STATES.get(state, "#9e9e9e"), inputs["LEDSize"])
        return self._block(f"{name}{lamp}&nbsp;<span>{state}</span>", inputs, inputs["widgetCss"], inputs["textSize"])

    def _attribute_display(self, inputs: Mapping[str, Any]) -> str:
        reading = self._reading(inputs["attribute"])
        text = reading.text(reading.value, inputs["precision"])
        if isinstance(reading.value, str) and text[:1] in ("{", "["):
            text = _tree(text)
        unit = f"&nbsp;{_escaped(reading.unit)}" if reading.unit and reading.value is not None else ""
        value = f'<span class="value">{_escaped(text)}{unit}</span>'
        return self._block(f"{self._named(inputs)}{value}", inputs, inputs["widgetCss"])

    def _led_display(self, inputs: Mapping[str, Any]) -> str:
        value = self._reading(inputs["attribute"]).value
        colour = inputs["trueColor"] if value is not None and value == inputs["compare"] else inputs["falseColor"]
        text = f"<span>{_escaped(inputs['attribute']['label'])}</span>"
        looks = {"backgroundColor": "transparent"}
        return self._block(
            f"{text}&nbsp;{_lamp(colour, inputs['ledSize'])}", looks, inputs["customCss"], inputs["textSize"]
        )

    def _boolean_display(self, inputs: Mapping[str, Any]) -> str:
        on = self._reading(inputs["attribute"]).value is True
        switch = f'<span class="switch {"on" if on else ""}"><i></i></span>'
        return self._block(f"{self._named(inputs)}{switch}", {"backgroundColor": "transparent"}, inputs["widgetCSS"])

    def _attribute_writer(self, inputs: Mapping[str, Any]) -> str:
        return self._block(f'{self._named(inputs)}<span class="field">&nbsp;</span>', inputs, inputs["widgetCss"])

    def _attribute_writer_dropdown(self, inputs: Mapping[str, Any]) -> str:
        spectrum = inputs["writeValuesSpectrum"]
        offered = [each["title"] for each in inputs["writeValues"]]
        if spectrum["attribute"]:
            offered = list(self._reading(spectrum).value or [])
        choose = f"{_escaped(inputs['dropdownTitle'])} ▾"
        buttons = (
            f'<button style="{_style(inputs["dropdownButtonCss"])}">{choose}</button>&nbsp;'
            f'<button style="{_style(inputs["submitButtonCss"])}">{_escaped(inputs["submitButtonTitle"])}</button>'
        )
        menu = "".join(f"<div>{_escaped(each)}</div>" for each in offered)
        return self._block(f'{buttons}<div class="menu">{menu}</div>', inputs, inputs["customCss"])

    def _command(self, inputs: Mapping[str, Any]) -> str:
        command = inputs["command"]
        hint = _escaped(command["intypedesc"])
        chosen = [each["name"] for each in inputs["commandArgs"] if each["isDefault"]]
        field = (
            f'<span class="field">{_escaped(chosen[0])} ▾</span>'
            if chosen
            else f'<span class="field hint">{hint}</span>'
        )
        argument = field if command["acceptedType"] != "DevVoid" else ""
        button = f'<button style="{_style(inputs["btnCss"])}">{_escaped(inputs["buttonText"])}</button>'
        answer = self._seen.answers.get(command["command"]) if inputs["displayOutput"] else None
        shown = f'<pre class="answer">{_escaped(_tree(answer))}</pre>' if answer is not None else ""
        line = f'<div class="line">{argument}{button}</div>' if argument else button
        return self._block(f"{line}{shown}", inputs, inputs["widgetCss"])

    def _attribute_dial(self, inputs: Mapping[str, Any]) -> str:
        """Three quarters of a circle, as Taranta draws it; its source shows no number but those of the scale."""
        low, high, value = inputs["min"], inputs["max"], self._reading(inputs["attribute"]).value
        part = 0.0 if value is None else min(1.0, max(0.0, (value - low) / (high - low)))
        marks = []
        for step in range(11):
            angle = 135 + 27 * step
            x, y = (50 + 37 * turn(math.radians(angle)) for turn in (math.cos, math.sin))
            marks.append(f'<line x1="88" y1="50" x2="94" y2="50" stroke="#000" transform="rotate({angle} 50 50)"/>')
            if step % 2 == 0:
                number = f"{low + (high - low) * step / 10:g}"
                marks.append(f'<text x="{x:.1f}" y="{y + 2:.1f}" text-anchor="middle" font-size="6">{number}</text>')
        hand = f'<path d="M38 48 L92 50 L38 52 Z" fill="red" transform="rotate({135 + 270 * part:.1f} 50 50)"/>'
        face = '<circle cx="50" cy="50" r="49" fill="darkgray"/><circle cx="50" cy="50" r="45" fill="#fff"/>'
        bolt = '<circle cx="50" cy="50" r="4" fill="red"/>'
        return f'<svg class="dial" viewBox="0 0 100 100">{face}{"".join(marks)}{hand}{bolt}</svg>'

    def _attribute_logger(self, inputs: Mapping[str, Any]) -> str:
        reading = self._reading(inputs["attribute"])
        last = list(reading.history)[-inputs["linesDisplayed"] :]
        rows = "".join(f"<tr><td>{_escaped(time)}<td>{_escaped(reading.text(value))}" for time, value in reversed(last))
        table = f'<table style="{_style(inputs["TableCSS"])}">{rows}</table>'
        return self._block(table, {}, inputs["OuterDivCSS"])

    def _spectrum_table(self, inputs: Mapping[str, Any]) -> str:
        reading = self._reading(inputs["attribute"])
        rows = "".join(f"<tr><td>{_escaped(reading.text(value))}" for value in reading.value or [])
        return self._block(f"<table>{rows}</table>", {}, inputs["customCss"], inputs["fontSize"] / EM)

    def _image_table(self, inputs: Mapping[str, Any]) -> str:
        rows = list(self._reading(inputs["attribute"]).value or [])[: inputs["rowLimit"]]
        cells = "".join("<tr>" + "".join(f"<td>{_escaped(each)}" for each in row) for row in rows)
        return self._block(f"<table>{cells}</table>", {}, "overflow: auto", inputs["fontSize"] / EM)

    def _tabular_view(self, inputs: Mapping[str, Any]) -> str:
        names = [each["attribute"]["attribute"] for each in inputs["customAttributes"]]
        head = "<tr><th>Device" + "".join(f"<th>{_escaped(name)}" for name in names)
        rows = []
        for each in inputs["devices"]:
            device = self._device(each["device"])
            readings = [self._seen.readings[device, name] for name in names]
            cells = "".join(f"<td>{_escaped(one.text(one.value, inputs['precision']))}" for one in readings)
            rows.append(f"<tr><td>{_escaped(device)}{cells}")
        return self._block(f'<table class="ruled">{head}{"".join(rows)}</table>', inputs, inputs["widgetCss"])


def _lamp(colour: str, size: float) -> str:
    pixels = size * EM
    return f'<i class="lamp" style="width: {pixels}px; height: {pixels}px; background: {colour}"></i>'


def _tree(text: str) -> str:
    """Return a text that is JSON as lines, as Taranta shows it as a tree."""
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except ValueError:
        return text


_STYLE = """<style>
* { box-sizing: border-box }
body { margin: 0; position: relative; background: #fff; color: #1a1f26;
  font-family: "Liberation Sans", Helvetica, Arial, sans-serif }
.widget { position: absolute; overflow: hidden }
.block { width: 100%; height: 100%; overflow: hidden }
.line { display: flex; align-items: center; gap: 8px; padding: 0 10px }
.name { color: #5a6673; flex: none }
.value { min-width: 0 }
.field { display: inline-block; flex: 1; min-width: 60px; padding: 4px 8px; border: 1px solid #9aa7b5;
  border-radius: 4px; background: #fff; font-size: 15px; white-space: nowrap; overflow: hidden }
.hint { color: #8a96a3; font-size: 12px }
.lamp { display: inline-block; border-radius: 50%; flex: none; border: 1px solid rgba(0, 0, 0, .2) }
.switch { display: inline-block; flex: none; width: 40px; height: 20px; border-radius: 10px; background: #cfd6de;
  margin-left: auto }
.switch i { display: block; width: 16px; height: 16px; margin: 2px; border-radius: 50%; background: #fff }
.switch.on { background: #2e7d32 }
.switch.on i { margin-left: 22px }
.dial { display: block; height: 100% }
.menu { margin-top: 4px; border: 1px solid #9aa7b5; border-radius: 4px; background: #fff }
.menu div { padding: 4px 12px }
.answer { margin: 4px 0 0; font-size: 11px; white-space: pre-wrap }
button { padding: 4px 12px; font-family: inherit }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: 4px 8px; border-bottom: 1px solid #dde2e8 }
table.ruled td, table.ruled th { border: 1px solid #cfd6de }
</style>"""

# What is wider or higher than what it is in, unless that is scrolled.
_MEASURED = """<pre id="measured" hidden></pre><script>
const cut = [];
for (const widget of document.querySelectorAll(".widget")) {
  for (const each of [widget, ...widget.querySelectorAll("*")]) {
    if (each.closest("svg") || each.closest("table") && each.tagName != "TABLE" || !each.clientWidth) continue;
    const style = getComputedStyle(each);
    if (style.overflowX == "auto" || each.closest("[style*='overflow: auto']")) continue;
    if (each.scrollWidth > each.clientWidth + 1 || each.scrollHeight > each.clientHeight + 1)
      cut.push([widget.dataset.name, each.className || each.tagName, each.innerText.slice(0, 60),
                each.scrollWidth, each.clientWidth, each.scrollHeight, each.clientHeight]);
  }
}
document.getElementById("measured").textContent = JSON.stringify(cut);
</script>"""
