"""A server whose scripts come from git servers on the loopback, and packages that never come from the network."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.git_server import HttpServer, Upstream, silent_server
from support.packages import make_package, make_wheel
from support.tango_server import SCRIPTS, Database, Oet, serving
from support.waiting import wait_until

QUICK = {"StopGracePeriod": 0.5, "LoadTimeout": 20, "InitTimeout": 20, "EnvironmentTimeout": 40}

# Says that the build is under way, and waits until it is let go on.
GATE = """
import time
open({began!r}, "a").write("began\\n")
while not os.path.exists({go!r}):
    time.sleep(0.02)
"""

# Serves as setproctitle, except in a template process.
BROKEN = """
import os, sys, time
if "-m" in sys.orig_argv:
    {then}
def setproctitle(title):
    pass
"""

_NAME = "mid-oet/gitscripts/01"
_numbers = itertools.count(1)
_FORKED = 0x40  # the kernel's PF_FORKNOEXEC: a process that was forked, and has not become another program since


@dataclass
class Gate:
    """Holds a build until it is opened."""

    folder: Path

    @property
    def hook(self) -> str:
        return GATE.format(began=str(self.folder / "began"), go=str(self.folder / "go"))

    @property
    def builds(self) -> int:
        """How often the package was built, or begun to be."""
        began = self.folder / "began"
        return began.read_text().count("began") if began.exists() else 0

    def wait_for_build(self) -> None:
        wait_until(lambda: self.builds, 20, "the build is under way")

    def open(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.open()


class Repository(Upstream):
    """A repository of the tests' git server, with packages and requirements besides scripts."""

    url = ""

    def add(self, **files: str) -> None:
        """Write files; ``requirements_txt="…"`` becomes ``requirements.txt``."""
        for name, text in files.items():
            stem, _, ending = name.rpartition("_")
            (self.tree / f"{stem}.{ending}").write_text(text)

    def add_package(self, name: str, version: str = "1.0", hook: str = "") -> None:
        """Make the repository a package of its own, with one module; `hook` runs while it is built."""
        aside = self.tree.with_name(f"{name}.package")
        make_package(aside, name, version, hook=hook)
        shutil.copytree(aside, self.tree, dirs_exist_ok=True)
        shutil.rmtree(aside)

    def script(self, path: str = "observe.py", **more: Any) -> dict[str, Any]:
        """Return the part of a request that names a script of this repository."""
        create_env = {"create_env": more.pop("create_env")} if "create_env" in more else {}
        git_args = {"git_repo": self.url, **more}
        return {"script_type": "git", "script_uri": f"git://{path}", "git_args": git_args, **create_env}


@dataclass
class GitOet:
    """A client that asks for scripts of git."""

    oet: Oet
    folder: Path

    def prepare(self, script: dict[str, Any], *args: Any) -> int:
        request = {"script": script, "init_args": {"args": args}}
        return int(json.loads(self.oet.proxy.Prepare(json.dumps(request)))["id"])

    def run(self, script: dict[str, Any], *args: Any) -> int:
        request = {"script": script, "run_args": {"args": args}}
        return int(json.loads(self.oet.proxy.Run(json.dumps(request)))["id"])

    def told(self, script: dict[str, Any], seconds: float = 30) -> dict[str, Any]:
        """Run a script that tells where it runs; returns what it tells and its summary."""
        path = self.folder / f"told-{next(_numbers)}"
        uid = self.run(script, str(path))
        end = self.oet.recorder.wait_for_end(uid, seconds)
        assert end["state"] == "COMPLETE", end
        return {**json.loads(path.read_text()), "summary": self.oet.summary(uid)}

    def failure(self, script: dict[str, Any], seconds: float = 20) -> str:
        """Prepare a script that cannot be had; returns the reason."""
        uid = self.prepare(script)
        end = self.oet.recorder.wait_for_end(uid, seconds)
        assert end["state"] == "FAILED", end
        return str(end["reason"])

    def environments(self) -> dict[str, dict[str, Any]]:
        return {each["env_id"]: each for each in json.loads(self.oet.proxy.Environments())}

    def templates(self) -> set[int]:
        """Return the process ids of the templates: the server's and those of environments."""
        return set(self._processes(_is_template))

    def gits(self) -> list[int]:
        """Return the process ids of git and its helpers."""
        return self._processes(lambda process: process.name().startswith("git"))

    def _processes(self, is_wanted: Callable[[psutil.Process], bool]) -> list[int]:
        found = []
        for process in self.oet.server.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_wanted(process):
                    found.append(process.pid)
        return found

    def output(self, uid: int) -> str:
        return str(json.loads(self.oet.proxy.Output(json.dumps({"process_uid": uid})))["text"])


def _is_template(process: psutil.Process) -> bool:
    """Say whether a process is a template: a worker bears the title, too, until it has one of its own."""
    if "oet-template" not in " ".join(process.cmdline()):
        return False
    with contextlib.suppress(OSError):
        flags = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[6]
        return not int(flags) & _FORKED
    return False


@pytest.fixture(scope="session")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    server = HttpServer(tmp_path_factory.mktemp("upstream"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def deaf_url() -> Iterator[str]:
    """The URL of a git server that accepts connections and never answers."""
    with silent_server() as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def repository(git_server: HttpServer) -> Repository:
    """A new repository, with nothing in it."""
    return _new_repository(git_server)


@pytest.fixture
def another_repository(git_server: HttpServer) -> Repository:
    return _new_repository(git_server)


def _new_repository(server: HttpServer) -> Repository:
    name = f"scripts-{next(_numbers)}.git"
    repository = Repository(server.top, name)
    repository.url = f"{server.url}{name}"
    return repository


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a server that finds ``shared`` 1.0 and 2.0 in a folder, and has ``shared`` 3.0 itself."""
    wheels, own = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("own")
    make_wheel(wheels, "shared", "1.0")
    make_wheel(wheels, "shared", "2.0")
    # One for each test: an environment is made once, and bears the name of the commit that it was made for.
    for version, then in (("97.0", "os._exit(3)"), ("98.0", "os._exit(3)"), ("99.0", "time.sleep(60)")):
        make_wheel(wheels, "setproctitle", version, code=BROKEN.format(then=then))
    make_wheel(wheels, "pydantic", "1.10.0", code="class BaseModel:\n    pass\n")
    make_wheel(wheels, "pydantic", "97.0", code="raise SystemError('made for another Python')\n")
    (own / "shared.py").write_text("version = '3.0'\n")
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": os.devnull,
        "UV_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(own)))),
    }


@pytest.fixture(scope="session")
def shared(
    database: Database,
    git_server: HttpServer,
    deaf_url: str,
    packages: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Oet]:
    """A server that lives as long as the tests do."""
    properties = {"ScriptRoots": [SCRIPTS], "GitRepositories": [git_server.url, deaf_url], **QUICK}
    folder = tmp_path_factory.mktemp("server")
    with serving(database, "gitscripts", _NAME, folder, environment=packages, **properties) as oet:
        oet.ready("good.py")
        oet.tidy()
        yield oet


@pytest.fixture
def device(shared: Oet, tmp_path: Path) -> Iterator[GitOet]:
    """The device of the shared server: with nothing alive, before and after."""
    shared.tidy()
    yield GitOet(shared, tmp_path)
    shared.tidy()
