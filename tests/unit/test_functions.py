"""Which functions of a script may be asked for by name."""

from __future__ import annotations

import sys

import pytest

from ska_oet_device.procedure.worker import _loader as loader
from ska_oet_device.procedure.worker._functions import ScriptCallError, function_of

DECORATORS = """
import functools

def bare(function):
    def wrapper(*args):
        return "decorated", function(*args)
    return wrapper

def polite(function):
    return functools.wraps(function)(bare(function))

class Registered:
    def __init__(self, function):
        self.function = function
    def __call__(self, *args):
        return "registered", self.function(*args)

def returns_anothers(function):
    import os
    return os.system

class Observation:
    def run(self, *args):
        return "run", args

def foreign(*args):
    return "foreign", args
"""

DECORATED = "from oet_test_decorators import bare\n@bare\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "oet_test_decorators.py").write_text(DECORATORS)

    def load(source: str):
        path = tmp_path / "script.py"
        path.write_text(source)
        return loader.module_from_source(str(path), path.read_bytes())

    yield load
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refusal(module, name: str) -> str:
    with pytest.raises(ScriptCallError) as caught:
        function_of(module, name)
    return str(caught.value)


class TestMainAndInit:
    @pytest.mark.parametrize("name", ["main", "init"])
    @pytest.mark.parametrize(
        "source",
        [
            "def {}(*args): return 'foreign', args",
            "from oet_test_decorators import foreign as {}",
            "import functools, oet_test_decorators\n{} = functools.partial(oet_test_decorators.foreign)",
            "import oet_test_decorators\n{} = oet_test_decorators.Registered(lambda *a: a)",
            "import oet_test_decorators\n{} = oet_test_decorators.Observation().run",
            "from oet_test_decorators import Observation as {}",
        ],
    )
    def test_are_whatever_the_script_binds_to_these_names(self, load, name, source):
        module = load(source.format(name))
        assert function_of(module, name) == vars(module)[name]

    def test_are_no_others(self, load):
        assert "'main'" in refusal(load("main = 3"), "main")
        assert "'init'" in refusal(load("def __getattr__(name): return print\ndef main(): pass"), "init")


class TestOtherNames:
    @pytest.mark.parametrize(
        "source",
        [
            "def f(*args): return args",
            "async def f(*args): return args",
            "f = lambda *args: args",
            "if True:\n    def f(*args): return args",
            "def g():\n    global f\n    def f(*args): return args\ng()",
            "def g(*args): return args\nf = g",
            "try:\n    from oet_test_none import f\nexcept ImportError:\n    def f(*args): return args",
            "class Scan:\n    def run(self, *args): return args\nf = Scan().run",
            "import functools\ndef g(*args): return args\nf = functools.partial(g, 1)",
            "import functools\n@functools.lru_cache\ndef f(*args): return args",
            "import contextlib\n@contextlib.contextmanager\ndef f(*args): yield args",
            "from oet_test_decorators import polite\n@polite\ndef f(*args): return args",
            DECORATED + "def f(*args): return args",
            "from oet_test_decorators import *\n@bare\ndef f(*args): return args",
            "from oet_test_decorators import Registered\n@Registered\ndef f(*args): return args",
            "from oet_test_decorators import bare, Registered\n@bare\n@Registered\ndef f(*args): return args",
            "from oet_test_decorators import foreign as f\n__all__ = ['f']",
            "from oet_test_decorators import Observation as f\n__all__ = ('main', 'f')",
        ],
    )
    def test_count_if_the_script_defines_them_or_lists_them(self, load, source):
        module = load(source)
        assert function_of(module, "f") == module.f
        assert "it defines:" in refusal(module, "nothing")
        assert "f" in refusal(module, "nothing").rpartition(": ")[2].split(", ")

    @pytest.mark.parametrize(
        "source",
        [
            "from os import system as f",
            "from oet_test_decorators import foreign as f",
            "from oet_test_decorators import *\nf = foreign",
            "import oet_test_decorators as f",
            "from builtins import exec as f",
            "f = print",
            "f = __import__",
            "import subprocess\nclass f(subprocess.Popen): pass",
            "from oet_test_decorators import Observation as f",
            "from oet_test_decorators import Observation\nf = Observation()",
            "from oet_test_decorators import Observation\nf = Observation().run",
            "import functools, os\nf = functools.partial(os.system)",
            "import functools, os\n@functools.wraps(os.system)\ndef g(): pass\nf = g.__wrapped__",
            "from os import system\nf = system\n__all__ = 'fsystem'",
            "from os import system as f\n__all__ = [system for system in ()]",
            "def f(): pass\nfrom os import system as f",
            DECORATED + "def f(): pass\nfrom os import system as f",
            DECORATED + "def f(): pass\nimport os\nf = os.system",
            DECORATED + "def g(): pass\nif 0:\n    @bare\n    def f(): pass\nelse:\n    from os import system as f",
            DECORATED + "def f(): pass\nfor f in [print]: pass",
            DECORATED + "def f(): pass\ndef g():\n    global f\n    from os import system as f\ng()",
            DECORATED + "def foreign(): pass\nfrom oet_test_decorators import *\nf = foreign",
            DECORATED + "def f(): pass\nimport os\nglobals()['f'] = os.system",
            "from oet_test_decorators import returns_anothers\n@returns_anothers\ndef f(): pass",
            "class Scan:\n    def f(self): pass",
            "def main():\n    def f(): pass",
        ],
    )
    def test_do_not_count_otherwise(self, load, source):
        module = load(source)
        assert f"the script defines no function 'f'; it defines: {'main' if 'main' in source else ''}" in refusal(
            module, "f"
        )

    @pytest.mark.parametrize(
        "name",
        ["nothing", "value", "join", "os.system", "os", "main.__call__", "exec", "eval", "__import__", "__builtins__",
         "print", "__doc__", "__init__", "__setattr__", "__class__", "__loader__", "__spec__", "__annotate__",
         "__getattr__", "", "ｍain", "main\n", "main()"],
    )  # fmt: skip
    def test_none_is_made_of_expressions_builtins_or_what_modules_have(self, load, name):
        module = load("import os\nfrom os.path import join\nvalue: int = 3\ndef main(): pass\ndef init(): pass\n")
        assert refusal(module, name).startswith(f"the script defines no function {name!r}; it defines: init, main")

    def test_what_is_imported_is_said_to_be_no_function_of_its_own(self, load):
        text = refusal(load("from os import system\ndef main(): pass"), "system")
        assert text == (
            "the script defines no function 'system'; it defines: main; "
            "system is no function of its own, and not in its __all__"
        )

    def test_none_is_said_where_there_is_none(self, load):
        assert refusal(load(""), "main").endswith("it defines: none")

    def test_a_long_name_is_shortened(self, load):
        assert len(refusal(load(""), "x" * 1_000_000)) < 300

    def test_objects_of_the_script_are_not_asked_for_attributes(self, load):
        source = (
            "class Device:\n"
            "    def __getattr__(self, name): raise SystemExit(name)\n"
            "    def __call__(self): pass\n"
            "device = Device()\n"
            "globals()[3] = device\n"
        )
        assert refusal(load(source), "device").startswith("the script defines no function 'device'; it defines: none")
