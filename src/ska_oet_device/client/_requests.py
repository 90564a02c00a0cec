"""What the device is asked, as the contract writes it: nobody who uses a client writes URIs or JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from ._json import plain

_SAFE = "/!$&'()*+,;=:@-._~#?"  # what a path may hold unchanged behind file://


@dataclass(frozen=True)
class GitScript:
    """A script in a git repository.

    :param repo: URL of the repository
    :param path: path of the script in it, with / between its parts
    :param branch: a branch or a tag; with neither this nor a commit the repository's default branch
    :param commit: a commit, 4 to 40 hexadecimal digits
    :param environment: whether it runs in an environment of its own, made from the project's requirements
    """

    repo: str
    path: str
    branch: str | None = None
    commit: str | None = None
    environment: bool = False


Script = str | os.PathLike[str] | GitScript
"""A path, a file:// URI, or a GitScript.

A text without a leading /, ./, ../ or ~ is looked up below the device's ScriptRoots; others, and a pathlib.Path, are
paths of this machine.
"""


@dataclass(frozen=True)
class Arguments:
    """Arguments of a function of a script."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] | None = None

    def as_data(self, function: str) -> dict[str, Any]:
        """Return them as the contract writes them.

        :raises ValueError, TypeError: a value that JSON does not know; names it
        """
        args = [plain(value, f"argument {number} of {function}") for number, value in enumerate(self.args, 1)]
        kwargs = {key: plain(value, f"argument {key} of {function}") for key, value in (self.kwargs or {}).items()}
        return {"args": args, "kwargs": kwargs}


def arguments(*args: Any, **kwargs: Any) -> Arguments:
    """Return arguments for a function: `run("scan.py", 3, init=arguments(dwell=2))`."""
    return Arguments(args, kwargs)


def script_data(script: Script) -> dict[str, Any]:
    """Return a script as the contract writes it.

    :raises ValueError: it is no script that a device could find
    """
    if isinstance(script, GitScript):
        return {
            "script_type": "git",
            "script_uri": f"git://{_quoted(script.path.removeprefix('git://').lstrip('/'))}",
            "git_args": {"git_repo": script.repo, "git_branch": script.branch, "git_commit": script.commit},
            "create_env": script.environment,
        }
    return {"script_type": "filesystem", "script_uri": script_uri(script)}


def script_uri(script: str | os.PathLike[str]) -> str:
    """Return the URI of a script on the file system; a URI stays as it is.

    :raises ValueError: it is empty
    """
    text = os.fsdecode(script)
    if not text:
        raise ValueError("the script has no name")
    if isinstance(script, str):
        if "://" in text:
            return text
        is_here = text.startswith("~") or text.split("/")[0] in (".", "..")
    else:
        is_here = True
    if is_here:
        text = os.path.abspath(os.path.expanduser(text))
    return f"file://{_quoted(text)}"


def script_name(uri: str) -> str:
    """Return what names a script that the device lists: its path below ScriptRoots, else its URI."""
    name = unquote(uri.removeprefix("file://"))
    return name if unquote(script_uri(name)) == unquote(uri) else uri


def _quoted(path: str) -> str:
    return quote(os.fsencode(path), safe=_SAFE)


def prepare_data(script: Script, init: Arguments, user: str | None) -> dict[str, Any]:
    """Return the argument of Prepare."""
    return {"script": script_data(script), "init_args": init.as_data("init"), **_user(user)}


def run_data(script: Script, fn: str, run: Arguments, init: Arguments, user: str | None) -> dict[str, Any]:
    """Return the argument of Run."""
    return {**prepare_data(script, init, user), "fn_name": fn, "run_args": run.as_data(fn)}


def check_data(
    script: Script, fn: str | None, run: Arguments | None, init: Arguments, user: str | None
) -> dict[str, Any]:
    """Return the argument of Check."""
    return {**prepare_data(script, init, user), **given(fn_name=fn, run_args=run and run.as_data(fn or "main"))}


def start_data(uid: int, fn: str, run: Arguments, user: str | None) -> dict[str, Any]:
    """Return the argument of Start: the function is called when the procedure is READY."""
    return {"process_uid": uid, "fn_name": fn, "run_args": run.as_data(fn), "force_start": True, **_user(user)}


def stop_data(uid: int | None, abort: bool | None, reason: str, user: str | None) -> dict[str, Any]:
    """Return the argument of Stop; no id: the procedure that has the turn."""
    return {**given(process_uid=uid), "run_abort": abort, "reason": reason, **_user(user)}


def given(**values: Any) -> dict[str, Any]:
    """Return those values that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def _user(user: str | None) -> dict[str, str]:
    return {} if user is None else {"user": user}
