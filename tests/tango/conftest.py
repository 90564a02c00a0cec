"""One database and one server for most tests; servers of their own for those that end or break one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.tango_server import FIRST, SCRIPTS, SECOND, Database, Oet, Server

_instances = itertools.count(1)

BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
# A script that ends when it is told to has ended within its grace period also on a busy machine, and is not killed.
QUICK = {"StopGracePeriod": 3, "LoadTimeout": 20, "InitTimeout": 20}


def script_messages(oet: Oet, sequence: int = 0) -> list[dict[str, Any]]:
    """Return all messages of scripts that are kept, behind a number: a busy device puts fewer into one answer."""
    found: list[dict[str, Any]] = []
    while page := json.loads(oet.proxy.ScriptEvents(sequence)):
        found += page
        sequence = page[-1]["sequence"]
    return found


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second folder in ScriptRoots, for scripts that a test writes."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="session")
def shared(
    database: Database, scratch: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Oet, Oet]]:
    """A server with two devices that lives as long as the tests do."""
    properties = {"ScriptRoots": [SCRIPTS, scratch], **QUICK}
    database.add_server("shared", {FIRST: properties, SECOND: properties})
    server = Server(["shared", *BIND], tmp_path_factory.mktemp("shared"), database.host)
    try:
        first, second = Oet(database, FIRST, server), Oet(database, SECOND, server)
        for each in (first, second):
            each.ready("good.py")  # events arrive
            each.tidy()
        yield server, first, second
        for each in (first, second):
            each.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


@pytest.fixture
def server(shared: tuple[Server, Oet, Oet]) -> Server:
    return shared[0]


@pytest.fixture
def oet(shared: tuple[Server, Oet, Oet]) -> Iterator[Oet]:
    """The first device of the shared server: with nothing alive, before and after."""
    yield from _tidied(shared[1])


@pytest.fixture
def impatient(oet: Oet) -> Iterator[Oet]:
    """The first device, which soon kills what does not end."""
    with oet.properties(StopGracePeriod=0.5):
        yield oet


@pytest.fixture
def other(shared: tuple[Server, Oet, Oet]) -> Iterator[Oet]:
    """The second device of the shared server."""
    yield from _tidied(shared[2])


def _tidied(oet: Oet) -> Iterator[Oet]:
    oet.tidy()
    yield oet
    oet.tidy()


@pytest.fixture
def own_server(database: Database, tmp_path: Path) -> Iterator[Callable[..., Oet]]:
    """Start a server for one test; it is ended, and looked after, when the test is over."""
    servers: list[Server] = []
    clients: list[Oet] = []

    def start(command: list[str] | None = None, environment: dict[str, str] | None = None, **properties: Any) -> Oet:
        instance = f"own-{next(_instances)}"
        name = f"mid-oet/subarray/{instance}"
        database.add_server(instance, {name: {"ScriptRoots": [SCRIPTS], "SubarrayId": 7, **QUICK, **properties}})
        server = Server([instance, *BIND], tmp_path / instance, database.host, command, environment)
        servers.append(server)
        oet = Oet(database, name, server)
        clients.append(oet)
        oet.ready("good.py")
        oet.tidy()
        return oet

    yield start
    for client in clients:
        client.close()
    try:
        for server in servers:
            if not server.has_ended:
                assert server.stop() == 0
    finally:
        for server in servers:
            server.clean_up()
