"""What is said in several places is said alike: the tables, what Tango is told, the settings, and the contract."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tango

from ska_oet_device.config import EXAMPLES, Settings, size_in_bytes
from ska_oet_device.procedure.ui._attribute import Occasion
from ska_oet_device.procedure.ui._attributes import ATTRIBUTES, GROUPS, MEMORISED, PUSHED
from ska_oet_device.procedure.ui.device import OetDevice
from ska_oet_device.properties import BY_NAME, PROPERTIES

CONTRACT = Path(__file__).parents[2] / "docs" / "reference" / "contract.md"
TOLD = OetDevice.TangoClassClass
"""What Tango is told of the class."""


def table_of(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading of the contract, without its head."""
    section = CONTRACT.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None, f"the contract has no table of {heading}"
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table[0].splitlines(keepends=True)[2:]]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def each_of(cell: str, count: int) -> list[str]:
    """Return what a cell says of each of `count` names: one thing for all of them, or one for each."""
    parts = re.split(r"[,;] (?=\D|\d+ )", cell) if count > 1 else [cell]
    return parts if len(parts) == count else [cell] * count


def same(one: str, names: Iterable[str], other: str, others: Iterable[str]) -> None:
    """Fail with a sentence on each name that one place has and another has not."""
    names, others = set(names), set(others)
    missing = [f"{name} is in {one}, and not in {other}" for name in sorted(names - others)]
    missing += [f"{name} is in {other}, and not in {one}" for name in sorted(others - names)]
    assert not missing, "\n".join(missing)


def alike(one: str, values: Mapping[str, Any], other: str, others: Mapping[str, Any]) -> None:
    """Fail with a sentence on each name that is missing, or is another thing, in one of two places."""
    same(one, values, other, others)
    different = [
        f"{name} is {value!r} in {one}, and {others[name]!r} in {other}"
        for name, value in values.items()
        if value != others[name]
    ]
    assert not different, "\n".join(different)


def tango_name(kind: Any, form: Any = tango.SCALAR) -> str:
    """Return a type as the contract writes it."""
    name = str(tango.CmdArgType(kind))
    return name + {tango.SPECTRUM: "[]", tango.IMAGE: "[][]"}.get(form, "")


# -- attributes


def types_in(cell: str, count: int) -> list[str]:
    """Return the types of `count` names: one for all of them, or one for each."""
    found = re.findall(r"Dev\w+(?:\[\])*", cell)
    return found * count if len(found) == 1 else found


ATTRIBUTES_IN_CONTRACT = {
    name: kind
    for names, kinds, _ in table_of("Attributes")
    for name, kind in zip(names_in(names), types_in(kinds, len(names_in(names))), strict=True)
}
"""{name: type}"""


def test_the_attributes_of_the_table_are_those_of_the_contract_and_of_tango():
    names = {item.name for item in ATTRIBUTES}
    same("the table of attributes", names | {"State", "Status"}, "the contract", ATTRIBUTES_IN_CONTRACT)
    same("the table of attributes", names, "what Tango is told", TOLD.attr_list)
    assert len(ATTRIBUTES) == len(names)


def test_an_attribute_is_memorised_if_the_contract_says_so_and_by_us_not_by_tango():
    kinds = {name: kinds for names, kinds, _ in table_of("Attributes") for name in names_in(names)}
    same("the contract", (name for name, kind in kinds.items() if "memorised" in kind), "the table", MEMORISED)
    tangos = [name for name, item in TOLD.attr_list.items() if item.memorized]
    assert tangos == [], "say memorised=True: Tango keeps the device's monitor while the database hangs (_memory.py)"


def test_the_types_of_the_contract_are_those_of_tango():
    told = {name: tango_name(item.attr_type, item.attr_format) for name, item in TOLD.attr_list.items()}
    told |= {"State": "DevState", "Status": "DevString"}
    alike("the contract", ATTRIBUTES_IN_CONTRACT, "what Tango is told", told)


def test_an_attribute_can_be_written_if_the_contract_says_so_and_the_device_has_a_method_for_it():
    written = {name for name, item in TOLD.attr_list.items() if item.attr_write is tango.AttrWriteType.READ_WRITE}
    kinds = {name: kinds for names, kinds, _ in table_of("Attributes") for name in names_in(names)}
    same("the contract", (name for name, kind in kinds.items() if "read-write" in kind), "what Tango is told", written)
    methods = {name.removeprefix("write_") for name in dir(OetDevice) if re.fullmatch(r"write_[a-z]+[A-Z]\w*", name)}
    same("what Tango is told", written, "the methods of the device", methods)


def test_what_tango_is_told_of_an_attribute_is_what_the_table_says():
    for item in ATTRIBUTES:
        declared = TOLD.attr_list[item.name]
        assert declared.att_prop.description == item.doc
        for name in ("unit", "min_value", "max_value"):
            assert getattr(declared.att_prop, name) == str(item.declared.get(name, "")), f"{item.name}: {name}"


