"""`oet config taranta`: Taranta's dashboards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ..site_files import BOARDS, GRIDS, Site, board
from . import _config
from ._config import arguments_checked, config
from ._site_files import Low, Mid, subarrays_of
from ._status import Ended, Status

_ALL = "all"
_DEVICE = re.compile(r"[\w.-]+/[\w.-]+/[\w.-]+", re.ASCII)
_PREFIX = re.compile(r"[\w.-]+://", re.ASCII)


@config.command("taranta")
@arguments_checked()
def taranta(
    board_: Annotated[
        str, typer.Option("--board", metavar="BOARD", help=f"{', '.join(BOARDS)}, or {_ALL} of them.")
    ] = _ALL,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where oet-operator.wj and so on are written; without it one board goes to standard output. "
            "Files that are there are replaced.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        list[str],
        typer.Option(
            "--device",
            "-d",
            metavar="NAME",
            help="A device: the fleet board has a row for each; the other boards show the first until another one is "
            "chosen. Any number; without it, --mid and --low: mid-oet/subarray/01.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 - typer's way
    mid: Mid = False,
    low: Low = False,
    subarrays: Annotated[
        int | None,
        typer.Option(
            "--subarrays",
            "-n",
            metavar="N",
            help="With --mid or --low: how many subarrays there are, from 1 to 99; without it 1.",
            show_default=False,
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Taranta's name of the Tango database, with ://.")
    ] = Site.prefix,
    grid: Annotated[
        int, typer.Option("--grid", metavar="PIXELS", help="Of Taranta's grid: 10 in SKA's image, 20 in others.")
    ] = Site.grid,
) -> None:
    """Write Taranta's dashboards, for Taranta to import.

    They name what the devices of this version have. One board serves every subarray: it is chosen on the board.

    Exit status: 0 written, 2 usage, 74 it cannot be written.
    """
    _check(board_, device, prefix, grid)
    site = Site(_devices(device, mid, low, subarrays), prefix, grid)
    wanted = {f"oet-{which}.wj": board(which, site) for which in BOARDS if board_ in (which, _ALL)}
    if output is None:
        if len(wanted) > 1:
            raise ValueError("standard output takes one board: --board says which, or --output where all of them go")
        (text,) = wanted.values()
        _config.write(text, None)
        return
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Ended(Status.UNWRITABLE, "unwritable", f"{output} cannot be made: {error.strerror or error}") from error
    for name, text in wanted.items():
        _config.write(text, str(Path(output) / name))


def _devices(named: list[str], mid: bool, low: bool, count: int | None) -> tuple[str, ...]:
    """Return the devices that are named, or those of a telescope.

    :raises ValueError: both are asked for, or a number of subarrays without a telescope
    """
    if not (mid or low):
        if count is not None:
            raise ValueError("--subarrays is of --mid or --low")
        return tuple(named) or Site.devices
    if named:
        raise ValueError("--device or --mid and --low, and not both")
    return subarrays_of(mid, low, 1 if count is None else count).devices


def _check(which: str, devices: list[str], prefix: str, grid: int) -> None:
    """Look at what was asked for.

    :raises ValueError: there is no such board or grid, or something is no name of a device or of a database
    """
    if which not in (*BOARDS, _ALL):
        raise ValueError(f"--board {which!r} is none of {', '.join(BOARDS)} and {_ALL}")
    if grid not in GRIDS:
        raise ValueError(f"--grid {grid} is not {' or '.join(map(str, GRIDS))}")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"--prefix {prefix!r} does not end in ://, as taranta:// does")
    for name in devices:
        if not _DEVICE.fullmatch(name):
            raise ValueError(f"--device {name!r} is not domain/family/member, without the address of a database")
    if len({name.lower() for name in devices}) < len(devices):
        raise ValueError("--device names a device twice")
