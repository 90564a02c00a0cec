"""What Taranta's dashboards (`taranta/*.wj`) ask of a control system: devices, attributes, commands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "taranta"


def dashboards() -> list[Path]:
    """Return the files, in the order of their names."""
    return sorted(FOLDER.glob("*.wj"))


@dataclass(frozen=True)
class Attribute:
    """An attribute as a widget names it; `role` is the input that it is for: `attribute`, `writeValuesSpectrum`."""

    widget: str
    role: str
    device: str
    name: str

    @property
    def full_name(self) -> str:
        return f"{self.device}/{self.name}".lower()


@dataclass(frozen=True)
class Command:
    """A command as a widget names it, with the type of argument that the file says it takes."""

    widget: str
    device: str
    name: str
    accepted_type: str


class Dashboard:
    """One file; a variable stands for the device that the file proposes for it."""

    def __init__(self, path: Path) -> None:
        self._content: dict[str, Any] = json.loads(path.read_text())
        self._devices = {each["name"]: _bare(each["device"]) for each in self._content["variables"]}
        self.widgets = list(_flat(self._content["widget"]))
        self.attributes = list(dict.fromkeys(use for widget in self.widgets for use in self._attributes(widget)))
        self.commands = list(dict.fromkeys(use for widget in self.widgets for use in self._commands(widget)))

    @property
    def devices(self) -> list[str]:
        """Return the names of all devices that it shows."""
        return list(
            dict.fromkeys(device for widget in self.widgets for device in self._named_devices(widget["inputs"]))
        )

    @property
    def menus(self) -> list[tuple[Attribute, list[str]]]:
        """Return the attributes that are written by menus with items of their own, and the values of these."""
        return [
            (
                next(use for use in self._attributes(widget) if use.role == "attribute"),
                [item["value"] for item in items],
            )
            for widget in self.widgets
            if widget["type"] == "ATTRIBUTE WRITER DROPDOWN" and (items := widget["inputs"]["writeValues"])
        ]

    def _device(self, reference: str) -> str:
        """Return the Tango name behind `taranta://mid-oet/subarray/01` or `taranta://(Variable)`."""
        name = _bare(reference)
        return self._devices[name[1:-1]] if name.startswith("(") else name

    def _attributes(self, widget: dict[str, Any]) -> Iterator[Attribute]:
        kind = widget["type"]
        if kind == "TABULAR_VIEW":
            for device in self._named_devices(widget["inputs"]["devices"]):
                for each in widget["inputs"]["customAttributes"]:
                    name = each["attribute"]
                    name = name["attribute"] if isinstance(name, dict) else name
                    yield Attribute(kind, "attribute", device, name.lower())
            return
        if kind == "DEVICE_STATUS":  # which asks for no attribute by its name
            yield Attribute(kind, "state", self._device(widget["inputs"]["device"]), "state")
            return
        for role, value in _objects(widget["inputs"]):
            if value.get("attribute") and isinstance(value["attribute"], str) and value.get("device"):
                yield Attribute(kind, role, self._device(value["device"]), value["attribute"].lower())

    def _commands(self, widget: dict[str, Any]) -> Iterator[Command]:
        for _, value in _objects(widget["inputs"]):
            if isinstance(value.get("command"), str):
                accepted = value["acceptedType"]
                yield Command(widget["type"], self._device(value["device"]), value["command"], accepted)

    def _named_devices(self, value: Any) -> Iterator[str]:
        for _, each in _objects(value):
            if isinstance(each.get("device"), str) and each["device"]:
                yield self._device(each["device"])


def _flat(widgets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for widget in widgets:
        yield widget
        yield from _flat(widget.get("innerWidgets") or [])


def _objects(value: Any, role: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object in JSON with the key that leads to it."""
    if isinstance(value, dict):
        yield role, value
        for key, inner in value.items():
            yield from _objects(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner, role)


def _bare(reference: str) -> str:
    """Return a reference without Taranta's name of the Tango database, `taranta://`."""
    return re.sub(r"^\w+://", "", reference)
