"""A device server, and TangoGQL, through which Taranta shows it: what `make test-all` makes in .venv-taranta."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dashboards import Dashboard, dashboards
from support.durable import UNHURRIED
from support.tango_server import FIRST, SCRIPTS, Database, Oet, serving_registered
from support.tangogql import MISSING, PROGRAMS, TangoGql


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A Tango database for this folder alone: dashboards name devices that other tests register, too."""
    database = Database(tmp_path_factory.mktemp("taranta-database"))
    yield database
    database.stop()


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second folder in ScriptRoots, for scripts that a test writes."""
    return tmp_path_factory.mktemp("taranta-scratch")


@pytest.fixture(scope="session")
def shared(database: Database, scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oet]:
    """The first device of a server that has every device of every dashboard."""
    names = {FIRST, *(device for path in dashboards() for device in Dashboard(path).devices)}
    properties = {
        "ScriptRoots": [SCRIPTS, scratch],
        "GitRepositories": "https://allowed.invalid/",
        **UNHURRIED,
    }
    database.add_server("taranta", dict.fromkeys(sorted(names), properties))
    with serving_registered(database, "taranta", FIRST, tmp_path_factory.mktemp("taranta-server")) as oet:
        yield oet


@pytest.fixture(scope="session")
def tangogql(shared: Oet, database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TangoGql]:
    """One TangoGQL for all tests, as a control room has one for all browsers."""
    if not (PROGRAMS / "uvicorn").exists():
        pytest.skip(MISSING)
    with TangoGql(database.host, tmp_path_factory.mktemp("tangogql")) as tangogql:
        yield tangogql


@pytest.fixture
def oet(shared: Oet, tangogql: TangoGql) -> Iterator[Oet]:
    """The device, with nothing alive before and after."""
    shared.tidy()
    yield shared
    shared.tidy()
