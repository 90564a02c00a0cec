"""The boards in `taranta/` are those that are drawn, and show what they are for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.dashboards import FOLDER, Dashboard, dashboards

from ska_oet_device.interface import interface
from ska_oet_device.site_files import BOARDS, Site, board
from ska_oet_device.site_files._taranta import _names as names
from ska_oet_device.site_files._taranta import _widgets as widgets

FLEET = tuple(f"mid-oet/subarray/{number:02}" for number in range(1, 17))
DEVICE = "taranta://(OetDevice)"


def flat(shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield all widgets, also those in boxes."""
    for widget in shown:
        yield widget
        yield from flat(widget.get("innerWidgets", []))


def drawn(which: str, site: Site = Site()) -> dict[str, Any]:  # noqa: B008 - it is frozen
    return json.loads(board(which, site))


def of_type(which: str, kind: str) -> list[dict[str, Any]]:
    return [each["inputs"] for each in flat(drawn(which)["widget"]) if each["type"] == kind]


def on(which: str) -> Dashboard:
    (path,) = [path for path in dashboards() if path.stem == f"oet-{which}"]
    return Dashboard(path)


def devices_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and isinstance(value.get("device"), str):
        yield value["device"]
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from devices_in(each)


def test_the_files_are_those_that_are_drawn():
    wanted = {f"oet-{which}.wj": board(which, Site()) for which in BOARDS}
    assert {path.name for path in FOLDER.iterdir()} == set(wanted)
    stale = [name for name, text in wanted.items() if (FOLDER / name).read_text(encoding="ascii") != text]
    assert not stale, f"{stale}: `make site-files` writes them anew"


@pytest.mark.parametrize("which", BOARDS)
def test_a_board_is_drawn_alike_each_time(which):
    assert board(which, Site(FLEET)) == board(which, Site(FLEET))


@pytest.mark.parametrize("which", BOARDS)
def test_each_widget_has_an_id_of_its_own(which):
    ids = [each["id"] for each in flat(drawn(which)["widget"])]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("which", BOARDS)
def test_the_links_lead_to_the_other_boards(which):
    linked = {json.loads(each["DefaultDashboard"])["name"] for each in of_type(which, "DASHLINK")}
    assert linked == set(BOARDS.values()) - {BOARDS[which]}


def test_every_attribute_is_on_the_engineers_board():
    shown = {each.name for each in on("engineer").attributes}
    assert {name.lower() for name in interface().attributes} - shown == set()


def test_the_operator_has_all_that_acts_without_an_argument():
    without = {each.name for each in interface().commands.values() if each.argument == each.answer == "DevVoid"}
    assert {each.name for each in on("operator").commands} == without


def test_stop_asks_for_no_confirmation():
    stops = [each for each in of_type("operator", "COMMAND") if "Stop" in each["command"]["command"]]
    assert [each["requireConfirmation"] for each in stops] == [False, False]


def test_the_fleet_board_has_a_row_for_each_device():
    shown = drawn("fleet", Site(FLEET))
    rows = [each["inputs"]["device"] for each in flat(shown["widget"]) if each["type"] == "DEVICE_STATUS"]
    (table,) = (each["inputs"] for each in flat(shown["widget"]) if each["type"] == "TABULAR_VIEW")
    wanted = [f"taranta://{name}" for name in FLEET]
    assert rows == [each["device"] for each in table["devices"]] == wanted


def test_each_row_of_the_fleet_says_what_holds_a_device_up():
    wanted = {"adminmode", "status", "activeprocedurestate"}
    for name in FLEET:
        shown = [each["inputs"].get("attribute") for each in flat(drawn("fleet", Site(FLEET))["widget"])]
        names = {each["attribute"] for each in shown if each and each["device"] == f"taranta://{name}"}
        assert wanted - names == set()


def test_the_fleet_board_says_which_subarray_its_links_open():
    texts = [each["text"] for each in of_type("fleet", "LABEL")]
    assert "The boards open with mid-oet/subarray/01: choose the subarray there first." in texts
    shown = drawn("fleet", Site(FLEET[3:], prefix="low://"))["widget"]
    (said,) = (each["inputs"]["text"] for each in flat(shown) if "open with" in each["inputs"].get("text", ""))
    variables = drawn("operator", Site(FLEET[3:], prefix="low://"))["variables"]
    assert said.split()[4] == f"{variables[0]['device'].removeprefix('low://')}:"