def test_every_attribute_is_pushed_on_its_occasion():
    pushed = {item.name: occasion for occasion in Occasion for group in GROUPS[occasion] for item in group.items}
    alike("the table", {item.name: item.pushed for item in ATTRIBUTES}, "the groups that are pushed", pushed)
    assert set(PUSHED) == {"State", "Status", *pushed}
    for groups in GROUPS.values():
        names = [group.name for group in groups]
        assert len(names) == len(set(names)), "the members of a group do not follow each other in the table"


# -- commands


def type_of(cell: str) -> str:
    """Return the type of an argument or an answer; JSON in a DevString where the contract names none."""
    first = cell.split(" ")[0].rstrip(":;")
    return first if first.startswith("Dev") else "DevVoid" if first == "none" else "DevString"


COMMANDS_IN_CONTRACT = {
    name: (type_of(argument), type_of(answer))
    for names, argument, answer in table_of("Commands")
    for name in names_in(names)
}


def test_the_commands_of_the_contract_are_those_of_tango():
    told = {
        name: (tango_name(given[0]), tango_name(returned[0])) for name, (given, returned, *_) in TOLD.cmd_list.items()
    }
    alike("the contract", COMMANDS_IN_CONTRACT, "what Tango is told", told)


# -- properties

IN_WORDS = {
    "the packaged examples": (EXAMPLES,),
    "from the device's name": 0,
    "`$OET_HISTORY_URL`, else SQLite in StateDirectory": "",
    "`$STATE_DIRECTORY`, else the user's state folder": "",
    "0: none": 0,
}
"""Defaults that the contract does not give as values."""


def default_of(name: str, cell: str) -> Any:
    """Return the value that the contract's words for a default stand for."""
    item = BY_NAME[name]
    text = cell.strip("`")
    if cell in IN_WORDS:
        return IN_WORDS[cell]
    if text == "none":
        return () if item.several else item.kind() if item.shown_default is None else 0
    if item.several:
        return (text,)
    return size_in_bytes(text) if item.shown_default is not None else item.parse(text.removesuffix(" s"))


PROPERTIES_IN_CONTRACT = {
    name: (default, allowed)
    for names, defaults, alloweds, _ in table_of("Device properties")
    for name, default, allowed in zip(
        names_in(names),
        each_of(defaults, len(names_in(names))),
        each_of(alloweds, len(names_in(names))),
        strict=True,
    )
}


def test_the_properties_of_the_table_are_those_of_the_contract_of_the_settings_and_of_tango():
    names = [item.name for item in PROPERTIES]
    assert len(names) == len(set(names))
    same("the table of properties", names, "the contract", PROPERTIES_IN_CONTRACT)
    same("the table of properties", names, "what Tango is told", TOLD.device_property_list)
    fields = (field.name for field in dataclasses.fields(Settings))
    same("the table of properties", (item.field for item in PROPERTIES), "Settings", fields)


def test_the_defaults_of_the_contract_are_those_of_the_table():
    said = {name: default_of(name, default) for name, (default, _) in PROPERTIES_IN_CONTRACT.items()}
    alike("the contract", said, "the table of properties", {item.name: item.default for item in PROPERTIES})


def test_tools_are_told_the_types_and_defaults_of_the_table():
    wanted = {}
    for item in PROPERTIES:
        kind = {str: "DevString", int: "DevLong64", float: "DevDouble", bool: "DevBoolean"}[item.kind]
        shown = item.default if item.shown_default is None else item.shown_default
        if item.several:
            kind, shown = "DevVarStringArray", list(shown)
        wanted[item.name] = (kind, item.doc, shown)
    told = {name: (tango_name(kind), *rest[:2]) for name, (kind, *rest) in TOLD.device_property_list.items()}
    alike("the table of properties", wanted, "what Tango is told", told)


@pytest.mark.parametrize("name", [item.name for item in PROPERTIES if item.shown_default is not None])
def test_a_default_that_tools_are_shown_is_the_one_that_holds(name):
    item = BY_NAME[name]
    assert size_in_bytes(item.shown_default) == item.default, f"{name} in the table, and in Settings"


@pytest.mark.parametrize(
    ("name", "allowed"), [(name, allowed) for name, (_, allowed) in PROPERTIES_IN_CONTRACT.items() if " to " in allowed]
)
def test_the_bounds_of_the_contract_are_those_that_hold(name, allowed):
    lowest, highest, unit = re.fullmatch(r"([\d,]+) to ([\d,]+)(?: (s|GB))?", allowed).groups()
    lowest, highest = (int(number.replace(",", "")) for number in (lowest, highest))
    unit = f" {unit}" if unit == "GB" else ""
    parse = BY_NAME[name].parse
    for number in (lowest, highest):
        assert parse(f"{number}{unit}") is not None, f"{name} = {number}{unit} is allowed in the contract"
    for number in (lowest - 1, highest + 1):
        assert parse(f"{number}{unit}") is None, f"{name} = {number}{unit} is not allowed in the contract"
