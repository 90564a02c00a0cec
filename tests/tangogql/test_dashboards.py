"""Every device, attribute and command of the dashboards in taranta/, used as Taranta's widgets use them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.dashboards import Attribute, Command, Dashboard, dashboards
from support.tango_server import Oet
from support.tangogql import TangoGql

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

_NUMBERS = {"DevDouble", "DevFloat", "DevLong", "DevLong64", "DevShort", "DevULong", "DevULong64", "DevUShort"}
_REFUSED = re.compile(r" \[OET_[A-Za-z]+\]$")

each_dashboard = pytest.mark.parametrize("path", dashboards(), ids=lambda path: path.stem)


def _names(uses: list[Attribute]) -> list[str]:
    return list(dict.fromkeys(use.full_name for use in uses))


@each_dashboard
def test_its_devices_are_there(path: Path, oet: Oet, tangogql: TangoGql) -> None:
    devices = Dashboard(path).devices
    assert devices
    for name in devices:
        device = tangogql.device(name)
        assert (device["name"], device["connected"], device["deviceClass"]) == (name, True, "OetDevice")
        assert device["state"] == "ON"


@each_dashboard
def test_its_attributes_fit_the_widgets_that_show_them(path: Path, oet: Oet, tangogql: TangoGql) -> None:
    uses = Dashboard(path).attributes
    described = tangogql.descriptions(_names(uses))
    values = tangogql.values(_names(uses))
    wrong = [(use, described[use.full_name]) for use in uses if not _fits(use, described[use.full_name])]
    assert wrong == []
    without = [name for name, each in values.items() if each["value"] is None and each["quality"] != "ATTR_INVALID"]
    assert without == []


def _fits(use: Attribute, described: dict[str, str]) -> bool:
    """Say whether a widget can show (or write) such an attribute."""
    kind, form = described["datatype"], described["dataformat"]
    if use.role == "writeValuesSpectrum":
        return (form, kind) == ("SPECTRUM", "DevString")
    if use.widget in ("ATTRIBUTE_WRITER", "ATTRIBUTE WRITER DROPDOWN"):
        return form == "SCALAR" and described["writable"] != "READ"
    return {
        "SPECTRUM_TABLE": form == "SPECTRUM",
        "IMAGE_TABLE": form == "IMAGE",
        "TIMELINE": kind in ("DevEnum", "DevState"),
        "ATTRIBUTE_PLOT": form == "SCALAR" and kind in _NUMBERS,
        "ATTRIBUTE_DIAL": form == "SCALAR" and kind in _NUMBERS,
        "BOOLEAN_DISPLAY": (form, kind) == ("SCALAR", "DevBoolean"),
        "DEVICE_STATUS": kind == "DevState",
    }.get(use.widget, bool(kind and form))


@each_dashboard
def test_all_it_shows_arrives_by_event(path: Path, oet: Oet, tangogql: TangoGql) -> None:
    names = _names(Dashboard(path).attributes)
    with tangogql.subscribe(names) as page:
        page.wait_for_all()
        assert [frame for frame in page.frames() if frame.error] == []
        tangogql.wait_for_events(names)


@each_dashboard
def test_what_it_writes_can_be_written(path: Path, oet: Oet, tangogql: TangoGql) -> None:
    for use in Dashboard(path).attributes:
        if use.widget not in ("ATTRIBUTE_WRITER", "ATTRIBUTE WRITER DROPDOWN") or use.role == "writeValuesSpectrum":
            continue
        value = tangogql.values([use.full_name])[use.full_name]["value"]
        answer = tangogql.write(use.device, use.name, value)
        assert answer["ok"] or _REFUSED.search(answer["message"][0]), (use, answer)


@each_dashboard
def test_every_item_of_its_menus_can_be_chosen(path: Path, oet: Oet, tangogql: TangoGql) -> None:
    board = Dashboard(path)
    for use, values in board.menus:
        name = use.full_name
        before = tangogql.values([name])[name]["value"]
        is_text = tangogql.descriptions([name])[name]["datatype"] == "DevString"
        for value in values:
            # A menu has its values as texts; TangoGQL takes a number only as such.
            answer = tangogql.write(use.device, use.name, value if is_text else int(value))
            assert answer["ok"], (use, value, answer)
        assert tangogql.write(use.device, use.name, before)["ok"]


@each_dashboard
def test_its_commands_are_executed_or_refused_in_a_sentence(path: Path, oet: Oet, tangogql: TangoGql) -> None:
    for use in Dashboard(path).commands:
        known = {each["name"]: each["intype"] for each in tangogql.device(use.device)["commands"]}
        assert known[use.name] == use.accepted_type, use
        answer = tangogql.execute(use.device, use.name, _argument(use))
        assert answer["ok"] or _REFUSED.search(answer["message"][0]), (use, answer)


def _argument(use: Command) -> object:
    """Return what is typed into such a widget: nothing where it takes nothing."""
    if use.accepted_type == "DevVoid":
        return None
    if use.accepted_type in _NUMBERS:
        return 1
    if use.accepted_type == "DevVarLong64Array":
        return []
    return "file://good.py" if use.name in ("Run", "Prepare", "Check") else ""


def test_the_dashboards_are_there() -> None:
    assert {path.stem for path in dashboards()} >= {"oet-operator", "oet-engineer", "oet-fleet"}