@pytest.mark.parametrize("which", ["operator", "fleet"])
def test_a_procedure_that_could_not_be_killed_has_a_lamp(which):
    labels = interface().attributes["activeProcedureState"].labels
    lamps = [each for each in of_type(which, "LED_DISPLAY") if each["attribute"]["attribute"] == "activeprocedurestate"]
    shown = {labels[each["compare"]]: each["trueColor"] for each in lamps}
    assert {"RUNNING", "FAILED", "UNKNOWN"} <= set(shown)
    assert len(set(shown.values())) == len(shown)


def test_what_run_takes_stands_directly_above_it():
    shown = {}
    for each in flat(drawn("operator")["widget"]):
        reference = each["inputs"].get("attribute") or each["inputs"].get("command") or {}
        shown[each["type"], reference.get("attribute") or reference.get("command")] = each
    chosen, arguments = (shown["ATTRIBUTE_DISPLAY", name] for name in ("selectedscript", "scriptarguments"))
    run = shown["COMMAND", "RunSelected"]
    assert chosen["x"] == arguments["x"] == run["x"]
    assert chosen["y"] + chosen["height"] == arguments["y"]
    assert 0 <= run["y"] - arguments["y"] - arguments["height"] <= 1


def test_the_long_running_commands_are_the_last_on_the_engineers_board():
    def is_one(name: str) -> bool:
        return name.startswith(("lrc", "_lrc", "longrunning"))

    shown = [
        (each["y"], reference["attribute"] if "attribute" in reference else reference["command"])
        for each in flat(drawn("engineer")["widget"])
        if (reference := each["inputs"].get("attribute") or each["inputs"].get("command"))
    ]
    tops = [y for y, name in shown if is_one(name)]
    assert len(tops) == sum(is_one(name.lower()) for name in interface().attributes)
    assert min(tops) > max(y for y, name in shown if not is_one(name))


@pytest.mark.parametrize("which", ["operator", "engineer"])
def test_one_board_serves_every_subarray(which):
    shown = drawn(which, Site(FLEET[3:], prefix="low://"))
    (variable,) = shown["variables"]
    assert (variable["class"], variable["device"]) == ("OetDevice", "low://mid-oet/subarray/04")
    (choice,) = of_type(which, "PARAMETRIC_WIDGET")
    assert choice["variable"] == variable["name"]
    assert set(devices_in(shown["widget"])) == {f"low://({variable['name']})"}


@pytest.mark.parametrize("which", BOARDS)
def test_in_a_grid_of_20_pixels_everything_is_in_the_same_place(which):
    for one, other in zip(flat(drawn(which)["widget"]), flat(drawn(which, Site(grid=20))["widget"]), strict=True):
        for key in ("x", "y", "width", "height"):
            assert one[key] * 10 == other[key] * 20


@pytest.mark.parametrize("which", BOARDS)
def test_a_style_has_one_property_a_line(which):
    inputs = [each["inputs"] for each in flat(drawn(which)["widget"])]
    styles = [text for each in inputs for key, text in each.items() if key.lower().endswith("css")]
    lines = [line for text in styles for line in text.splitlines()]
    assert lines
    assert [line for line in lines if ";" in line or line.count(": ") != 1] == []


@pytest.mark.parametrize(
    ("draw", "name"),
    [
        (lambda: widgets.display(DEVICE, "activeScrip"), "activeScrip"),
        (lambda: widgets.display(DEVICE, "activescript"), "activescript"),
        (lambda: widgets.button(DEVICE, "Halt", "Halt", ""), "Halt"),
        (lambda: widgets.lamp(DEVICE, "activeProcedureState", "RUNING", "", "#000"), "RUNING"),
        (lambda: widgets.lamp(DEVICE, "activeScript", "RUNNING", "", "#000"), "RUNNING"),
        (lambda: widgets.dropdown(DEVICE, "selectedScript", "", choices="scripts"), "scripts"),
        (lambda: widgets.devices([DEVICE], ["State", "state"]), "state"),
    ],
    ids=["attribute", "capital", "command", "label", "no-labels", "choices", "column"],
)
def test_a_name_that_the_device_does_not_have_is_refused(draw, name):
    with pytest.raises(names.UnknownNameError, match=repr(name)):
        draw()


def test_a_button_for_a_command_with_an_argument_is_refused():
    with pytest.raises(ValueError, match="takes an argument"):
        widgets.button(DEVICE, "Stop", "Stop", "")


def test_a_grid_that_taranta_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"10 or 20 pixels \(given: 15\)"):
        Site(grid=15)


def test_a_board_without_a_device_is_refused():
    with pytest.raises(ValueError, match="needs a device"):
        Site(devices=())
