"""Pictures of dashboards as they show running devices; ``python -m support.board_picture`` makes those of the pages.

`make pictures` calls it.
"""

from __future__ import annotations

import datetime
import html
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tango

from ska_oet_device.site_files import BOARDS, Site, board

from .board_html import Reading, Seen, page, size
from .dashboards import Dashboard
from .nights import NAMES, SCRIPTS, a_night
from .tango_server import Oet

IMAGES = Path(__file__).parents[2] / "docs" / "images"
GRID = 10
_MARGIN = 10  # pixels to the right and below
_LARGEST = 200_000  # bytes of a picture
_EVENTS = {"lifecycleevent": "LifecycleEvents", "scriptevent": "ScriptEvents"}


def chromium() -> str | None:
    """Return the program; None if there is none."""
    return shutil.which("chromium")


def drawn(which: str, folder: Path) -> Path:
    """Write a board for the night's devices, and return its file."""
    path = folder / f"{which}.wj"
    path.write_text(board(which, Site(NAMES, grid=GRID)))
    return path


def page_of(path: Path, devices: Mapping[str, Oet]) -> tuple[str, tuple[int, int]]:
    """Return the page of a dashboard that shows running devices, and its width and height in pixels."""
    shown = json.loads(path.read_text())
    return page(shown, seen_on(path, devices), GRID), size(shown, GRID)


def seen_on(path: Path, devices: Mapping[str, Oet]) -> Seen:
    """Read all that a board shows, from running devices."""
    dashboard = Dashboard(path)
    wanted = {(each.device, each.name) for each in dashboard.attributes}
    wanted |= {(device, "state") for device in dashboard.devices}
    readings = {(device, name): _reading(devices[device].proxy, name) for device, name in sorted(wanted)}
    first = devices[NAMES[0]].proxy
    return Seen(readings, {name: first.command_inout(name, argument) for name, argument in _asked(dashboard).items()})


def _asked(dashboard: Dashboard) -> dict[str, Any]:
    """Return the commands with answers that can be called without anything being written, with what they take."""
    asked: dict[str, Any] = {}
    for widget in dashboard.widgets:
        if widget["type"] == "COMMAND" and widget["inputs"]["displayOutput"]:
            command, choices = widget["inputs"]["command"], widget["inputs"]["commandArgs"]
            if command["acceptedType"] == "DevVoid":
                asked[command["command"]] = None
            for each in reversed(choices):
                is_text = command["acceptedType"] == "DevString"
                asked[command["command"]] = each["value"] if is_text else json.loads(each["value"])
    return asked


def _reading(proxy: tango.DeviceProxy, name: str) -> Reading:
    told, read = proxy.get_attribute_config(name), proxy.read_attribute(name)
    is_valid = read.quality != tango.AttrQuality.ATTR_INVALID
    value = read.value if is_valid else None
    if value is not None and told.data_format != tango.AttrDataFormat.SCALAR:
        value = [list(row) if told.data_format == tango.AttrDataFormat.IMAGE else row for row in value]
    elif told.data_type == tango.CmdArgType.DevEnum and value is not None:
        value = int(value)
    unit = "" if told.unit == "No unit" else told.unit
    return Reading(value, tuple(told.enum_labels), unit, _history(proxy, name))


def _history(proxy: tango.DeviceProxy, name: str) -> list[tuple[str, str]]:
    """Return the values that a page that has been open all night has had of an attribute that is logged."""
    if name not in _EVENTS:
        return []
    events = json.loads(proxy.command_inout(_EVENTS[name], 0))
    return [(_clock(each["time"]), json.dumps(each)) for each in events]


def _clock(time: float | str) -> str:
    if isinstance(time, str):
        return time
    return f"{datetime.datetime.fromtimestamp(time, datetime.timezone.utc):%H:%M:%S.%f}"[:-3]


def _of_a_site(text: str) -> str:
    """Return a page without what is this machine's own."""
    return text.replace(str(SCRIPTS), "/scripts").replace(f"on host {socket.gethostname()}", "on host control")


class Browser:
    """Chromium, with a profile of its own, which a call makes a page with and then ends.

    :param folder: where its files go
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def picture(self, text: str, pixels: tuple[int, int], target: Path) -> None:
        """Write a picture of a page."""
        self._call(text, pixels, f"--screenshot={target}")
        assert target.stat().st_size

    def measured(self, text: str, pixels: tuple[int, int]) -> Any:
        """Return what the script of a page has written into its element ``measured``, which is JSON."""
        dom = self._call(text, pixels, "--dump-dom")
        found = re.search(r'<pre id="measured"[^>]*>(.*?)</pre>', dom, re.DOTALL)
        assert found is not None, dom[-500:]
        return json.loads(html.unescape(found[1]))

    def _call(self, text: str, pixels: tuple[int, int], *options: str) -> str:
        program = chromium()
        assert program is not None, "Chromium is not installed: tests/support/install_chromium.sh"
        source = self._folder / "page.html"
        source.write_text(text, encoding="utf-8")
        width, height = (each + _MARGIN for each in pixels)
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--disable-background-networking", "--disable-dev-shm-usage", "--no-first-run"]
        command += [f"--user-data-dir={self._folder / 'profile'}", f"--window-size={width},{height}"]
        done = subprocess.run(
            [*command, *options, source.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout


def _made_small(path: Path) -> None:
    """Give a picture as many colours as its size lets it have."""
    subprocess.run(["pngquant", "--force", "--strip", "--output", path, "64", path], check=True)
    bytes_ = path.stat().st_size
    assert bytes_ < _LARGEST, f"{path} has {bytes_} bytes, of {_LARGEST} at most"


def main() -> int:
    """Make all of them; returns the exit status."""
    missing = [name for name in ("chromium", "pngquant") if shutil.which(name) is None]
    if missing:
        print(f"{' and '.join(missing)} missing: tests/support/install_chromium.sh installs them", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        browser = Browser(folder)
        with a_night(folder) as devices:
            for which in BOARDS:
                target = IMAGES / f"taranta-{which}.png"
                text, pixels = page_of(drawn(which, folder), devices)
                browser.picture(_of_a_site(text), pixels, target)
                _made_small(target)
                print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
