"""What poetry.lock and a pyproject.toml say that uv does not read itself."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; nothing if there is no such file.

    :raises ValueError: the file is not TOML, or not UTF-8
    """
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} is not TOML: {error}") from error


def constraints_of(lock: dict[str, Any]) -> list[str]:
    """Return the versions that a poetry.lock names, as lines of a constraints file.

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
    """Tell whether the package comes from elsewhere than an index or git."""
    source = package.get("source", {})  # a package of PyPI has none
    return bool(source) and source["type"] not in ("legacy", "git")


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
