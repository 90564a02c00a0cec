"""What the boards may name: attributes and commands of the interface, in the words of Taranta's references."""

from __future__ import annotations

from typing import Any

from ...interface import InterfaceAttribute, InterfaceCommand, interface

_NOTHING = "Uninitialised"  # what Tango tells of an argument, or an answer, that is none


class UnknownNameError(LookupError):
    """A board names what the device does not have."""


def attribute(name: str) -> InterfaceAttribute:
    """Return what is known of an attribute.

    :raises UnknownNameError: the device has no such attribute; capital letters count
    """
    known = interface().attributes.get(name)
    if known is None:
        raise UnknownNameError(f"the device has no attribute {name!r}")
    return known


def command(name: str) -> InterfaceCommand:
    """Return what is known of a command.

    :raises UnknownNameError: the device has no such command; capital letters count
    """
    known = interface().commands.get(name)
    if known is None:
        raise UnknownNameError(f"the device has no command {name!r}")
    return known


def value_of(name: str, label: str) -> int:
    """Return the number that a value of a DevEnum attribute has: so it arrives at Taranta.

    :raises UnknownNameError: the attribute has no such value
    """
    labels = attribute(name).labels
    if label not in labels:
        raise UnknownNameError(f"the attribute {name!r} has no value {label!r}, but {', '.join(labels) or 'no names'}")
    return labels.index(label)


def attribute_reference(device: str, name: str, label: str) -> dict[str, Any]:
    """Return what a widget holds of an attribute: its name arrives in lower case."""
    return {"device": device, "attribute": attribute(name).name.lower(), "label": label}


def command_reference(device: str, name: str) -> dict[str, Any]:
    """Return what a widget holds of a command."""
    known = command(name)
    return {
        "device": device,
        "command": known.name,
        "acceptedType": known.argument,
        "intypedesc": known.argument_doc or _NOTHING,
        "outtypedesc": known.answer_doc or _NOTHING,
        "outtype": known.answer,
        "tag": "0",
    }
