"""Loading a script, calling its functions, and telling what went wrong in the user's terms."""

from __future__ import annotations

import hashlib
import linecache
import sys

import pytest
from support.git_server import Upstream

from ska_oet_device.errors import InvalidArgumentError
from ska_oet_device.files import remove_tree
from ska_oet_device.procedure.domain import FileSystemScript, GitArgs, GitScript, ModuleFactory, ProcedureInput
from ska_oet_device.procedure.worker import _loader as loader

CONTEXT = {"wait_for_qa_ready": True}


@pytest.fixture(autouse=True)
def _own_modules():
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def load(tmp_path):
    def load(source: str, name: str = "script.py"):
        path = tmp_path / name
        path.write_text(source)
        return loader.module_from_source(str(path), path.read_bytes())

    return load


def raised_by(function, *args) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        while error.__traceback__ is not None and error.__traceback__.tb_frame.f_code.co_filename == __file__:
            error.__traceback__ = error.__traceback__.tb_next  # the worker has no frames of a test
        return error
    raise AssertionError("nothing was raised")


class TestLoading:
    def test_runs_the_file_as_a_module_that_knows_where_it_is(self, load, tmp_path):
        module = load("x = __file__, __name__")
        assert module.x == (str(tmp_path / "script.py"), "user_module")

    def test_a_script_imports_its_neighbours(self, load, tmp_path):
        (tmp_path / "oet_test_neighbour.py").write_text("value = 3")
        assert load("from oet_test_neighbour import value").value == 3

    def test_dataclasses_and_pickle_find_their_module(self, load):
        source = (
            "import dataclasses, pickle\n"
            "@dataclasses.dataclass\n"
            "class A:\n"
            "    x: int = 1\n"
            "b = pickle.loads(pickle.dumps(A()))\n"
        )
        assert load(source).b.x == 1

    def test_future_statements_of_the_program_do_not_leak_into_the_script(self, load):
        assert load("def f(a: int): pass").f.__annotations__ == {"a": int}

    def test_a_declared_encoding_is_respected(self, tmp_path):
        source = "# coding: latin-1\nx = 'ü'".encode("latin-1")
        assert loader.module_from_source(str(tmp_path / "a.py"), source).x == "ü"

    def test_the_factory_returns_the_module_of_a_script_on_the_file_system(self, tmp_path):
        (tmp_path / "a.py").write_text("x = 5")
        assert ModuleFactory.get_module(FileSystemScript(f"file://{tmp_path}/a.py")).x == 5
        with pytest.raises(FileNotFoundError):
            ModuleFactory.get_module(FileSystemScript(f"file://{tmp_path}/b.py"))

    def test_the_factory_decodes_what_is_encoded_in_the_uri(self, tmp_path):
        (tmp_path / "my script.py").write_text("x = 6")
        assert ModuleFactory.get_module(FileSystemScript(f"file://{tmp_path}/my%20script.py")).x == 6

    def test_the_factory_checks_a_script_out_that_is_in_git(self, tmp_path, monkeypatch):
        monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
        monkeypatch.setattr(sys, "pycache_prefix", None)
        upstream = Upstream(tmp_path / "served")
        old = upstream.commit(scripts__observe="from oet_test_near import x", oet_test_near="x = 7")
        upstream.commit(scripts__observe="x = 8")
        newest, named = GitArgs(f"file://{upstream.bare}"), GitArgs(f"file://{upstream.bare}", git_commit=old)
        try:
            assert ModuleFactory.get_module(GitScript("git://scripts/observe.py", newest)).x == 8
            assert ModuleFactory.get_module(GitScript("git://scripts/observe.py", named)).x == 7
        finally:
            remove_tree(tmp_path / "state")
        with pytest.raises(InvalidArgumentError):
            ModuleFactory.get_module(GitScript("git://a.py"))

    def test_the_provenance_is_of_what_was_read(self):
        assert loader.provenance_of("/a.py", b"x = 1") == {
            "path": "/a.py",
            "sha256": hashlib.sha256(b"x = 1").hexdigest(),
            "git_commit": None,
            "environment": None,
        }


