"""Building one environment with uv, and the log of it.

Runs in the main thread of a worker, where a signal may raise an exception at any line and SIGKILL
ends everything; so nothing here is of value before the caller has set `created`.  The processes
that do the work stay in the worker's session, and inherit the lock: if the worker dies before
they do, nobody else builds in the same folder meanwhile.
"""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from ...files import remove_tree
from ...own_files import open_regular
from ._command import Command
from ._environment import Environment, EnvironmentBuildError
from ._lockfiles import constraints_of, indexes_of, read_toml, requirements_of
from ._recipe import Recipe, checkout_root, server_folders

SERVER_PTH = "zzzz_ska_oet_server.pth"
"""Read last of its kind, so that the server's folders are the end of sys.path."""

_SCRATCH, _SOURCE = "tmp", "source"
SCRIPTS_IMPORT = ("venv", _SOURCE)
"""The folders of an environment whose files scripts import."""
_LARGEST_LOG = 16 * 1024 * 1024  # characters
_TAIL = 20  # lines
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@'\"]+@")
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|_KEY$", re.IGNORECASE)
_SHORTEST_SECRET = 6
_PREFIX = re.compile(r"(error|cause):\s*|[×╰├│─▶]+\s*")
_NO_MEMORY = re.compile(r"MemoryError|bad_alloc|memory allocation|[Cc]annot allocate memory|[Oo]ut of memory")
_LONGEST_COMPLAINT = 6  # lines

# What would install to another place, or with the constraints of the server's own installation.
_NOT_FOR_BUILDS = re.compile(
    r"PYTHON(PATH|HOME|STARTUP|USERBASE)|VIRTUAL_ENV|CONDA_PREFIX|__PYVENV_LAUNCHER__|SKA_OET_(RUN_ID|PROCESS_UID|DEVICE|SUBARRAY_ID|FOLDER)"
    r"|UV_(PROJECT.*|SYSTEM_PYTHON|PYTHON|CONSTRAINT|WORKING_DIR.*|NO_SYNC|LOCKED|FROZEN|VENV_.*|CACHE_DIR|NO_CACHE)"
)
# Whoever has told pip where packages are need not tell uv again.
_UV_LIKE_PIP = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
    "UV_NO_INDEX": "PIP_NO_INDEX",
}
_UV_SEPARATOR = {"UV_FIND_LINKS": ","}
_OLDER_NAMES = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}

# The template process and the workers it forks begin with these.
_CHECK = "import ska_oet_device.mptools, ska_oet_device.event, setproctitle"


def find_uv() -> str:
    """Return the path of uv: the server's own, else the first in PATH.

    :raises EnvironmentBuildError: there is none
    """
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("uv")
    if found is None:
        raise EnvironmentBuildError(f"uv is missing: it is neither {beside} nor in PATH")
    return found


class BuildLog:
    """The log of one build: what was run, and what it printed, without credentials."""

    def __init__(self, path: Path) -> None:
        remove_tree(path)  # or something would be written into whatever somebody has put there
        descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._file = open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self._room = _LARGEST_LOG
        self._secrets = [
            value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
        ]
        self.tail: list[str] = []

    def write(self, line: str) -> None:
        line = _CREDENTIALS.sub("***@", line.rstrip())
        for secret in self._secrets:
            line = line.replace(secret, "***")
        self.tail = [*self.tail[1 - _TAIL :], line]
        if self._room > 0:
            self._room -= len(line) + 1
            self._file.write(line + "\n" if self._room > 0 else "… (the rest is left out)\n")

    def close(self) -> None:
        self._file.close()


