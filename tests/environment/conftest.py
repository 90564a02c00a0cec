"""A store of its own for each test, a folder of wheels instead of an index, and no network."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.packages import make_wheel

from ska_oet_device.procedure.environment.manager import EnvironmentManager


@pytest.fixture(autouse=True)
def wheels(tmp_path, monkeypatch) -> Path:
    """The only place that installers find packages in: shared 1.0 and 2.0, user 1.0 which needs shared."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "wheels"
    folder.mkdir()
    make_wheel(folder, "shared", "1.0")
    make_wheel(folder, "shared", "2.0")
    make_wheel(folder, "user", "1.0", needs=("shared>=1",))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_OFFLINE", "1")
    return folder


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "environments"


@pytest.fixture
def manager(store):
    manager = EnvironmentManager(base_dir=store)
    yield manager
    manager.close()


@pytest.fixture
def ask():
    """Ask the interpreter of an environment for the value of an expression, without our PYTHONPATH."""

    def ask(environment, expression, imports="sys"):
        code = f"import json, {imports}; print(json.dumps({expression}))"
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, env=clean, check=True)
        return json.loads(done.stdout)

    return ask
