"""Loading a script, and calling its functions."""

from __future__ import annotations

import hashlib

import pytest
from support.git_server import Upstream

from ska_oet_device.errors import InvalidArgumentError
from ska_oet_device.files import remove_tree
from ska_oet_device.procedure.domain import FileSystemScript, GitArgs, GitScript, ModuleFactory
from ska_oet_device.procedure.worker import _loader as loader

pytestmark = pytest.mark.usefixtures("own_modules")


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


class TestTheExitStatus:
    @pytest.mark.parametrize(
        ("code", "status"), [(None, 0), (0, 0), (3, 3), (-1, -1), ("text", 1), (False, 0), (2.5, 1)]
    )
    def test_is_pythons(self, code, status):
        assert loader.exit_status(SystemExit(code)) == status
