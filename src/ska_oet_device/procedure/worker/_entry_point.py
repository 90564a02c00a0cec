"""Whether a script has a function that can be started.  Runs in the main thread of a worker.

One whose observation stands at its top level would drive the telescope when it is prepared, and be found out when it
is started: so it is refused before any of its lines runs, where its text alone shows what it is.
"""

from __future__ import annotations

import ast
from types import CodeType, ModuleType

from ._functions import DEFINITIONS, ScriptCallError, exported_by, top_level

_ENTRY_POINTS = frozenset(("main", "__all__"))
_MAY_BIND_ANYTHING = frozenset(
    ("exec", "eval", "globals", "locals", "vars", "setattr", "__setattr__", "__dict__", "modules", "f_globals")
)
_WHAT_TO_DO = (
    "put the observation into a function main, whose lines run when it is started and not when the script is prepared"
)


def check_text(source: bytes, code: CodeType) -> None:
    """See that the text of a script binds `main`, or the list of what can be started, as far as that is certain.

    :param code: what Python has made of it
    :raises ScriptCallError: it certainly does not; the message says what to do
    """
    if any(isinstance(each, CodeType) and each.co_name == "main" for each in code.co_consts):
        return  # as nearly every script: nothing need be parsed
    if not _may_bind(ast.parse(source)):
        raise ScriptCallError(f"the script has no function main: {_WHAT_TO_DO}")


def check_module(module: ModuleType) -> None:
    """See that a script that was loaded, and whose `init` has returned, can be started.

    :raises ScriptCallError: it has neither a `main` that can be called nor names in `__all__`
    """
    main = vars(module).get("main")
    if callable(main) or exported_by(module):
        return
    found = "no function main" if main is None else f"a main that cannot be called ({type(main).__name__})"
    raise ScriptCallError(f"the script has {found}: {_WHAT_TO_DO}")


def _may_bind(tree: ast.Module) -> bool:
    names = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id if node.id in _MAY_BIND_ANYTHING else "")
        elif isinstance(node, ast.Attribute):
            names.add(node.attr if node.attr in _MAY_BIND_ANYTHING else "")
    if not names.isdisjoint(_ENTRY_POINTS | _MAY_BIND_ANYTHING):
        return True
    return any(_binds(node) for node in top_level(tree))


def _binds(node: ast.AST) -> bool:
    if isinstance(node, (*DEFINITIONS, ast.ClassDef)):
        return node.name in _ENTRY_POINTS
    if isinstance(node, ast.alias):
        return node.name == "*" or (node.asname or node.name.partition(".")[0]) in _ENTRY_POINTS
    if isinstance(node, ast.Name):
        return isinstance(node.ctx, ast.Store) and node.id in _ENTRY_POINTS
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return node.name in _ENTRY_POINTS
    return isinstance(node, ast.MatchMapping) and node.rest in _ENTRY_POINTS
