"""Scripts and the arguments they are given: plain frozen data.

These cross pipes as dictionaries of plain data (`as_data`, `script_from_data`), and are checked
by pydantic where they enter the program as JSON (`ska_oet_device.procedure.ui`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar
from urllib.parse import unquote

from ..errors import brief
from .gitmanager import GitArgs

LARGEST_SCRIPT = 10 * 1024 * 1024
"""Bytes that the file of a script may have."""

_NO_REPOSITORY = GitArgs("")
_LOOKS = 3


class ProcedureInput:
    """The arguments passed to a function of a script.

    Two inputs add up: positional arguments in order, keyword arguments with the right-hand ones
    winning.
    """

    __slots__ = ("args", "kwargs")

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs

    def __add__(self, other: object) -> ProcedureInput:
        if not isinstance(other, ProcedureInput):
            return NotImplemented
        return ProcedureInput(*self.args, *other.args, **{**self.kwargs, **other.kwargs})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProcedureInput):
            return NotImplemented
        return self.args == other.args and self.kwargs == other.kwargs

    __hash__ = None  # type: ignore[assignment]  # holds a dictionary

    def __repr__(self) -> str:
        shown = [repr(arg) for arg in self.args] + [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"ProcedureInput({', '.join(shown)})"

    def as_data(self) -> dict[str, Any]:
        return {"args": list(self.args), "kwargs": self.kwargs}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> ProcedureInput:
        return cls(*data["args"], **data["kwargs"])


@dataclass(frozen=True)
class ExecutableScript:
    """Base class for all executable scripts: something that can be found under a URI."""

    script_type: ClassVar[str]
    prefix: ClassVar[str]

    script_uri: str

    def __post_init__(self) -> None:
        prefix = getattr(self, "prefix", None)
        if prefix is None:
            raise TypeError("ExecutableScript is abstract: use FileSystemScript or GitScript")
        if not self.script_uri.startswith(prefix) or len(self.script_uri) == len(prefix):
            raise ValueError(f"script_uri {brief(self.script_uri)!r} must start with {prefix} and name a file")

    def as_data(self) -> dict[str, Any]:
        return {"script_type": self.script_type, "script_uri": self.script_uri}


@dataclass(frozen=True)
class FileSystemScript(ExecutableScript):
    """A script stored on the file system, such as file:///scripts/hello.py.

    Without the third slash the name is looked up below the ScriptRoots of the device.
    """

    script_type: ClassVar[str] = "filesystem"
    prefix: ClassVar[str] = "file://"

    @property
    def path(self) -> str:
        """The path that the URI names, percent-encoding undone."""
        return unquote(self.script_uri[len(self.prefix) :])


@dataclass(frozen=True)
class GitScript(ExecutableScript):
    """A script in a git repository, such as git://scripts/observe.py, the path being the repository's.

    With `create_env` it runs in a Python environment of its own.
    """

    script_type: ClassVar[str] = "git"
    prefix: ClassVar[str] = "git://"

    git_args: GitArgs = _NO_REPOSITORY
    create_env: bool = False

    def as_data(self) -> dict[str, Any]:
        return {**super().as_data(), "git_args": self.git_args.as_data(), "create_env": self.create_env}


def script_from_data(data: dict[str, Any]) -> ExecutableScript:
    """Return the script that `as_data` described.

    :raises ValueError: an unknown script_type, or a URI that does not fit it
    """
    if data["script_type"] == FileSystemScript.script_type:
        return FileSystemScript(data["script_uri"])
    if data["script_type"] == GitScript.script_type:
        return GitScript(data["script_uri"], GitArgs(**data["git_args"]), data["create_env"])
    raise ValueError(f"script_type {data['script_type']!r} is not known")


class ScriptMovedError(PermissionError):
    """What stands where a script was found is not that script any more: it leads elsewhere."""


def open_script(path: str) -> BinaryIO:
    """Open the file of a script, and see that it is the one: a link laid since `path` was resolved leads elsewhere.

    What counts is the file that has been opened, for the name may be another file's by now.  Waits for no FIFO.

    :param path: the real path, as it was when the script was looked for
    :raises ScriptMovedError: it leads elsewhere, or to what is no regular file
    :raises OSError: it cannot be opened
    """
    for _ in range(_LOOKS):  # a file that is being replaced was another one a moment ago
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        there = os.readlink(f"/proc/self/fd/{descriptor}")
        if there == path and stat.S_ISREG(os.fstat(descriptor).st_mode):
            return open(descriptor, "rb")
        os.close(descriptor)
        if there != f"{path} (deleted)":
            break
    raise ScriptMovedError(f"{path} is not where it was: it leads to {'no file' if there == path else there}")


def read_script(path: str) -> bytes:
    """Return the source of a script; raises as `open_script`, or OSError if it has more than `LARGEST_SCRIPT` bytes."""
    with open_script(path) as file:
        source = file.read(LARGEST_SCRIPT + 1)
    if len(source) > LARGEST_SCRIPT:
        raise OSError(f"{path} has more than {LARGEST_SCRIPT} bytes")
    return source
