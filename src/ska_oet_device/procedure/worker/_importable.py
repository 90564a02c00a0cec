"""How the processes that a script starts find the script: as the module that it is in its worker.

A forked one has it.  One that begins with an interpreter of its own (multiprocessing's spawn and forkserver, loky,
dask) is handed `sys.path`, imports the module by its name, and finds `importable/user_module.py`, which loads what the
worker has loaded.
"""

from __future__ import annotations

import contextlib
import os
import sys

FOLDER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "importable")

SOURCE_VARIABLE = "SKA_OET_SCRIPT_SOURCE"
"""SHA-256 of the script's text, where the worker keeps it, and the script's path: inherited by exec."""

_NOWHERE = "-"


def let_children_import(path: str, source: bytes, digest: str) -> None:
    """Have the processes that this one starts find the script.  Main thread of a worker.

    :param path: of the script; `source` is what was read there, and `digest` its SHA-256, in hexadecimal digits
    """
    if FOLDER not in sys.path:
        sys.path.append(FOLDER)
    os.environ[SOURCE_VARIABLE] = f"{digest} {_kept(source)} {path}"


def _kept(source: bytes) -> str:
    """Return a path by which the text can be read as long as this process lives; `_NOWHERE` if it cannot be kept."""
    with contextlib.suppress(OSError):  # no descriptor or no memory is to be had: the file is there in most cases
        descriptor = os.memfd_create("script")
        with contextlib.suppress(OSError):
            os.write(descriptor, source)
        return f"/proc/{os.getpid()}/fd/{descriptor}"
    return _NOWHERE


def forget_script() -> None:
    """Take back what `let_children_import` has done, but for `sys.path`."""
    kept = os.environ.pop(SOURCE_VARIABLE).split(" ")[1]
    if kept != _NOWHERE:
        os.close(int(os.path.basename(kept)))
