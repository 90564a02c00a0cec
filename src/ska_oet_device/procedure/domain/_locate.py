"""Where a script on the file system is, and whether it may be run.  Runs in the device server."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from ...errors import InvalidArgumentError, NotAllowedError, ScriptNotFoundError
from ..script import FileSystemScript

LARGEST_SCRIPT = 10 * 1024 * 1024
_CHECKED_AT_ONCE = 64 * 1024  # bytes; compiling more than this may take longer than a command may


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    return any(root in path.parents for root in roots)


def locate(script: FileSystemScript, roots: Sequence[str]) -> Path:
    """Return the script's real path.

    An absolute path must lie below one of `roots`, a relative one is looked up below each of
    them in order.  What counts is where ``..`` and symbolic links lead to.

    :raises ScriptNotFoundError: nothing there, or not a readable file
    :raises NotAllowedError: it lies outside the roots
    :raises InvalidArgumentError: no possible file name, or an unreasonably large file
    """
    name = script.path
    if "\0" in name:
        raise InvalidArgumentError(f"script_uri {script.script_uri!r} holds a NUL character")
    real_roots = [Path(os.path.realpath(root)) for root in roots]
    candidates = [Path(name)] if os.path.isabs(name) else [root / name for root in real_roots]
    outside = False
    for candidate in candidates:
        real = Path(os.path.realpath(candidate))
        if not _is_below(real, real_roots):
            outside = True
        elif _is_script(real, script.script_uri):
            return real
    shown = ", ".join(str(root) for root in real_roots) or "(none)"
    if outside:
        raise NotAllowedError(f"{script.script_uri} leads outside ScriptRoots ({shown})")
    raise ScriptNotFoundError(f"no file for {script.script_uri}; ScriptRoots: {shown}")


def _is_script(path: Path, uri: str) -> bool:
    try:
        if not path.is_file():
            return False
        size = path.stat().st_size
    except OSError:  # a name too long, a folder that may not be entered: nothing there for us
        return False
    if not os.access(path, os.R_OK):
        raise ScriptNotFoundError(f"{uri} cannot be read: {path} allows it to others only")
    if size > LARGEST_SCRIPT:
        raise InvalidArgumentError(f"{uri} has {size} bytes; a script may have {LARGEST_SCRIPT}")
    return True


def check_syntax(path: Path) -> None:
    """Compile a script without running it, if that is quick; a large one is left to the worker.

    :raises InvalidArgumentError: it is not Python; says where
    """
    try:
        found = path.stat()
        if found.st_size <= _CHECKED_AT_ONCE:
            _compile(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    except SyntaxError as error:
        raise InvalidArgumentError(f"{path} line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidArgumentError(f"{path} cannot be compiled: {error}") from error
    except OSError as error:
        raise ScriptNotFoundError(f"{path} cannot be read: {error.strerror}") from error


@functools.lru_cache(maxsize=256)
def _compile(path: Path, *version: int) -> None:
    """Compile a script; one that has not changed since it compiled is not compiled again."""
    compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
