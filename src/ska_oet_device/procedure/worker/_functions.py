"""Which functions of a script a client may ask for: the script's own, and no code that it merely imports.

A client chooses a function by its name and gives the arguments.  `from os import system` in a script
must not make that a shell for everybody who may start the script.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

_OFTEN_ELSEWHERE = ("main", "init")
"""Names that are asked for without a client's choosing them: whatever the script binds to them is meant."""

_LONGEST_NAME = 100  # characters shown
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*DEFINITIONS, ast.ClassDef, ast.Lambda)


class ScriptCallError(Exception):
    """A function cannot be called as asked; raised before any of its code runs."""


def function_of(module: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function of the script that may be called by its name.

    ``main`` and ``init`` are whatever callable the script binds to these names.  Any other name counts if

    - its code is the script's: a function or lambda of the script, also wrapped as `functools.wraps` does, as a
      bound method or a `functools.partial`;
    - or the script's top level binds it by a decorated ``def`` and by nothing else, whatever the decorator returns;
    - or it is in the list or tuple ``__all__`` of the script.

    A class is no function: it may have the constructor of a class from elsewhere, such as that of subprocess.Popen.

    :raises ScriptCallError: there is none of this name; the message lists those there are
    """
    if _may_be_called(module, name):
        return vars(module)[name]  # type: ignore[no-any-return]
    there = ", ".join(sorted(names_of(module))) or "none"
    hint = ""
    if callable(vars(module).get(name)):
        hint = f"; {name[:_LONGEST_NAME]} is no function of its own, and not in its __all__"
    raise ScriptCallError(f"the script defines no function {name[:_LONGEST_NAME]!r}; it defines: {there}{hint}")


def names_of(module: ModuleType) -> list[str]:
    """Return the names of the functions of a script that may be called, in the order in which it binds them."""
    return [key for key in filter(_is_text, vars(module)) if _may_be_called(module, key)]


def _is_text(key: object) -> bool:
    return isinstance(key, str)  # a script may put anything into its globals()


def _may_be_called(module: ModuleType, name: str) -> bool:
    value = vars(module).get(name)  # not what every module has, such as __init__
    if not callable(value):
        return False
    if name in _OFTEN_ELSEWHERE or name in exported_by(module):
        return True
    if inspect.isclass(value) or (name.startswith("__") and name.endswith("__")):  # __annotate__ is Python's
        return False
    return _is_code_of(module, value) or (name in _decorated_in(module) and not _is_anothers(value))


def exported_by(module: ModuleType) -> tuple[Any, ...]:
    """Return the names that a script lists in ``__all__``."""
    names = vars(module).get("__all__")
    return tuple(names) if isinstance(names, list | tuple) else ()


def _is_code_of(module: ModuleType, value: Any) -> bool:
    """Tell whether calling `value` leads to code that was compiled for the script, however it is wrapped."""
    for _ in range(100):  # a chain of wrappers may be a ring
        if isinstance(value, FunctionType) and value.__globals__ is vars(module):
            return True
        if isinstance(value, MethodType):
            value = value.__func__
        elif isinstance(value, functools.partial):
            value = value.func
        else:
            # Not getattr: of a DeviceProxy that would be a request to a device.
            value = inspect.getattr_static(value, "__wrapped__", None)
    return False


def _is_anothers(value: Any) -> bool:
    """Tell whether another module has `value` under the name that it bears: then no decorator has made it."""
    if not isinstance(value, FunctionType | BuiltinFunctionType):
        return False
    home = sys.modules.get(value.__module__ or "")
    return home is not None and vars(home).get(value.__name__) is value


@functools.lru_cache(maxsize=1)
def _decorated_in(module: ModuleType) -> frozenset[str]:
    """Return the names that the script's top level binds by decorated functions, and by nothing else."""
    try:
        tree = ast.parse("".join(linecache.getlines(str(module.__file__))))
    except (
        SyntaxError,
        ValueError,
        RecursionError,
    ):  # its text is not what Python has read, such as another encoding's
        return frozenset()
    decorated: set[str] = set()
    others = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    for node in top_level(tree):
        if isinstance(node, DEFINITIONS):
            decorated |= {node.name} if node.decorator_list else set()
        elif isinstance(node, ast.ClassDef):
            others.add(node.name)
        elif isinstance(node, ast.alias):
            if node.name == "*":  # may have bound whatever was defined above it
                others |= decorated
            others.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            others.add(node.id)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            others.add(node.name)
    return frozenset(decorated - others)


def top_level(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs in the module's own scope, in the order of the text; also below if, try, with and loops."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _SCOPES):
            yield from top_level(child)


def forget_functions() -> None:
    """Hold no script any more."""
    _decorated_in.cache_clear()