class TestFindingAFunction:
    def test_returns_what_the_script_defines(self, load):
        module = load("def main(): pass\nclass Observe:\n    def __init__(self): pass")
        assert loader.function_of(module, "main") is module.main
        assert loader.function_of(module, "Observe") is module.Observe

    @pytest.mark.parametrize("name", ["nothing", "value", "__doc__", "__init__", "__setattr__", "__class__"])
    def test_names_those_that_there_are(self, load, name):
        module = load("from os.path import join\nvalue = 3\ndef main(): pass\ndef init(): pass")
        with pytest.raises(loader.ScriptCallError) as caught:
            loader.function_of(module, name)
        assert str(caught.value) == f"the script defines no function {name!r}; it defines: init, main"

    def test_says_when_there_is_none(self, load):
        with pytest.raises(loader.ScriptCallError, match="it defines: none"):
            loader.function_of(load(""), "main")


def plain(a, b=2):
    return a, b


def with_context(a, context):
    return a, context


def with_context_first(context, b=0):
    return context, b


def with_keyword_context(*, context=None):
    return context


def with_kwargs(**kwargs):
    return kwargs


def with_kwargs_called_context(**context):
    return context


def with_positional_context(context, /):
    return context


class TestBinding:
    @pytest.mark.parametrize(
        ("function", "given", "expected"),
        [
            (plain, ProcedureInput(1), (1, 2)),
            (plain, ProcedureInput(1, b=3), (1, 3)),
            (with_context, ProcedureInput(1), (1, CONTEXT)),
            (with_context, ProcedureInput(1, 5), (1, 5)),
            (with_context, ProcedureInput(1, context="mine"), (1, "mine")),
            (with_context_first, ProcedureInput(), (CONTEXT, 0)),
            (with_context_first, ProcedureInput("mine"), ("mine", 0)),
            (with_context_first, ProcedureInput("mine", 4), ("mine", 4)),
            (with_keyword_context, ProcedureInput(), CONTEXT),
            (with_kwargs, ProcedureInput(a=1), {"a": 1, "context": CONTEXT}),
            (with_kwargs, ProcedureInput(context=1), {"context": 1}),
            (with_kwargs, ProcedureInput(**{"self": 1}), {"self": 1, "context": CONTEXT}),
            (with_kwargs_called_context, ProcedureInput(), {"context": CONTEXT}),
            (with_positional_context, ProcedureInput(3), 3),
            (lambda: "no arguments", ProcedureInput(), "no arguments"),
            (dict, ProcedureInput(a=1), {"a": 1}),
        ],
    )
    def test_gives_the_arguments_and_the_context_where_it_is_accepted(self, function, given, expected):
        assert loader.bind(function, given, CONTEXT)() == expected

    @pytest.mark.parametrize(
        ("function", "given", "signature"),
        [
            (plain, ProcedureInput(), "plain(a, b=2)"),
            (plain, ProcedureInput(1, 2, 3), "plain(a, b=2)"),
            (plain, ProcedureInput(1, c=3), "plain(a, b=2)"),
            (plain, ProcedureInput(1, a=3), "plain(a, b=2)"),
            (with_context, ProcedureInput(), "with_context(a, context)"),
            (with_positional_context, ProcedureInput(), "with_positional_context(context, /)"),
        ],
    )
    def test_shows_the_signature_when_the_arguments_do_not_fit(self, function, given, signature):
        with pytest.raises(loader.ScriptCallError) as caught:
            loader.bind(function, given, CONTEXT)
        assert f"the arguments do not fit {signature}: " in str(caught.value)

    def test_runs_nothing_before_it_is_called(self):
        loader.bind(raised_by, ProcedureInput(1), CONTEXT)

    def test_does_not_change_what_was_given(self):
        given = ProcedureInput(a=1)
        loader.bind(with_kwargs, given, CONTEXT)()
        assert given == ProcedureInput(a=1)


class TestCalling:
    def test_a_coroutine_is_run_to_its_end(self, load):
        module = load("import asyncio\ndone = []\nasync def main():\n    await asyncio.sleep(0)\n    done.append(1)")
        loader.call(module.main)
        assert module.done == [1]

    def test_what_it_raises_comes_out(self, load):
        module = load("async def main():\n    raise KeyError('x')")
        with pytest.raises(KeyError):
            loader.call(module.main)


