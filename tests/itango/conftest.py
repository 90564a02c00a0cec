"""One Tango system for the tests of the shell: database, device server, simulated mount, as `make up` has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import tango
from support.pty_shell import PtyShell, pty_shell
from support.tango_server import TERMINAL, program
from support.waiting import wait_until

from ska_oet_device.client._stack import Stack

Terminal = Callable[..., AbstractContextManager[PtyShell]]


@pytest.fixture
def device(up: Stack) -> tango.DeviceProxy:
    return tango.DeviceProxy(up.device)


@pytest.fixture(autouse=True)
def _nothing_lives(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test that has a device leaves it with nothing alive."""
    if "up" not in request.fixturenames:
        yield
        return
    device = request.getfixturevalue("device")

    def living() -> list[int]:
        return [found["id"] for found in json.loads(device.Summarise([])) if found["state"] not in TERMINAL]

    yield
    for uid in living():
        device.Stop(json.dumps({"process_uid": uid, "run_abort": False}))
    wait_until(lambda: not living(), what="nothing lives")


@pytest.fixture
def environment(up: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a user of the stack has: its database, and a home and settings of IPython that nobody else uses."""
    home = tmp_path_factory.mktemp("home")
    return {"TANGO_HOST": up.tango_host, "HOME": str(home), "IPYTHONDIR": str(home / "ipython")}


@pytest.fixture(params=["itango", pytest.param("ipython", marks=pytest.mark.long)])
def terminal(request: pytest.FixtureRequest, environment: dict[str, str]) -> Terminal:
    """Open a shell in a terminal, with the magics loaded."""

    def open_shell(columns: int = 100) -> AbstractContextManager[PtyShell]:
        command = [program(request.param), "--no-banner", "--ext=ska_oet_device.itango", "--colors=NoColor"]
        return pty_shell(command, environment, columns)

    return open_shell


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the shell begins."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own_scripts(device: tango.DeviceProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is the device's ScriptRoots meanwhile."""
    folder = tmp_path_factory.mktemp("scripts")
    device.put_property({"ScriptRoots": [str(folder)]})
    device.Init()
    yield folder
    device.delete_property("ScriptRoots")
    device.Init()
