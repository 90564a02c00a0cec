"""Where a script on the file system is, and whether it may be run.  Runs in the device server."""

from __future__ import annotations

import itertools
import os
import symtable
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...config import LONGEST_PATH
from ...errors import InvalidArgumentError, NotAllowedError, ScriptNotFoundError, brief
from ..file_kinds import foreign_kind
from ..script import LARGEST_SCRIPT, FileSystemScript, ScriptMovedError, open_script

_LONGEST_NAME = 255  # bytes, as NAME_MAX has it
_LONGEST_URI = len(FileSystemScript.prefix) + 3 * LONGEST_PATH  # characters; percent-encoding makes three of a byte
_CHECKED_AT_ONCE = 32 * 1024  # bytes; reading more than this may take longer than a command may
_MOST_BRACES = 1000  # an f-string is searched from its beginning for each of its expressions
_MOST_REMEMBERED = 256


def locate(script: FileSystemScript, roots: Sequence[str]) -> Path:
    """Return the script's real path.

    An absolute path must lie below one of `roots`, a relative one is looked up below each of
    them in order.  What counts is where ``..`` and symbolic links lead to.  No more roots are asked for than it
    takes: the file system of another may hang.

    :raises ScriptNotFoundError: nothing there, or not a readable file
    :raises NotAllowedError: it lies outside the roots
    :raises InvalidArgumentError: no possible file name, or an unreasonably large file
    """
    uri = brief(script.script_uri)
    name = script.path if len(script.script_uri) <= _LONGEST_URI else ""
    if "\0" in name:
        raise InvalidArgumentError(f"script_uri {uri!r} holds a NUL character")
    if not can_exist(name):  # asked for the real path of such a name, the library needs seconds
        raise ScriptNotFoundError(
            f"no file can be {uri}: a path has at most {LONGEST_PATH} bytes, and a name in it {_LONGEST_NAME}"
        )
    likely = sorted(roots, key=lambda root: not is_below(name, root))  # false comes first, else the order stays
    real_roots = _RealRoots(likely if os.path.isabs(name) else roots)
    outside = False
    for candidate in [name] if os.path.isabs(name) else (os.path.join(root, name) for root in real_roots):
        real = real_path(candidate)
        if real and not any(is_below(real, root) for root in real_roots):
            outside = True
        elif real and _is_script(Path(real), uri):
            return Path(real)
    shown = ", ".join(real_roots) or "(none)"
    if outside:
        raise NotAllowedError(f"{uri} leads outside ScriptRoots ({shown})")
    raise ScriptNotFoundError(f"no file for {uri}{_decoded(script)}; ScriptRoots: {shown}")


def _decoded(script: FileSystemScript) -> str:
    """Return what to say of a URI that is percent-encoded, or is by mistake."""
    if "%" not in script.script_uri:
        return ""
    literally = brief(script.script_uri.replace("%", "%25"))
    return f", which is {brief(script.path)} (a name with a % in it is written with %25: {literally})"


def can_exist(name: str) -> bool:
    """Say whether a file system can have such a path, by its length alone."""
    data = name.encode("utf-8", "surrogatepass")
    return 0 < len(data) <= LONGEST_PATH and all(len(part) <= _LONGEST_NAME for part in data.split(b"/"))


def real_path(path: str) -> str:
    """Return where links lead to; "" if that is nowhere."""
    try:
        return os.path.realpath(path)
    except OSError:  # a link that is no link any more
        return ""


class _RealRoots:
    """The real paths of roots, each found out when it is needed first."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._left = list(roots)
        self._known: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for number in itertools.count():
            while number >= len(self._known):
                if not self._left:
                    return
                real = real_path(self._left.pop(0))
                self._known.extend([real] if real else [])
            yield self._known[number]


def is_below(path: str, root: str) -> bool:
    """Say whether a real path lies below a real folder."""
    return path != root and path.startswith(f"{root.rstrip('/')}/")


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


_accepted: dict[tuple[object, ...], None] = {}
"""The versions of scripts that were found to be Python: they need not be read again."""


def check_syntax(path: Path) -> None:
    """See that a script is Python, if that is quick; of a large one its beginning alone is looked at.

    What is left, the worker finds out.

    It is parsed, and not compiled: that of a thousand bytes can take as many seconds as one likes (``finally`` in
    ``finally``), and nothing else runs in this process meanwhile.

    :raises InvalidArgumentError: it is not Python; says where, or what it is
    :raises ScriptNotFoundError: it cannot be read any more
    :raises NotAllowedError: it leads elsewhere since it was located
    """
    try:
        with open_script(str(path)) as file:
            found = os.fstat(file.fileno())
            version = path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            if version in _accepted:
                return
            source = file.read(_CHECKED_AT_ONCE + 1)
        is_whole = len(source) <= _CHECKED_AT_ONCE
        if kind := foreign_kind(path.name, source, whole=is_whole):
            raise InvalidArgumentError(f"{path} {kind}")
        if is_whole and source.count(b"{") <= _MOST_BRACES:
            symtable.symtable(source, str(path), "exec")  # type: ignore[arg-type]  # bytes: an encoding may be declared
    except SyntaxError as error:
        raise InvalidArgumentError(f"{path} line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidArgumentError(f"{path} cannot be compiled: {error}") from error
    except ScriptMovedError as error:
        raise NotAllowedError(str(error)) from error
    except OSError as error:
        raise ScriptNotFoundError(f"{path} cannot be read: {error.strerror}") from error
    if len(_accepted) >= _MOST_REMEMBERED:
        _accepted.clear()
    _accepted[version] = None
