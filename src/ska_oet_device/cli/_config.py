"""`oet config`: files for a site's other programs; they need neither a device nor Tango."""

from __future__ import annotations

import typer

from ._app import app

config = typer.Typer(
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@config.callback()
def root() -> None:
    """Write the files that a site's other programs need to know the device: for Taranta, dsconfig, archivers."""


app.add_typer(config, name="config")
