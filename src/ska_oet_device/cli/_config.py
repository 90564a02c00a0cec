"""`oet config`: files for a site's other programs; they need neither a device nor Tango."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ._app import app
from ._status import Ended, Status

config = typer.Typer(
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@config.callback()
def root() -> None:
    """Write the files that a site's other programs need to know the device: for Taranta, dsconfig, archivers."""


app.add_typer(config, name="config")

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where it is written; without it to standard output. A file that is there is replaced.",
        show_default=False,
    ),
]


@contextlib.contextmanager
def arguments_checked() -> Iterator[None]:
    """Have a ValueError tell of arguments that do not fit, without Tango being loaded for it.

    :raises Ended: there was one
    """
    try:
        yield
    except ValueError as error:
        raise Ended(Status.USAGE, "usage", str(error)) from error


def source_of(command: str, *parts: str) -> str:
    """Return the command line that writes a file, for its head: without where to."""
    return shlex.join(["oet", "config", command, *parts])


def write(text: str, output: str | None) -> None:
    """Write a file, whole or not at all; to standard output if it has no name.

    :raises Ended: it cannot be written
    """
    if output is None:
        sys.stdout.write(text)
        return
    try:
        _replace(Path(output), text)
    except OSError as error:
        raise Ended(
            Status.UNWRITABLE, "unwritable", f"{output} cannot be written: {error.strerror or error}"
        ) from error


def _replace(path: Path, text: str) -> None:
    path = Path(os.path.realpath(path))  # a link stays one
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):  # a pipe, say
        path.write_text(text, encoding="utf-8")
        return
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
