"""A server of two devices whose scripts are checked; it gives scripts little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.tango_server import SCRIPTS, Database, Oet, Server

BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
PROPERTIES = {"StopGracePeriod": 0.5, "LoadTimeout": 30, "MaxMemory": "300 MiB", "SubarrayId": 4}
_NAMES = ("mid-oet/checks/01", "mid-oet/checks/02")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in ScriptRoots, for scripts that a test writes."""
    return tmp_path_factory.mktemp("checked")


@pytest.fixture(scope="session")
def shared(database: Database, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Oet, Oet]]:
    properties = {"ScriptRoots": [SCRIPTS, folder], **PROPERTIES}
    database.add_server("checks", dict.fromkeys(_NAMES, properties))
    server = Server(["checks", *BIND], tmp_path_factory.mktemp("checks"), database.host)
    try:
        both = Oet(database, _NAMES[0], server), Oet(database, _NAMES[1], server)
        yield both
        for each in both:
            each.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


@pytest.fixture
def oet(shared: tuple[Oet, Oet]) -> Iterator[Oet]:
    """The first device: with nothing alive, before and after."""
    shared[0].tidy()
    yield shared[0]
    shared[0].tidy()


@pytest.fixture
def impatient(oet: Oet) -> Callable[[float], AbstractContextManager[None]]:
    """Return what gives the first device another LoadTimeout for a while."""

    return lambda seconds: oet.properties(LoadTimeout=seconds)


@pytest.fixture
def other(shared: tuple[Oet, Oet]) -> Oet:
    """The second device of the server."""
    return shared[1]


@pytest.fixture
def script(folder: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Write a script; returns its name."""

    def write(text: str) -> str:
        name = f"{request.node.name.partition('[')[0]}_{len(list(folder.iterdir()))}.py"
        (folder / name).write_text(text)
        return name

    return write
