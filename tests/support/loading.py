"""Loading a script into the interpreter of the tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ska_oet_device.procedure.worker import _loader as loader


@pytest.fixture
def own_modules() -> Iterator[None]:
    """Forget what a test has imported, and where from."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def load(tmp_path: Path, own_modules: None) -> Callable[..., ModuleType]:
    """Return what loads a script, given its text and perhaps its name."""

    def load(source: str, name: str = "script.py") -> ModuleType:
        path = tmp_path / name
        path.write_text(source)
        return loader.module_from_source(str(path), path.read_bytes())

    return load
