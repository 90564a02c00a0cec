"""`oet health` as the other commands know it: it is listed, and a device may be named before it."""

from __future__ import annotations

import typer

from ._app import app
from ._health import SUMMARY
from ._health import main as health


@app.command(
    "health",
    help=SUMMARY,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def command(ctx: typer.Context) -> None:
    """Hand it on to the program that probes call directly."""
    before = ctx.obj or {}
    named = [f"--device={before['device']}"] if before.get("device") else []
    as_json = ["--json"] if before.get("as_json") else []
    health([*named, *as_json, *ctx.args], program=str(ctx.find_root().info_name))
