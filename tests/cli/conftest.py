"""A database with one device for each file, and the command that talks to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.databases import make_database
from support.shell import OetCommand
from support.tango_server import SCRIPTS, Oet, Server

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in ScriptRoots, for scripts that a test writes."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Iterator[Oet]:
    """The only OetDevice of a database."""
    folder = tmp_path_factory.mktemp("cli")
    database = make_database(folder)
    try:
        instance = f"cli-{next(_numbers)}"
        name = f"mid-oet/cli/{instance}"
        database.add_server(instance, {name: {"ScriptRoots": [SCRIPTS, scratch], "StopGracePeriod": 0.5}})
        server = Server([instance, "-ORBendPoint", "giop:tcp:127.0.0.1:0"], folder / "server", database.host)
        try:
            oet = Oet(database, name, server)
            oet.ready("good.py")  # events arrive
            oet.tidy()
            yield oet
            oet.close()
            assert server.stop() == 0
        finally:
            server.clean_up()
    finally:
        database.stop()


@pytest.fixture
def tidy(device: Oet) -> Iterator[Oet]:
    """The device with nothing alive, before and after."""
    device.tidy()
    yield device
    device.tidy()


@pytest.fixture(scope="module")
def oet(device: Oet) -> OetCommand:
    """The command."""
    assert device.database is not None
    return OetCommand(device.database.host)
