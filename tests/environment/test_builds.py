"""Environments built for real, of packages that the tests make."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sysconfig
from pathlib import Path

import pytest
from support.packages import make_package, make_project, make_wheel

from ska_oet_device.mptools._template_protocol import problems_in
from ska_oet_device.procedure.environment import EnvironmentBuildError, EnvironmentState
from ska_oet_device.procedure.environment._recipe import server_folders
from ska_oet_device.procedure.environment.manager import EnvironmentManager

UV_LOCK = """version = 1
revision = 1
requires-python = ">=3.10"

[[package]]
name = "project"
version = "0"
source = { virtual = "." }
dependencies = [{ name = "shared" }]

[package.metadata]
requires-dist = [{ name = "shared" }]

[[package]]
name = "shared"
version = "1.0"
source = { registry = "%(wheels)s" }
wheels = [{ path = "shared-1.0-py3-none-any.whl" }]
"""

POETRY_LOCK = """
[[package]]
name = "shared"
version = "1.0"
optional = false
groups = ["main"]
files = []

[[package]]
name = "notfound"
version = "3.0"
optional = false
groups = ["dev"]
files = []
"""

PYPROJECT = '[project]\nname = "project"\nversion = "0"\nrequires-python = ">=3.10"\ndependencies = ["shared"]\n'


class TestAnEnvironmentHas:
    def test_what_requirements_txt_asks_for_and_what_that_needs(self, manager, tmp_path, ask):
        environment = manager.prepare(make_project(tmp_path / "p", requirements_txt="user\nshared==1.0\n"), "c1")
        assert ask(environment, "[shared.version, user.version]", "shared, user") == ["1.0", "1.0"]
        (info,) = manager.list()
        assert (info.state, info.in_use) == (EnvironmentState.READY, True)
        assert {"shared==1.0", "user==1.0"} <= set(info.packages)
        assert info.size > 0
        assert "ready" in Path(info.log).read_text()

    def test_what_requirements_lock_asks_for_before_pyproject(self, manager, tmp_path, ask):
        project = make_project(tmp_path / "p", requirements_lock="shared==1.0\n", pyproject_toml=PYPROJECT)
        assert ask(manager.prepare(project, "c1"), "shared.version", "shared") == "1.0"

    def test_the_dependencies_of_a_pyproject_that_is_no_package(self, manager, tmp_path, ask):
        environment = manager.prepare(make_project(tmp_path / "p", pyproject_toml=PYPROJECT), "c1")
        assert ask(environment, "shared.version", "shared") == "2.0"

    def test_the_project_itself_where_it_is_a_package(self, manager, tmp_path, ask):
        project = make_package(tmp_path / "p", needs=("shared<2",))
        before = sorted(project.iterdir())
        environment = manager.prepare(project, "c1")
        assert ask(environment, "[observing.version, shared.version]", "observing, shared") == ["1.0", "1.0"]
        assert sorted(project.iterdir()) == before, "the build wrote into the checkout"
        assert not (environment.folder / "source").exists()

    def test_the_versions_of_uv_lock(self, manager, tmp_path, ask, wheels):
        lock = UV_LOCK % {"wheels": wheels}
        project = make_project(tmp_path / "p", pyproject_toml=PYPROJECT, uv_lock=lock)
        assert ask(manager.prepare(project, "c1"), "shared.version", "shared") == "1.0"

    def test_the_versions_of_poetry_lock(self, manager, tmp_path, ask):
        project = make_package(tmp_path / "p", needs=("shared",))
        (project / "poetry.lock").write_text(POETRY_LOCK)
        assert ask(manager.prepare(project, "c1"), "shared.version", "shared") == "1.0"

    def test_the_main_group_of_poetry_lock_where_the_project_is_no_package(self, manager, tmp_path, ask):
        pyproject = "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\nshared = '*'\n"
        project = make_project(tmp_path / "p", pyproject_toml=pyproject, poetry_lock=POETRY_LOCK)
        environment = manager.prepare(project, "c1")
        assert ask(environment, "shared.version", "shared") == "1.0"

    def test_nothing_where_the_project_names_nothing(self, manager, tmp_path, ask):
        environment = manager.prepare(make_project(tmp_path / "p"), "c1")
        assert ask(environment, "sys.prefix") == environment.location

    def test_an_editable_local_package_whose_source_stays(self, manager, tmp_path, ask):
        project = make_project(tmp_path / "p", requirements_txt="-e ./lib\n")
        make_package(project / "lib")
        environment = manager.prepare(project, "c1")
        assert ask(environment, "observing.version", "observing") == "1.0"


class TestTheServersPackages:
    def test_are_found_last(self, manager, tmp_path, ask, wheels):
        make_wheel(wheels, "setproctitle", "99", code="def setproctitle(title): ...")
        environment = manager.prepare(make_project(tmp_path / "p", requirements_txt="setproctitle\n"), "c1")
        assert ask(environment, "setproctitle.__file__", "setproctitle").startswith(environment.site_packages)
        path = ask(environment, "sys.path")
        after = path[path.index(environment.site_packages) + 1 :]
        assert {_home_of("tango"), _home_of("ska_oet_device")} <= set(after)
        assert set(after) == {folder for folder in server_folders() if os.path.isdir(folder)}

    def test_serve_tango_and_the_template(self, manager, tmp_path, ask):
        environment = manager.prepare(make_project(tmp_path / "p", requirements_txt="shared==1.0\n"), "c1")
        files = ask(environment, "[tango.__file__, shared.__file__]", "tango, shared")
        assert files[0] == os.path.join(_home_of("tango"), "tango", "__init__.py")
        assert files[1].startswith(environment.site_packages)

    def test_two_environments_and_the_server_have_a_version_each(self, manager, tmp_path, ask, monkeypatch, wheels):
        server = tmp_path / "server"
        (server / "shared").mkdir(parents=True)
        (server / "shared" / "__init__.py").write_text("version = 'server'\n")
        monkeypatch.setattr("ska_oet_device.procedure.environment._build.server_folders", lambda: _with(server))
        versions = []
        for number, wanted in enumerate(["shared==1.0", "shared==2.0", ""]):
            project = make_project(tmp_path / f"p{number}", requirements_txt=f"{wanted}\n")
            versions.append(ask(manager.prepare(project, "c1"), "shared.version", "shared"))
        assert versions == ["1.0", "2.0", "server"]

    def test_win_where_the_environment_has_the_server_itself(self, manager, tmp_path, ask, wheels):
        make_wheel(wheels, "ska_oet_device", "0.0.1")
        project = make_project(tmp_path / "p", requirements_txt="ska_oet_device==0.0.1\n")
        assert _home_of("ska_oet_device") in ask(
            manager.prepare(project, "c1"), "ska_oet_device.__file__", "ska_oet_device"
        )

    def test_run_a_template_process(self, manager, tmp_path):
        environment = manager.prepare(make_project(tmp_path / "p", requirements_txt="shared==1.0\n"), "c1")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        entry = "ska_oet_device.procedure.worker._process:worker_main"
        # The template wants its control socket at descriptor 3.
        command = 'exec 3<&"$0" "$@"'
        arguments = [environment.python, "-m", "ska_oet_device.mptools", str(os.getpid()), entry, "tango", "shared"]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with ours, theirs:
            template = subprocess.Popen(
                ["/bin/bash", "-c", command, str(theirs.fileno()), *arguments],
                pass_fds=(theirs.fileno(),),
                env=clean,
                cwd="/",
            )
            theirs.close()
            try:
                ours.settimeout(20)
                assert problems_in(ours.recv(65536)) == []
            finally:
                ours.close()
                assert template.wait(10) == 0


class TestABuildThatFails:
    def test_says_why_and_the_next_request_builds_anew(self, manager, tmp_path, wheels, ask):
        project = make_project(tmp_path / "p", requirements_txt="latecomer==1.0\n")
        with pytest.raises(EnvironmentBuildError, match="latecomer") as raised:
            manager.prepare(project, "c1")
        assert "latecomer" in raised.value.sentence
        assert "\n" not in raised.value.sentence
        assert "install" in raised.value.log_tail
        (info,) = manager.list()
        assert info.state == "FAILED"
        assert "latecomer" in info.reason
        assert "latecomer" in Path(info.log).read_text()
        make_wheel(wheels, "latecomer", "1.0")
        assert ask(manager.prepare(project, "c1"), "latecomer.version", "latecomer") == "1.0"
        assert [info.state for info in manager.list()] == [EnvironmentState.READY]

    def test_leaves_nothing_but_its_record_and_log(self, manager, tmp_path):
        with pytest.raises(EnvironmentBuildError):
            manager.prepare(make_project(tmp_path / "p", requirements_txt="nowhere\n"), "c1")
        (folder,) = (each for each in manager.base_dir.iterdir() if not each.name.startswith("."))
        assert sorted(path.name for path in folder.iterdir()) == ["build.log", "creating", "record.json"]

    def test_in_the_project_itself_shows_its_traceback(self, manager, tmp_path):
        project = make_package(tmp_path / "p", hook="raise RuntimeError('no antenna')")
        with pytest.raises(EnvironmentBuildError):
            manager.prepare(project, "c1")
        assert "no antenna" in Path(manager.list()[0].log).read_text()

    def test_of_a_project_that_is_not_there_is_an_error_of_its_own(self, manager, tmp_path):
        with pytest.raises(EnvironmentBuildError, match="is not a folder"):
            manager.prepare(tmp_path / "nothing", "c1")

    def test_with_a_broken_pyproject(self, manager, tmp_path):
        with pytest.raises(EnvironmentBuildError):
            manager.prepare(make_project(tmp_path / "p", pyproject_toml="[project\n[project]\n"), "c1")

    def test_where_only_poetry_could_tell_the_dependencies(self, manager, tmp_path):
        pyproject = "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\nshared = '*'\n"
        with pytest.raises(EnvironmentBuildError, match=r"no poetry\.lock"):
            manager.prepare(make_project(tmp_path / "p", pyproject_toml=pyproject), "c1")

    @pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
    def test_in_a_folder_that_another_user_can_change(self, manager, tmp_path):
        manager.base_dir.mkdir()
        os.chown(manager.base_dir, 12345, 12345)
        with pytest.raises(EnvironmentBuildError, match="belongs to another user"):
            manager.prepare(make_project(tmp_path / "p"), "c1")

    def test_for_want_of_uv_says_so(self, manager, tmp_path, monkeypatch):
        get_path = sysconfig.get_path
        monkeypatch.setattr(
            sysconfig, "get_path", lambda name, *rest: str(tmp_path) if name == "scripts" else get_path(name, *rest)
        )
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(EnvironmentBuildError, match="uv is missing"):
            manager.prepare(make_project(tmp_path / "p"), "c1")
        assert "uv is missing" in manager.list()[0].reason

    def test_shows_no_credentials(self, manager, tmp_path, monkeypatch):
        monkeypatch.setenv("INDEX_TOKEN", "fragile-4711")
        hook = "print('https://me:hush@index/simple fragile-4711'); raise SystemExit(3)"
        project = make_package(tmp_path / "p", hook=hook)
        with pytest.raises(EnvironmentBuildError) as raised:
            manager.prepare(project, "c1")
        log = Path(manager.list()[0].log).read_text()
        assert "https://***@index/simple ***" in log
        for text in (log, str(raised.value)):
            assert "hush" not in text
            assert "fragile" not in text

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
    def test_on_a_full_disk_and_works_when_there_is_room(self, tmp_path, wheels, ask):
        make_wheel(wheels, "large", "1.0", size=8 * 1024 * 1024)
        small = tmp_path / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        try:
            manager = EnvironmentManager(base_dir=small / "environments")
            project = make_project(tmp_path / "p", requirements_txt="large==1.0\n")
            with pytest.raises(EnvironmentBuildError, match="No space left"):
                manager.prepare(project, "c1")
            assert [info.state for info in manager.list()] == ["FAILED"]
            subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
            assert ask(manager.prepare(project, "c1"), "large.version", "large") == "1.0"
            manager.close()
        finally:
            subprocess.run(["umount", "-l", small], check=True)


def _home_of(module: str) -> str:
    return str(Path(importlib.util.find_spec(module).origin).parents[1])


def _with(folder: Path) -> tuple[str, ...]:
    return (*server_folders(), str(folder))
