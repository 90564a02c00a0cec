"""The ``oet`` command: asks a device how it does.  Made for shells and for Kubernetes probes."""

from __future__ import annotations

import time
from typing import Annotated

import tango
import typer

_SETTLING = 0.3  # seconds after which the device knows what its first look has brought

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Ask an OetDevice.")


@app.callback()
def _main() -> None:
    """Ask an OetDevice."""


@app.command()
def health(
    device: Annotated[str, typer.Argument(help="Tango name of the device")] = "mid-oet/subarray/01",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer")] = 3.0,
) -> None:
    """Say how healthy a device is; exit status 0 for OK and DEGRADED, 1 for anything else.

    Reading healthState has the server try the real path: main answers, a worker is forked, the
    history is written.  The second reading shows what came of it.
    """
    try:
        proxy = tango.DeviceProxy(device)
        proxy.set_timeout_millis(int(timeout * 1000))
        proxy.read_attribute("healthState")
        time.sleep(_SETTLING)
        state = proxy.read_attribute("healthState").value
        status = proxy.status()
    except tango.DevFailed as error:
        typer.echo(f"FAILED {device}: {error.args[0].desc.strip()}", err=True)
        raise typer.Exit(1) from None
    name = ("OK", "DEGRADED", "FAILED", "UNKNOWN")[int(state)]
    typer.echo(f"{name} {device}: {status}")
    if name not in ("OK", "DEGRADED"):
        raise typer.Exit(1)
