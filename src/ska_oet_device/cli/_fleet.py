"""`oet fleet`: all OetDevices of a Tango database, as they are now, or live."""

from __future__ import annotations

import contextlib
import resource
from typing import TYPE_CHECKING, Annotated

import typer

from . import _completion as completion
from . import _options as options
from ._app import command
from ._shell import Shell
from ._status import Ended, Status

if TYPE_CHECKING:
    from ..client import DeviceReport

_NAMED = 5  # devices that the line on standard error names


@command("fleet")
def fleet(
    shell: Shell,
    devices: Annotated[
        list[str],
        typer.Argument(
            metavar="[DEVICE]...",
            help="Names of devices, or patterns as for files: 'mid-oet/*'; without any, all OetDevices.",
            autocompletion=completion.devices,
            show_default=False,
        ),
    ] = [],  # noqa: B006 - typer's way
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each change: on a terminal a table in place, else lines.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only devices that do not answer, or are neither OK nor DEGRADED.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", parser=options.seconds, help="How long a device has for an answer; 3."
        ),
    ] = 3.0,
) -> int | None:
    """Show all OetDevices of the Tango database: health, State, active procedure, version, host.

    All are asked at once; one that hangs delays no other. --device is one more DEVICE.

    Exit status: 0 all are OK or DEGRADED; 1 one is not, or does not answer; 2 no device fits; 5 the Tango database does
    not answer; with --follow 130 ended by Ctrl-C.
    """
    patterns = [*devices, *([shell.device] if shell.device else [])]
    shell.begin()
    _allow_connections()
    if follow:
        if failed:
            raise typer.BadParameter("--failed goes with a table of what is so now, not with --follow")
        from ._fleet_live import follow_fleet

        return follow_fleet(shell, patterns, timeout)
    _show(shell, patterns, timeout, only_failed=failed)
    return None


def _show(shell: Shell, patterns: list[str], timeout: float, *, only_failed: bool) -> None:
    from .. import client
    from ._fleet_table import HEAD, cells, data, fitting, summary

    found = client.fleet(patterns, timeout=timeout)
    check_any(found, patterns)
    shown = [each for each in found if not (only_failed and each.is_well)]
    if shell.as_json:
        for each in shown:
            shell.data(data(each))
    else:
        if shown:
            shell.table(*fitting(HEAD, [cells(shell, each) for each in shown], shell.width))
            shell.line()
        shell.line(summary(found))
    _check_well(found)


def check_any(found: object, patterns: list[str]) -> None:
    """Make sure that there is a device to look at: a name that nothing fits is a mistake, and no fleet without a fault.

    :raises Ended: there is none
    """
    if found:
        return
    from .. import client

    there = client.devices()
    if not there:
        raise Ended(Status.USAGE, "usage", "the Tango database has no device of the class OetDevice")
    asked = ", ".join(patterns)
    raise Ended(Status.USAGE, "usage", f"no OetDevice fits {asked}; there are {_some(there)}")


def _check_well(found: list[DeviceReport]) -> None:
    """End the command with 1 unless all is well.

    :raises Ended: a device does not answer, or is neither OK nor DEGRADED
    """
    from ._fleet_table import health_word

    ill = [f"{each.device} ({health_word(each)})" for each in found if not each.is_well]
    if ill:
        raise Ended(Status.FAILED, "fleet", f"{len(ill)} of {len(found)} devices are not well: {_some(ill)}")


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _allow_connections() -> None:
    """Have room for a few connections to each of a thousand servers: many systems begin with 1,024 descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)) if hard >= 0 else 65536, hard))
