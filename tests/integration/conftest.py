"""Fixtures: the main process of an engine with the test as its caller, and scripts for it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from support.main_process import MainProcess
from support.patience import patience

__all__ = ["in_main", "main", "new_main", "patience", "script"]


@pytest.fixture
def new_main():
    """Return how to start a main process; all are ended after the test."""
    made: list[MainProcess] = []

    def new(**options) -> MainProcess:
        made.append(MainProcess(**options))
        return made[-1]

    yield new
    for process in made:
        process.end()


@pytest.fixture
def main(new_main):
    return new_main()


@pytest.fixture
def in_main(tmp_path):
    """Return how to have a main process execute something before all else: its environment for that."""

    def environment(source: str) -> dict[str, str]:
        folder = tmp_path / "in_main"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(
            "import sys\nif '_engine_main' in ' '.join(sys.orig_argv):\n" + textwrap.indent(source, "    ")
        )
        return {"PYTHONPATH": str(folder)}

    return environment


@pytest.fixture
def script(tmp_path):
    """Return how to write a script."""
    count = 0

    def write(source: str, name: str = "") -> Path:
        nonlocal count
        count += 1
        path = tmp_path / (name or f"script{count}.py")
        path.write_text(textwrap.dedent(source))
        return path.resolve()

    return write
