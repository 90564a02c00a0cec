"""Whether a script has a function that can be started is found out from its text, where that is certain."""

from __future__ import annotations

import types

import pytest

from ska_oet_device.procedure.worker._entry_point import check_module, check_text
from ska_oet_device.procedure.worker._functions import ScriptCallError

BINDS = [
    "def main(): pass",
    "async def main(): pass",
    "class main: pass",
    "@decorated\ndef main(): pass",
    "main = observe",
    "main: object = observe",
    "a = main = observe",
    "first, (main, *rest) = functions",
    "import scans as main",
    "import main",
    "import main.part",
    "from scans import main",
    "from scans import observe as main",
    "from scans import *",
    "if late:\n    def main(): pass\nelse:\n    main = 1",
    "try:\n    from scans import main\nexcept ImportError:\n    pass",
    "try:\n    pass\nexcept ValueError as main:\n    pass",
    "for main in functions: pass",
    "with scans() as main: pass",
    "while True:\n    def main(): pass\n    break",
    "print(main := observe)",
    "[main := each for each in functions]",
    "match functions:\n    case [main]: pass",
    "match functions:\n    case {'a': 1, **main}: pass",
    "def init():\n    global main\n    main = observe",
    "def init():\n    def inner():\n        global main\n        main = observe",
    "__all__ = ['observe']",
    "__all__ += ['observe']",
    "exec(text)",
    "builtins.exec(text)",
    "eval('(main := 1)')",
    "globals()['main'] = observe",
    "vars().update(main=observe)",
    "locals()['main'] = observe",
    "import sys\nsetattr(sys.modules[__name__], 'main', observe)",
    "import sys\nsys.modules[__name__].main = observe",
    "import sys\nsys._getframe().f_globals['main'] = observe",
]

BINDS_NOT = [
    "",
    "'''A docstring.'''",
    "track('M31')",
    "import time\nwith Kat() as kat:\n    for t in range(10):\n        kat.track(t)",
    "def track(target): pass\nif __name__ == '__main__':\n    track('M31')",
    "def observe(): pass\nmain()",
    "def observe():\n    def main(): pass\n    main()",
    "def observe():\n    main = 1",
    "class Kat:\n    def main(self): pass\n    main = 1\nKat().main()",
    "app.main = observe",
    "observe(main=1)",
    "lambda main: main",
    "def observe(main): pass",
    "import scans.main",
    "target: {name: M31}",
]


def check(source: str) -> None:
    check_text(source.encode(), compile(source, "script.py", "exec"))


@pytest.mark.parametrize("source", BINDS)
def test_a_text_that_may_bind_main_is_let_run(source):
    check(source)


@pytest.mark.parametrize("source", BINDS_NOT)
def test_a_text_that_certainly_does_not_is_refused(source):
    with pytest.raises(ScriptCallError, match="has no function main: put the observation into a function main"):
        check(source)


def test_a_declared_encoding_is_respected():
    source = "# coding: latin-1\nx = 'ü'\n".encode("latin-1")
    with pytest.raises(ScriptCallError):
        check_text(source, compile(source, "script.py", "exec"))


@pytest.mark.parametrize(
    "names", [{"main": print}, {"main": type}, {"__all__": ["observe"]}, {"main": 1, "__all__": ("observe",)}]
)
def test_a_module_with_something_to_start_is_accepted(names):
    module = types.ModuleType("user_module")
    vars(module).update(names)
    check_module(module)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ({}, "no function main"),
        ({"main": None}, "no function main"),
        ({"main": 3}, r"a main that cannot be called \(int\)"),
        ({"main": (x for x in "")}, r"a main that cannot be called \(generator\)"),
        ({"__all__": []}, "no function main"),
        ({"__all__": "main"}, "no function main"),
    ],
)
def test_a_module_without_is_refused(names, what):
    module = types.ModuleType("user_module")
    vars(module).update(names)
    with pytest.raises(ScriptCallError, match=what):
        check_module(module)
