"""What an environment is made of: found in a project's folder, and digested into the id of the environment."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import re
import site
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FORMAT = "1"  # changes when the same recipe leads to another environment
_ID_LENGTH = 20

_REQUIREMENTS = ("requirements.lock", "requirements.txt")
_PROJECT_TABLE = re.compile(r"^\s*\[\s*(project|tool\.poetry)\s*\]", re.MULTILINE)
_BUILD_TABLE = re.compile(r"^\s*\[\s*build-system\s*\]", re.MULTILINE)
_NO_PACKAGE = re.compile(r"^\s*(package|package-mode)\s*=\s*false\b", re.MULTILINE)
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]*(\S+)", re.MULTILINE)
_LOCAL = re.compile(
    r"^\s*(?:(?:-e|--editable)[ =]*)?(?:\.{1,2}(?:/|\[|\s|$)|\S+\s*@\s*(?:file:)?\.{1,2}/)", re.MULTILINE
)

# What workers need of the server; each may be installed in another folder.
_SERVER_MODULES = ("ska_oet_device", "tango", "pubsub", "setproctitle", "numpy")


@dataclass(frozen=True)
class Recipe:
    """How to fill an environment.

    :param project: the folder of the project in the commit's checkout
    :param source: the file that says what to install: the name of a lock file, ``pyproject.toml``,
        a requirements file, ``setup.py``, or nothing
    :param files: the files that decide the content
    :param installs_project: the project itself is a package, to be installed as well
    """

    project: Path
    source: str
    files: tuple[Path, ...]
    installs_project: bool
    needs_source: bool

    def env_id(self, commit: str) -> str:
        """Return the digest of what decides the content: files, Python, the server's folders, and the commit
        where files of the project itself are installed."""
        digest = hashlib.sha256()
        for part in self._parts(commit):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()[:_ID_LENGTH]

    def _parts(self, commit: str) -> Iterator[bytes]:
        texts = [_FORMAT, sys.version, str(sys.implementation.cache_tag), platform.machine(), sys.base_prefix]
        texts += [self.source, commit if self.installs_project or self.needs_source else "", *server_folders()]
        yield from (text.encode(errors="surrogateescape") for text in texts)
        for file in self.files:
            yield file.name.encode(errors="surrogateescape")
            yield file.read_bytes()


def recipe_of(project: Path) -> Recipe:
    """Find out how the environment of a project is made.

    :raises OSError: the folder or one of its files cannot be read
    """
    if not project.is_dir():
        raise NotADirectoryError(f"{project} is not a folder")
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8", errors="replace") if pyproject.is_file() else ""
    installs = bool(_BUILD_TABLE.search(text)) and not _NO_PACKAGE.search(text)
    for name in ("uv.lock", "poetry.lock"):
        if (project / name).is_file() and text:
            return Recipe(project, name, (project / name,), installs, False)
    if (project / "requirements.lock").is_file():
        return _from_requirements(project, "requirements.lock", installs)
    if installs or _PROJECT_TABLE.search(text):
        return Recipe(project, "pyproject.toml", (pyproject,), installs, False)
    if (project / "requirements.txt").is_file():
        return _from_requirements(project, "requirements.txt", False)
    setup = tuple(project / name for name in ("setup.py", "setup.cfg") if (project / name).is_file())
    if setup and setup[0].name == "setup.py":
        return Recipe(project, "setup.py", setup, True, False)
    return Recipe(project, "", (), False, False)


def _from_requirements(project: Path, name: str, installs: bool) -> Recipe:
    files = tuple(_with_included(project / name))
    local = any(_LOCAL.search(file.read_text(encoding="utf-8", errors="replace")) for file in files)
    return Recipe(project, name, files, installs, local)


def _with_included(requirements: Path) -> Iterator[Path]:
    waiting, seen = [requirements], set()
    while waiting:
        file = waiting.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        yield file
        text = file.read_text(encoding="utf-8", errors="replace")
        waiting += [(file.parent / name).resolve() for name in _INCLUDE.findall(text) if "://" not in name]


def checkout_root(project: Path) -> Path:
    """Return the folder of the checkout that `project` is, or is a part of."""
    for folder in (project, *project.parents):
        if (folder / ".git").exists():
            return folder
    return project


def server_folders() -> tuple[str, ...]:
    """Return the folders that this process has its packages from, in order of precedence."""
    folders = []
    for name in _SERVER_MODULES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            module = Path(spec.origin).absolute()
            folders.append(str(module.parent if spec.submodule_search_locations is None else module.parent.parent))
    return tuple(dict.fromkeys([*folders, *site.getsitepackages()]))
