"""Loading a script, calling its functions, and telling what went wrong in the user's terms.

Runs in the main thread of a worker.
"""

from __future__ import annotations

import hashlib
import inspect
import linecache
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from ...errors import OetError
from ..script import ExecutableScript, FileSystemScript, GitScript, ProcedureInput
from ._fetch import fetch

MODULE_NAME = "user_module"
_LONGEST_TRACE = 64 * 1024
_NOT_THE_USERS = (
    str(Path(__file__).parent),
    os.path.join(os.path.dirname(inspect.__file__), "asyncio"),
    "<frozen importlib",
)


class ScriptCallError(Exception):
    """A function cannot be called as asked; raised before any of its code runs."""


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


def module_from_source(path: str, source: bytes) -> ModuleType:
    """Run `source` as the module of the script at `path`; its folder comes first on sys.path."""
    module = ModuleType(MODULE_NAME)
    module.__file__ = path
    sys.modules[MODULE_NAME] = module  # pickle and dataclasses look a class's module up there
    sys.path.insert(0, os.path.dirname(path))
    code = compile(source, path, "exec", dont_inherit=True)
    # Without a time, linecache keeps these lines: a traceback shows the code that ran, also after an edit.
    text = source.decode("utf-8", "replace")
    linecache.cache[path] = (len(source), None, text.splitlines(keepends=True), path)
    exec(code, module.__dict__)
    return module


def function_of(module: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function of the script.

    :raises ScriptCallError: there is none of this name; the message lists those there are
    """
    function = vars(module).get(name)  # not what every module has, such as __init__
    if callable(function):
        return function  # type: ignore[no-any-return]
    defined = sorted(
        key for key, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == MODULE_NAME
    )
    raise ScriptCallError(f"the script defines no function {name!r}; it defines: {', '.join(defined) or 'none'}")


def bind(function: Callable[..., Any], given: ProcedureInput, context: dict[str, Any]) -> Callable[[], Any]:
    """Return a call of `function` with the given arguments, and the context where it is accepted.

    :raises ScriptCallError: the arguments do not fit; the message shows the signature
    """
    name = getattr(function, "__name__", repr(function))
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built-in functions may have none
        return lambda: function(*given.args, **given.kwargs)
    kwargs = dict(given.kwargs)
    if "context" not in kwargs and _accepts_context(signature):
        kwargs["context"] = context
        try:
            signature.bind(*given.args, **kwargs)
        except TypeError:  # perhaps a positional argument fills it already
            kwargs = dict(given.kwargs)
    try:
        bound = signature.bind(*given.args, **kwargs)
    except TypeError as error:
        raise ScriptCallError(f"the arguments do not fit {name}{signature}: {error}") from None
    return lambda: function(*bound.args, **bound.kwargs)


def _accepts_context(signature: inspect.Signature) -> bool:
    named = signature.parameters.get("context")
    if named is not None:
        return named.kind in (named.POSITIONAL_OR_KEYWORD, named.KEYWORD_ONLY, named.VAR_KEYWORD)
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def call(function: Callable[[], Any]) -> None:
    """Call a bound function; one that is a coroutine is run to its end in an event loop of its own."""
    result = function()
    if inspect.iscoroutine(result):
        import asyncio  # large, and most scripts do without

        asyncio.run(result)


def exit_status(error: SystemExit) -> int:
    """Return the status that Python itself would exit with."""
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def reason_of(error: BaseException) -> str:
    """Return one line that says what was raised, such as ``ValueError: no such receiver``."""
    if isinstance(error, (ScriptCallError, OetError)):
        return str(error).splitlines()[0][:1000]
    try:
        text = str(error)
    except BaseException:  # a foreign __str__ may raise anything
        text = "(its text cannot be shown)"
    name = type(error).__qualname__
    first = text.strip().splitlines()[0][:1000] if text.strip() else ""
    return f"{name}: {first}" if first else name


def trace_of(error: BaseException) -> str | None:
    """Return the traceback with the user's frames only; None where no user code was running."""
    if isinstance(error, OetError):  # no code of the user has run; what a build printed may say more
        return str(error) if "\n" in str(error) else None
    if isinstance(error, ScriptCallError):
        return None
    users = _first_user_frame(error.__traceback__)
    try:
        text = "".join(traceback.format_exception(type(error), error, users))
    except BaseException:  # formatting runs foreign __str__ and __repr__
        text = reason_of(error)
    if len(text) > _LONGEST_TRACE:
        half = _LONGEST_TRACE // 2
        text = f"{text[:half]}\n  [{len(text) - 2 * half} characters left out]\n{text[-half:]}"
    return text


def _first_user_frame(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frames = frames.tb_next
    return frames
