"""What the tests of the dashboards read out of a file: where that were too little, they would look at nothing."""

from __future__ import annotations

import json
from typing import Any

from support.dashboards import Command, Dashboard

_FIRST, _SECOND = "taranta://mid-oet/subarray/01", "taranta://mid-oet/subarray/02"
_VARIABLE = "taranta://(OetDevice)"


def _reference(device: str, attribute: str) -> dict[str, str]:
    return {"device": device, "attribute": attribute, "label": attribute}


def _widget(kind: str, *inner: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    return {"type": kind, "inputs": inputs, **({"innerWidgets": list(inner)} if inner else {})}


def test_devices_attributes_and_commands_are_found_wherever_a_widget_has_them(tmp_path):
    status = _widget("DEVICE_STATUS", device=_VARIABLE, state={"device": None, "attribute": None})
    choice = _widget(
        "ATTRIBUTE WRITER DROPDOWN",
        attribute=_reference(_VARIABLE, "selectedscript"),
        writeValues=[],
        writeValuesSpectrum={"device": _VARIABLE, "attribute": "availablescripts"},
    )
    menu = _widget(
        "ATTRIBUTE WRITER DROPDOWN",
        attribute=_reference(_SECOND, "adminmode"),
        writeValues=[{"title": "ONLINE", "value": "0"}, {"title": "OFFLINE", "value": "1"}],
        writeValuesSpectrum={"device": None, "attribute": None},
    )
    stop = {"device": _VARIABLE, "command": "StopActive", "acceptedType": "DevVoid"}
    fleet = _widget(
        "TABULAR_VIEW",
        devices=[{"device": _FIRST}, {"device": _SECOND}],
        customAttributes=[{"attribute": _reference(_FIRST, "healthState")}],
    )
    timeline = _widget("TIMELINE", attributes=[{"attribute": _reference(_SECOND, "activeprocedurestate")}])
    empty = _widget("ATTRIBUTE_DISPLAY", attribute=_reference("", ""))
    path = tmp_path / "one.wj"
    path.write_text(
        json.dumps(
            {
                "variables": [{"name": "OetDevice", "class": "OetDevice", "device": _FIRST}],
                "widget": [
                    _widget("BOX", status, choice),
                    _widget("COMMAND", command=stop),
                    fleet,
                    timeline,
                    empty,
                    menu,
                ],
            }
        )
    )
    read = Dashboard(path)
    assert read.devices == ["mid-oet/subarray/01", "mid-oet/subarray/02"]
    assert [(use.widget, use.role, use.full_name) for use in read.attributes] == [
        ("DEVICE_STATUS", "state", "mid-oet/subarray/01/state"),
        ("ATTRIBUTE WRITER DROPDOWN", "attribute", "mid-oet/subarray/01/selectedscript"),
        ("ATTRIBUTE WRITER DROPDOWN", "writeValuesSpectrum", "mid-oet/subarray/01/availablescripts"),
        ("TABULAR_VIEW", "attribute", "mid-oet/subarray/01/healthstate"),
        ("TABULAR_VIEW", "attribute", "mid-oet/subarray/02/healthstate"),
        ("TIMELINE", "attribute", "mid-oet/subarray/02/activeprocedurestate"),
        ("ATTRIBUTE WRITER DROPDOWN", "attribute", "mid-oet/subarray/02/adminmode"),
    ]
    assert [(use.name, values) for use, values in read.menus] == [("adminmode", ["0", "1"])]
    assert read.commands == [Command("COMMAND", "mid-oet/subarray/01", "StopActive", "DevVoid")]
