"""The files of the JSON Schemas and of the interface, as they have to be; ``python -m support.schemas`` writes them.

`make schemas` calls it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tango

from ska_oet_device import interface
from ska_oet_device.procedure.ui._attributes import MEMORISED
from ska_oet_device.procedure.ui._schemas import NAMES, WRITTEN, schema_of
from ska_oet_device.procedure.ui.device import OetDevice

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


def files() -> dict[Path, str]:
    """Return what each file has to hold: one for each schema, one with all of them for the device, the interface."""
    schemas = {name: schema_of(name) for name in NAMES}
    wanted = {FOLDER / f"{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()}
    told = json.dumps(interface_told(), indent=1) + "\n"
    return {**wanted, WRITTEN: json.dumps(schemas) + "\n", interface.WRITTEN: told}


def interface_told() -> dict[str, list[dict[str, Any]]]:
    """Return what Tango is told of the device class, as `ska_oet_device.interface` has it."""
    told = OetDevice.TangoClassClass
    attributes = [
        {
            "name": name,
            "type": str(tango.CmdArgType(item.attr_type)),
            "format": str(tango.AttrDataFormat(item.attr_format)),
            "writable": item.attr_write is tango.AttrWriteType.READ_WRITE,
            "memorized": name in MEMORISED,
            "unit": item.att_prop.unit,
            "minimum": item.att_prop.min_value,
            "maximum": item.att_prop.max_value,
            "labels": [label for label in item.att_prop.enum_labels.split(",") if label],
            "doc": item.att_prop.description,
        }
        for name, item in told.attr_list.items()
    ]
    attributes += [_own("State", "DevState", "The state of the device"), _own("Status", "DevString", "Why, in words")]
    commands = [
        {
            "name": name,
            "argument": str(tango.CmdArgType(given[0])),
            "answer": str(tango.CmdArgType(returned[0])),
            "argument_doc": given[1] if given[0] is not tango.CmdArgType.DevVoid else "",
            "answer_doc": returned[1] if returned[0] is not tango.CmdArgType.DevVoid else "",
        }
        for name, (given, returned, *_) in told.cmd_list.items()
    ]
    by_name = sorted(attributes, key=lambda each: str(each["name"])), sorted(commands, key=lambda each: each["name"])
    return {"attributes": by_name[0], "commands": by_name[1]}


def _own(name: str, kind: str, doc: str) -> dict[str, Any]:
    """Return what is told of an attribute that is Tango's own."""
    nothing = {"unit": "", "minimum": "", "maximum": "", "labels": []}
    return {
        "name": name,
        "type": kind,
        "format": "SCALAR",
        "writable": False,
        "memorized": False,
        **nothing,
        "doc": doc,
    }


def write() -> None:
    """Write them, and remove those that are of nothing any more."""
    wanted = files()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.json"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="ascii")


if __name__ == "__main__":
    write()
