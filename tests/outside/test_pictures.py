"""The boards as Chromium shows them, with values of running devices: all of them are there, and nothing is cut off."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.board_html import Reading, Seen, page, size
from support.board_picture import GRID, Browser, chromium, drawn, page_of, seen_on
from support.helvetica import width
from support.nights import NAMES, a_night
from support.tango_server import Oet

from ska_oet_device.site_files import BOARDS, Site, board

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed: tests/support/install_chromium.sh"),
]

SHOWN = {
    "operator": ["STOP", "RUNNING", "file://observe.py", "40 %", "pointing 24 of 60", "does not reach J0437-4715"],
    "engineer": ["activeScript", "lrcFinished", "PointingError", '"state": "RUNNING"', '"command": "Run"'],
    "fleet": [*NAMES, "75 %", "FAILED", "READY", "ONLINE", "open with mid-oet/subarray/01", "FAILED at "],
}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Oet]]:
    with a_night(tmp_path_factory.mktemp("night")) as devices:
        yield devices


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path)


@pytest.mark.parametrize("which", BOARDS)
def test_a_board_shows_what_the_devices_say_and_cuts_nothing_off(which, night, browser, tmp_path):
    text, pixels = page_of(drawn(which, tmp_path), night)
    said = html.unescape(text).replace("\xa0", " ")
    missing = [each for each in SHOWN[which] if each not in said]
    assert missing == []
    assert browser.measured(text, pixels) == []


def flat(widgets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for widget in widgets:
        yield widget
        yield from flat(widget.get("innerWidgets", []))


LONG = {
    "activescript": "file://commissioning/2026/november/holography/raster_scan_with_a_long_name.py",
    "selectedscript": "file://commissioning/2026/november/holography/raster_scan_with_a_long_name.py",
    "activefunction": "a_function_that_has_a_long_name",
    "activeactivity": "waiting for the antenna SKA036 to leave its limit",
}


@pytest.mark.parametrize("which", ["operator", "fleet"])
def test_names_may_be_long(which, night, browser, tmp_path):
    path = drawn(which, tmp_path)
    seen = seen_on(path, night)
    readings = {key: replace(each, value=LONG.get(key[1], each.value)) for key, each in seen.readings.items()}
    assert set(LONG) & {name for _, name in readings}
    shown = json.loads(path.read_text())
    assert browser.measured(page(shown, replace(seen, readings=readings), GRID), size(shown, GRID)) == []


def test_each_argument_that_the_engineer_may_choose_is_taken(night):
    proxy = night[NAMES[0]].proxy
    asked = []
    for widget in flat(json.loads(board("engineer", Site()))["widget"]):
        for choice in widget["inputs"].get("commandArgs", []):
            command = widget["inputs"]["command"]
            is_text = command["acceptedType"] == "DevString"
            answer = proxy.command_inout(
                command["command"], choice["value"] if is_text else json.loads(choice["value"])
            )
            asked.append((command["command"], choice["name"]))
            assert isinstance(json.loads(answer), list)
            assert json.loads(answer), f"{asked[-1]}: nothing"
    assert ("History", "failed") in asked


@pytest.mark.parametrize("which", BOARDS)
def test_a_picture_of_a_board_is_as_large_as_the_board(which, night, browser, tmp_path):
    text, pixels = page_of(drawn(which, tmp_path), night)
    target = tmp_path / "picture.png"
    browser.picture(text, pixels, target)
    header = target.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    size = tuple(int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
    assert all(0 <= one - other <= 20 for one, other in zip(size, pixels, strict=True))


LABEL = {
    "type": "LABEL",
    "id": "1",
    "x": 0,
    "y": 0,
    "width": 10,
    "height": 3,
    "inputs": {
        "text": "",
        "size": 1,
        "textColor": "#000000",
        "backgroundColor": "#ffffff",
        "customCss": "white-space: nowrap",
    },
}


def of_label(text: str, **more: object) -> str:
    """Return the page of a board with one label."""
    label = {**LABEL, "inputs": {**LABEL["inputs"], "text": text, **more}}
    return page({"name": "", "variables": [], "widget": [label]}, Seen({}), 10)


def test_a_text_that_is_cut_off_is_found(browser):
    assert browser.measured(of_label("It fits"), (200, 100)) == []
    ((name, *_),) = {tuple(each) for each in browser.measured(of_label("It is too long to fit there"), (200, 100))}
    assert name == "LABEL 1"


SAMPLE = (
    "The quick brown fox jumps over 1,234,567 lazy dogs: (STOP) [RUN] {x} <y> ~ 'q' \"Q\" & @ # $ % ^ * _ + = | / ? !"
)


@pytest.mark.parametrize("weight", ["400", "700"])
def test_the_table_of_widths_is_that_of_the_browser(weight, browser):
    script = f"""<!doctype html><meta charset=utf-8><pre id="measured"></pre><script>
const context = document.createElement("canvas").getContext("2d");
context.font = "{weight} 1000px 'Liberation Sans'";
context.fontKerning = "none";
document.getElementById("measured").textContent = context.measureText({SAMPLE!r}).width;
</script>"""
    assert browser.measured(script, (200, 100)) == pytest.approx(width(SAMPLE, 1000, bold=weight == "700"), rel=0.005)


def test_a_value_that_is_invalid_is_shown_as_none():
    assert Reading(None, unit="%").text(None) == "-"