class Builder:
    """Fills the folder of one environment."""

    def __init__(self, environment: Environment, recipe: Recipe, log: BuildLog, cache: Path) -> None:
        self._environment = environment
        self._recipe = recipe
        self._log = log
        self._cache = cache
        self._uv = find_uv()
        self._scratch = environment.folder / _SCRATCH
        self._source = environment.folder / _SOURCE

    def build(self) -> None:
        """Make the environment from nothing.

        :raises EnvironmentBuildError: a command failed
        :raises OSError: a file cannot be read or written
        :raises ValueError: a file of the project is not what it should be
        """
        discard(self._environment)
        self._scratch.mkdir(parents=True)
        project = self._copy_of_project()
        self._make_venv()
        self._install(project)
        self._add_server()
        self._run([self._environment.python, "-I", "-c", _CHECK], "the template process cannot start in it")
        remove_tree(self._scratch)
        if not self._recipe.needs_source:
            remove_tree(self._source)

    def _copy_of_project(self) -> Path:
        """Return the folder to build in: builds write next to the source, which belongs to the checkout."""
        recipe = self._recipe
        if not (recipe.installs_project or recipe.needs_source):
            return recipe.project
        root = checkout_root(recipe.project)
        shutil.copytree(root, self._source, symlinks=True)
        return self._source / recipe.project.relative_to(root)

    def _make_venv(self) -> None:
        self._run([self._uv, "venv", "--no-project", "--python", sys.executable, self._environment.location])

    def _install(self, project: Path) -> None:
        recipe = self._recipe
        if recipe.source == "uv.lock":
            sync = [self._uv, "sync", "--frozen", "--no-default-groups", "--no-editable"]
            sync += [] if recipe.installs_project else ["--no-install-project"]
            self._run([*sync, "--python", self._environment.python], cwd=project)
        elif recipe.source in ("requirements.lock", "requirements.txt"):
            self._install_packages(["-r", recipe.source], project)
            if recipe.installs_project:
                self._install_packages(["--no-deps", "."], project)
        elif recipe.source:
            self._install_packages(self._arguments(project), project)

    def _arguments(self, project: Path) -> list[str]:
        """Return what to install of a pyproject.toml, with the versions of poetry.lock if there is one."""
        recipe = self._recipe
        pyproject = read_toml(project / "pyproject.toml")
        arguments = [argument for index in indexes_of(pyproject) for argument in ("--index", index)]
        lock = read_toml(project / recipe.source) if recipe.source == "poetry.lock" else {}
        if lock:
            arguments += ["-c", self._written("constraints.txt", constraints_of(lock))]
        if recipe.installs_project:
            return [*arguments, "."]
        if "dependencies" not in pyproject.get("project", {}) and recipe.source == "poetry.lock":
            return [*arguments, "-r", self._written("requirements.txt", requirements_of(lock))]
        if "project" not in pyproject:
            raise EnvironmentBuildError("pyproject.toml names its dependencies in Poetry's way, and has no poetry.lock")
        return [*arguments, "-r", "pyproject.toml"]

    def _written(self, name: str, lines: Sequence[str]) -> str:
        path = self._scratch / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(path)

    def _install_packages(self, arguments: list[str], project: Path) -> None:
        self._run([self._uv, "pip", "install", "--python", self._environment.python, *arguments], cwd=project)

    def _add_server(self) -> None:
        """Let the interpreter find the server's packages after all of its own; of the server itself, no other copy."""
        packages = Path(self._environment.site_packages)
        own = packages / "ska_oet_device"
        if own.exists():
            self._log.write("the server's own ska_oet_device takes the place of the one that was installed")
            remove_tree(own)
        text = "".join(f"{folder}\n" for folder in server_folders())
        (packages / SERVER_PTH).write_text(text, encoding="utf-8", errors="surrogateescape")

    def _run(self, command: list[str], what: str = "", cwd: Path | None = None) -> None:
        self._log.write(f"$ {shlex.join(command)}")
        began = time.monotonic()
        lock = self._environment.creating.lock.fileno()
        running = Command(command, cwd=cwd or self._scratch, env=self._variables(), pass_fds=(lock,))
        lines: list[str] = []
        try:
            for line in running.lines():
                self._log.write(line)
                lines = [*lines[-200:], line.strip()]
            status = running.wait()
        finally:
            running.close()
        self._log.write(f"({time.monotonic() - began:.1f} s)")
        if status != 0:
            name = what or f"{Path(command[0]).name} {' '.join(command[1:3])}"
            complaint = complaint_in(lines) or f"ended with status {status}"
            raise EnvironmentBuildError(f"{name}: {complaint}{_limit_named_for(lines)}")

    def _variables(self) -> dict[str, str]:
        variables = {name: value for name, value in os.environ.items() if not _NOT_FOR_BUILDS.fullmatch(name)}
        for name, like in _UV_LIKE_PIP.items():
            if like in variables and name not in variables and _OLDER_NAMES.get(name, name) not in variables:
                variables[name] = _UV_SEPARATOR.get(name, " ").join(variables[like].split())
        return variables | {
            "TMPDIR": str(self._scratch),
            "NO_COLOR": "1",
            "UV_CACHE_DIR": str(self._cache / "uv"),
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PROJECT_ENVIRONMENT": self._environment.location,
            "VIRTUAL_ENV": self._environment.location,
            "GIT_TERMINAL_PROMPT": "0",
        }


def _limit_named_for(lines: Sequence[str]) -> str:
    """Return what is to be added to a complaint that is about memory where that is limited."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY or not any(map(_NO_MEMORY.search, lines)):
        return ""
    return f"; each process of a build may have {limit / 1024**2:.0f} MiB, since MaxMemory is set"


def discard(environment: Environment) -> None:
    """Remove what a build makes."""
    for path in (Path(environment.location), environment.folder / _SCRATCH, environment.folder / _SOURCE):
        remove_tree(path)
    remove_tree(environment.manifest)


def complaint_in(lines: Sequence[str]) -> str:
    """Return, as one sentence, what an installer's output says went wrong."""
    for mark in ("error:", "×"):
        for number, line in enumerate(lines):
            if line.startswith(mark):
                return _sentence(lines[number:])
    return next((line for line in reversed(lines) if line), "")


def _sentence(lines: Sequence[str]) -> str:
    """Join a complaint and its causes, which uv wraps over some lines."""
    text = ""
    for line in lines[:_LONGEST_COMPLAINT]:
        if not line or line.startswith("hint"):
            break
        part = _PREFIX.sub("", line)
        text = f"{text}: {part}" if text and part != line else f"{text} {part}".strip()
    return text
