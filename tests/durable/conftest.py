"""Servers that are broken and started again, each with a state folder that stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.databases import make_database
from support.durable import Station
from support.tango_server import Database

_instances = itertools.count(1)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """An empty Tango database."""
    database = make_database(tmp_path_factory.mktemp("database"))
    yield database
    database.stop()


@pytest.fixture
def station(database: Database, scripts: Path, tmp_path: Path) -> Iterator[Callable[..., Station]]:
    """Return a function that registers and starts a server; all are ended, whatever became of them."""
    stations: list[Station] = []

    def start(command: list[str] | None = None, **properties: object) -> Station:
        instance = f"durable-{next(_instances)}"
        made = Station(database, instance, tmp_path / instance, {"ScriptRoots": [scripts], **properties})
        stations.append(made)
        made.start(command)
        return made

    yield start
    for each in stations:
        each.clean_up()
