"""The script of a procedure, for a process that one of its own has started afresh and that imports it by its name.

multiprocessing's spawn and forkserver, loky and whoever else starts an interpreter hand it `sys.path`, and name what a
function or a class is in.  The worker has the script in `sys.modules`; such a process comes here.  It has the text that
the worker has loaded, whatever has become of the file.

Whoever imports this has nothing of this program: the standard library alone is used.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_VARIABLE = "SKA_OET_SCRIPT_SOURCE"


def _load() -> None:
    """Run the script as the module that is being imported; `main` is not called."""
    digest, _, places = os.environ.get(_VARIABLE, "").partition(" ")
    kept, _, path = places.partition(" ")
    if not path:
        raise ImportError(f"no script can be imported: the environment has no variable {_VARIABLE}", name=__name__)
    source = _source(digest, kept, path)
    module = ModuleType(__name__)
    module.__file__ = path
    sys.modules[__name__] = module  # which is what the import returns then
    code = compile(source, path, "exec", dont_inherit=True)
    text = source.decode("utf-8", "replace")
    linecache.cache[path] = (len(source), None, text.splitlines(keepends=True), path)
    with _no_new_processes():
        exec(code, module.__dict__)


def _source(digest: str, *paths: str) -> bytes:
    """Return the text that the worker has loaded: what it keeps, else the file, if that is still the same."""
    for path in paths:
        try:
            with open(path, "rb") as file:
                source = file.read()
        except OSError:
            continue
        if hashlib.sha256(source).hexdigest() == digest:
            return source
    raise ImportError(f"{paths[-1]} is not what it was when its procedure loaded it", name=__name__, path=paths[-1])


@contextmanager
def _no_new_processes() -> Iterator[None]:
    """Have multiprocessing refuse to start processes, and say why, while the script's top level runs in a child.

    As it does for a main module: each child would start as many again, without end.
    """
    multiprocessing = sys.modules.get("multiprocessing.process")
    process = multiprocessing.current_process() if multiprocessing is not None else None
    if process is None or hasattr(process, "_inheriting"):
        yield
        return
    process._inheriting = True
    try:
        yield
    finally:
        del process._inheriting


_load()
