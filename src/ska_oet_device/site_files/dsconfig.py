"""What a Tango database is to know of the servers and devices, as JSON for dsconfig's json2tango."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import Settings
from ..properties import BY_NAME, PROPERTIES, Property, settings_from
from .access import READERS_COMMANDS
from .subarrays import Subarrays

SITE_PROPERTIES = (
    "ScriptRoots",
    "GitRepositories",
    "StopGracePeriod",
    "MaxProcedures",
    "SpareWorkers",
    "MaxOutput",
    "HistoryDays",
    "EnvironmentQuota",
)
"""What each site decides for itself: where scripts come from, and what may fill its memory and its disks."""

SITE_SCRIPTS = "/scripts"
"""The folder of a site's scripts, unless it says another one: what the device has by itself are its examples."""

LONGEST_ELEMENT = 65_535
"""Bytes that one value may have: a database on MariaDB keeps no more, and loses the old value when it is given more."""

_CLASS = "OetDevice"


def dsconfig_file(
    subarrays: Subarrays, given: Mapping[str, Sequence[str]], *, all_properties: bool = False, source: str = ""
) -> str:
    """Return the file.

    :param given: values that the site has chosen, by the properties' names; they stand for the defaults
    :param all_properties: whether each property is in it, and not only what a site thinks about
    :param source: what wrote it, for its head
    :raises ValueError: a property that the device does not have, or a value that it, or a database, would not take
    """
    names = [item.name for item in PROPERTIES if all_properties or item.name in (*SITE_PROPERTIES, *given)]
    _check(given)
    properties = {name: list(given.get(name) or _as_texts(BY_NAME[name])) for name in names}
    content = {
        "_title": f"{_CLASS}: {subarrays.title}",
        "_source": source,
        "_version": 2,
        "servers": {
            _CLASS: {
                member: {_CLASS: {subarrays.device(member): {"properties": properties}}} for member in subarrays.members
            }
        },
        "classes": {_CLASS: {"properties": {"AllowedAccessCmd": list(READERS_COMMANDS)}}},
    }
    return json.dumps(content, indent=4) + "\n"


def _check(given: Mapping[str, Sequence[str]]) -> None:
    unknown = next((name for name in given if name not in BY_NAME), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is no property; these are: {', '.join(BY_NAME)}")
    _, problems = settings_from(given, Settings(), 1)
    if problems:
        raise ValueError(problems[0].rpartition("; ")[0])  # without what stays in use
    for name, value in ((name, value) for name, values in given.items() for value in values):
        if not value.isascii():
            raise ValueError(
                f"Property {name}: {value[:80]!a} is not ASCII; Tango's programs disagree on how to keep that"
            )
        if '\\"' in value:
            raise ValueError(f"Property {name}: a backslash before a quotation mark is lost in databases on MariaDB")
        if len(value) > LONGEST_ELEMENT:
            raise ValueError(
                f"Property {name}: {len(value):,} bytes are too many: a database keeps {LONGEST_ELEMENT:,}"
            )


def _as_texts(item: Property) -> tuple[str, ...]:
    """Return a default as a database holds it; one empty text stands for none."""
    if item.name == "ScriptRoots":
        return (SITE_SCRIPTS,)
    if item.shown_default is not None:
        return (item.shown_default,)
    default: Any = item.default
    if item.several:
        return tuple(default) or ("",)
    return (str(default).lower() if isinstance(default, bool) else str(default),)
