"""`oet config dsconfig` and `oet config archiving`: what a Tango database and an archiver are to know of devices."""

from __future__ import annotations

from typing import Annotated

import typer

from ..site_files import Archiver, Subarrays, dsconfig_file, eda_file, hdbpp_file
from . import _config
from ._config import arguments_checked, config, source_of

Mid = Annotated[bool, typer.Option("--mid", help="For SKA-Mid: the devices are mid-oet/subarray/01 and so on.")]
Low = Annotated[bool, typer.Option("--low", help="For SKA-Low: the devices are low-oet/subarray/01 and so on.")]
Count = Annotated[
    int, typer.Option("--subarrays", "-n", metavar="N", help="How many subarrays there are, from 1 to 99.")
]

_DATABASE = "databaseds-tango-base:10000"
_MANAGER, _SUBSCRIBER = "eda/cm/01", "eda/es/01"


def subarrays_of(mid: bool, low: bool, count: int) -> Subarrays:
    """Return the subarrays of the telescope that was given.

    :raises ValueError: neither telescope, or both, or a number of subarrays that nobody has
    """
    return Subarrays(_one_of(mid=mid, low=low), count)


def _one_of(**given: bool) -> str:
    """Return the option that was given.

    :raises ValueError: none, or both
    """
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) != 1:
        either, other = (f"--{name}" for name in given)
        raise ValueError(f"{either} or {other}, and not both" if chosen else f"{either} or {other} is missing")
    return chosen[0]


@config.command("dsconfig")
@arguments_checked()
def dsconfig(
    mid: Mid = False,
    low: Low = False,
    subarrays: Count = 1,
    properties: Annotated[
        list[str],
        typer.Option(
            "--property",
            "-p",
            metavar="NAME=VALUE",
            help="A property's value, instead of its default. Any number; several of one name are its several values.",
        ),
    ] = [],  # noqa: B006 - typer's way
    all_properties: Annotated[
        bool, typer.Option("--all-properties", help="Write each property that there is, and not only a site's own.")
    ] = False,
    output: _config.Output = None,
) -> None:
    """Write the servers, devices and properties as JSON for dsconfig: json2tango -w -u FILE.

    A server a subarray: OetDevice/01 has the device mid-oet/subarray/01. The class property AllowedAccessCmd
    says what those may call whom access control lets read only.

    Exit status: 0 written, 2 usage, 74 it cannot be written.
    """
    given: dict[str, list[str]] = {}
    for each in properties:
        name, separator, value = each.partition("=")
        if not separator:
            raise ValueError(f"--property {each!r} is not NAME=VALUE")
        given.setdefault(name, []).append(value)
    asked = subarrays_of(mid, low, subarrays)
    options = [*(f"--property={each}" for each in properties), *(["--all-properties"] if all_properties else [])]
    source = source_of("dsconfig", f"--{asked.telescope}", "--subarrays", str(asked.count), *options)
    _config.write(dsconfig_file(asked, given, all_properties=all_properties, source=source), output)


@config.command("archiving")
@arguments_checked()
def archiving(
    mid: Mid = False,
    low: Low = False,
    subarrays: Count = 1,
    hdbpp: Annotated[bool, typer.Option("--hdbpp", help="For HDB++'s yaml2archiving. So it is without --eda.")] = False,
    eda: Annotated[bool, typer.Option("--eda", help="For SKA's Engineering Data Archive.")] = False,
    database: Annotated[
        str, typer.Option("--tango-host", metavar="HOST:PORT", help="The Tango database that the devices are in.")
    ] = _DATABASE,
    manager: Annotated[
        str | None,
        typer.Option(
            "--manager",
            metavar="DEVICE",
            help="The archiver's configuration manager; mid-eda/cm/01 or low-eda/cm/01 without it.",
            show_default=False,
        ),
    ] = None,
    subscriber: Annotated[
        str | None,
        typer.Option(
            "--subscriber",
            metavar="DEVICE",
            help="The archiver's event subscriber; mid-eda/es/01 or low-eda/es/01 without it.",
            show_default=False,
        ),
    ] = None,
    output: _config.Output = None,
) -> None:
    """Write what an archiver is to keep, as YAML: each attribute pushes its archive events itself, always.

    Exit status: 0 written, 2 usage, 74 it cannot be written.
    """
    asked = subarrays_of(mid, low, subarrays)
    kind = _one_of(hdbpp=hdbpp or not eda, eda=eda)
    archiver = Archiver(
        database,
        manager or f"{asked.telescope}-{_MANAGER}",
        subscriber or f"{asked.telescope}-{_SUBSCRIBER}",
    )
    options = [f"--tango-host={database}"] if database != _DATABASE else []
    options += [f"--manager={manager}"] if manager else []
    options += [f"--subscriber={subscriber}"] if subscriber else []
    source = source_of("archiving", f"--{kind}", f"--{asked.telescope}", "--subarrays", str(asked.count), *options)
    _config.write((eda_file if kind == "eda" else hdbpp_file)(asked, archiver, source), output)