class HostileError(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


class NotTextError(Exception):
    def __str__(self):
        return 3  # noqa: PLE0307 - as a script may do by mistake


class TestTheReason:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ValueError("no such receiver"), "ValueError: no such receiver"),
            (ValueError(), "ValueError"),
            (ValueError("  \n "), "ValueError"),
            (ValueError("\nfirst\nsecond"), "ValueError: first"),
            (KeyError("x"), "KeyError: 'x'"),
            (SystemExit(3), "SystemExit: 3"),
            (loader.ScriptCallError("as it is"), "as it is"),
            (HostileError(), "HostileError: (its text cannot be shown)"),
            (NotTextError(), "NotTextError: (its text cannot be shown)"),
        ],
    )
    def test_is_one_line_that_says_what_was_raised(self, error, reason):
        assert loader.reason_of(error) == reason

    def test_is_not_endless(self):
        assert len(loader.reason_of(ValueError("x" * 100_000))) < 1100

    @pytest.mark.parametrize(
        ("code", "status"), [(None, 0), (0, 0), (3, 3), (-1, -1), ("text", 1), (False, 0), (2.5, 1)]
    )
    def test_the_exit_status_is_pythons(self, code, status):
        assert loader.exit_status(SystemExit(code)) == status


class TestTheTrace:
    def test_shows_the_users_frames_only_and_the_line_that_failed(self, load):
        module = load("def main():\n    helper()\ndef helper():\n    raise ValueError('why')\n")
        trace = loader.trace_of(raised_by(loader.call, loader.bind(module.main, ProcedureInput(), {})))
        lines = trace.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[-1] == "ValueError: why"
        assert "    helper()" in lines
        assert "_loader.py" not in trace
        assert trace.count("  File ") == 2

    def test_of_a_coroutine_shows_no_frames_of_asyncio(self, load):
        module = load("async def main():\n    raise ValueError('why')\n")
        trace = loader.trace_of(raised_by(loader.call, module.main))
        assert "asyncio" not in trace
        assert trace.count("  File ") == 1

    def test_of_a_mistake_in_the_file_shows_where_it_is(self, load):
        trace = loader.trace_of(raised_by(load, "def main(:\n"))
        assert "script.py" in trace
        assert "def main(:" in trace
        assert "SyntaxError" in trace

    def test_of_a_failure_at_import_begins_in_the_script(self, load):
        trace = loader.trace_of(raised_by(load, "import no_such_module_anywhere\n"))
        assert "script.py" in trace.splitlines()[1]
        assert "_loader.py" not in trace

    def test_shows_chained_exceptions(self, load):
        module = load(
            "def main():\n"
            "    try:\n"
            "        int('x')\n"
            "    except ValueError as error:\n"
            "        raise RuntimeError('outer') from error\n"
        )
        trace = loader.trace_of(raised_by(loader.call, module.main))
        assert "invalid literal" in trace
        assert "direct cause" in trace
        assert trace.rstrip().endswith("RuntimeError: outer")
        assert "_loader.py" not in trace

    def test_shows_the_code_that_ran_also_after_an_edit(self, load, tmp_path):
        module = load("def main():\n    raise ValueError('as loaded')\n")
        (tmp_path / "script.py").write_text("def main():\n    pass  # as edited\n")
        linecache.checkcache()
        assert "raise ValueError('as loaded')" in loader.trace_of(raised_by(module.main))

    def test_is_none_where_no_user_code_was_running(self):
        assert loader.trace_of(raised_by(loader.bind, plain, ProcedureInput(), {})) is None

    def test_of_a_hostile_exception_says_at_least_its_kind(self):
        assert "HostileError" in loader.trace_of(HostileError())

    def test_is_cut_in_the_middle_when_it_is_too_long(self):
        trace = loader.trace_of(ValueError("a" * 200_000 + "end"))
        assert len(trace) < 66 * 1024
        assert "characters left out" in trace
        assert trace.rstrip().endswith("end")

    def test_of_endless_recursion_is_short(self, load):
        module = load("def main():\n    main()\n")
        assert "previous line repeated" in loader.trace_of(raised_by(module.main)).lower()
