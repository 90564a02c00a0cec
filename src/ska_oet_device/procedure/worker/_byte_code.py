"""Importing a checkout's modules from their sources alone.  Worker, and whoever loads a script of git.

Python takes byte code for its source's where time and size of the source are written in it: whoever can write a file
can have anything run in its place.  Packages of an environment keep theirs, which save a second and more.
"""

from __future__ import annotations

import _frozen_importlib_external
import os
from functools import cache
from typing import Any

# What Python's loaders ask where the byte code of a source is; a NotImplementedError means that none is kept.
# No path hook of ours does as much: importlib.util.spec_from_file_location asks none.
_loaders: Any = _frozen_importlib_external

_roots: set[str] = set()
_where_python_keeps_it = _loaders.cache_from_source


def import_from_source(root: str) -> None:
    """Have this process neither read nor write byte code of modules below a folder, until it ends.

    Programs that it starts find no byte code there, unless somebody puts it there meanwhile, and write none.
    """
    _roots.update((os.path.abspath(root), os.path.realpath(root)))
    _is_below.cache_clear()
    _loaders.cache_from_source = _where_byte_code_is
    if os.access(root, os.W_OK):  # by root, for whom nothing is read-only
        os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")


def _where_byte_code_is(path: str, *args: object, **kwargs: object) -> str:
    if _is_below(os.path.dirname(os.path.abspath(path))):
        raise NotImplementedError(f"no byte code is kept of {path}")
    return str(_where_python_keeps_it(path, *args, **kwargs))


@cache
def _is_below(folder: str) -> bool:
    return any(f"{name}/".startswith(f"{root}/") for root in _roots for name in (folder, os.path.realpath(folder)))
