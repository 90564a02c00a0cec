"""What a lock file and a pyproject.toml say, for installers that cannot read them themselves."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

_READERS = ("tomllib", "tomli", "pip._vendor.tomli")  # the first one came with Python 3.11


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; nothing if there is no such file.

    :raises ValueError: the file is not TOML, or not UTF-8
    """
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    for name in _READERS:
        try:
            reader = importlib.import_module(name)
        except ImportError:
            continue
        try:
            content: dict[str, Any] = reader.loads(text)
        except ValueError as error:
            raise ValueError(f"{path.name} is not TOML: {error}") from error
        return content
    raise ValueError(f"{path.name} cannot be read: this Python has no reader of TOML; install tomli")


def constraints_of(lock: dict[str, Any]) -> list[str]:
    """Return the versions that a uv.lock or poetry.lock names, as lines of a constraints file.

    A package that the lock names more than once, for different platforms, is left to the installer.
    """
    packages = [package for package in lock.get("package", []) if "version" in package]
    times = Counter(package["name"] for package in packages)
    return [_pinned(package) for package in packages if times[package["name"]] == 1 and not _is_local(package)]


def requirements_of(lock: dict[str, Any]) -> list[str]:
    """Return what a poetry.lock installs without groups and extras, as lines of a requirements file."""
    return [_with_marker(package) for package in lock.get("package", []) if _is_main(package)]


def _pinned(package: dict[str, Any]) -> str:
    source = package.get("source", {})
    if source.get("type") == "git":
        return f"{package['name']} @ git+{source['url']}@{source['resolved_reference']}"
    return f"{package['name']}=={package['version']}"


def _is_local(package: dict[str, Any]) -> bool:
    """Tell whether the package comes from elsewhere than an index or, with Poetry, git."""
    source = package.get("source", {})
    if "type" in source:  # Poetry's; a package of PyPI has no source
        return source["type"] not in ("legacy", "git")
    return bool(source) and "registry" not in source


def _is_main(package: dict[str, Any]) -> bool:
    return not package.get("optional", False) and "main" in package.get("groups", ["main"])


def _with_marker(package: dict[str, Any]) -> str:
    marker = package.get("markers", "")
    if isinstance(marker, dict):
        marker = marker.get("main", "")
    return f"{_pinned(package)} ; {marker}" if marker else _pinned(package)


def indexes_of(pyproject: dict[str, Any]) -> list[str]:
    """Return the package indexes that a project made with Poetry names besides PyPI."""
    sources = pyproject.get("tool", {}).get("poetry", {}).get("source", [])
    return [source["url"] for source in sources if "url" in source]
