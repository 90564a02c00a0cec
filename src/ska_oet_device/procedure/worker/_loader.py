"""Loading a script, and calling its functions.

Runs in the main thread of a worker.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ...errors import InvalidArgumentError
from ..file_kinds import foreign_kind
from ..script import ExecutableScript, FileSystemScript, GitScript
from ._entry_point import check_text
from ._fetch import fetch

MODULE_NAME = "user_module"


class ModuleFactory:
    """Returns Python modules for scripts."""

    @staticmethod
    def get_module(script: ExecutableScript) -> ModuleType:
        """Load Python code from storage, returning an executable Python module.

        A script from git is checked out where a worker would have it, and runs in this very interpreter.

        :raises OSError: the file cannot be read
        :raises GitError: the repository, commit or file cannot be had
        :raises BaseException: whatever the script's own code raises
        """
        if isinstance(script, GitScript):
            path = fetch(script)
        elif isinstance(script, FileSystemScript):
            path = script.path
        else:
            raise NotImplementedError(f"scripts of type {script.script_type} cannot be loaded")
        return module_from_source(path, Path(path).read_bytes())


def provenance_of(path: str, source: bytes) -> dict[str, Any]:
    """Return what was read: the contract's `provenance`."""
    digest = hashlib.sha256(source).hexdigest()
    return {"path": path, "sha256": digest, "git_commit": None, "environment": None}


def compiled(path: str, source: bytes) -> CodeType:
    """Return what Python makes of the text of the script at `path`.

    :raises InvalidArgumentError: it is no Python, but a notebook or the like
    :raises SyntaxError: it is no Python; ValueError, RecursionError and MemoryError say so, too
    """
    if kind := foreign_kind(path, source):
        raise InvalidArgumentError(f"{path} {kind}")
    return compile(source, path, "exec", dont_inherit=True)


def module_from_source(path: str, source: bytes, *, has_main: bool = False) -> ModuleType:
    """Run `source` as the module of the script at `path`; its folder comes first on sys.path.

    :param has_main: nothing of it runs where its text shows that it has no `main`
    :raises InvalidArgumentError: it is no Python, but a notebook or the like
    :raises ScriptCallError: it has no `main`
    """
    code = compiled(path, source)
    module = ModuleType(MODULE_NAME)
    module.__file__ = path
    sys.modules[MODULE_NAME] = module  # pickle and dataclasses look a class's module up there
    sys.path.insert(0, os.path.dirname(path))
    if has_main:
        check_text(source, code)
    # Without a time, linecache keeps these lines: a traceback shows the code that ran, also after an edit.
    text = source.decode("utf-8", "replace")
    linecache.cache[path] = (len(source), None, text.splitlines(keepends=True), path)
    exec(code, module.__dict__)
    return module


def exit_status(error: SystemExit) -> int:
    """Return the status that Python itself would exit with."""
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
