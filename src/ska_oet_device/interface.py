"""What Tango is told of the device class: attributes and commands as data, for whoever must not load the device.

``interface.json`` is written by ``make schemas`` from the class itself, and a test holds the two together.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

WRITTEN = Path(__file__).with_name("interface.json")
"""The file."""


@dataclass(frozen=True)
class InterfaceAttribute:
    """One attribute, as Tango's tools see it.

    :param name: its name, in lowerCamelCase; of State and Status as Tango has it
    :param type: the name of its Tango type, such as DevDouble
    :param format: SCALAR, SPECTRUM or IMAGE
    :param writable: whether it can be written
    :param memorized: whether the Tango database keeps what was written
    :param unit: its unit; "" if it has none
    :param minimum: its smallest value as text; "" if it has none
    :param maximum: its largest value as text; "" if it has none
    :param labels: of a DevEnum: the names of its values, from 0 on
    :param doc: what it means
    """

    name: str
    type: str
    format: str
    writable: bool
    memorized: bool
    unit: str
    minimum: str
    maximum: str
    labels: tuple[str, ...]
    doc: str


@dataclass(frozen=True)
class InterfaceCommand:
    """One command, as Tango's tools see it.

    :param name: its name, in PascalCase
    :param argument: the name of the Tango type of its argument, such as DevString; DevVoid if it takes none
    :param answer: the name of the Tango type of its answer
    :param argument_doc: what the argument means
    :param answer_doc: what the answer means
    """

    name: str
    argument: str
    answer: str
    argument_doc: str
    answer_doc: str


@dataclass(frozen=True)
class Interface:
    """The attributes and the commands of the device class, in alphabetical order; Tango's own commands are left out."""

    attributes: Mapping[str, InterfaceAttribute]
    commands: Mapping[str, InterfaceCommand]


@functools.cache
def interface() -> Interface:
    """Return the interface as it was written down, by names.  Any thread."""
    told = json.loads(WRITTEN.read_text(encoding="ascii"))
    attributes = [InterfaceAttribute(**{**item, "labels": tuple(item["labels"])}) for item in told["attributes"]]
    commands = [InterfaceCommand(**item) for item in told["commands"]]
    return Interface({item.name: item for item in attributes}, {item.name: item for item in commands})
