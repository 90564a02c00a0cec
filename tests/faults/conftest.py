"""The environment of the fault suite: OET_FAULT_ROUNDS rounds, from the seed OET_FAULT_SEED."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.databases import make_database
from support.tango_server import Database

ROUNDS = int(os.environ.get("OET_FAULT_ROUNDS", "6"))
SEED = int(os.environ.get("OET_FAULT_SEED", "20261122"))


@pytest.fixture(scope="session")
def rounds() -> int:
    return ROUNDS


@pytest.fixture(scope="session")
def seed() -> int:
    return SEED


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A Tango database in a file, on a port that stays, so that it can be killed and started again."""
    database = make_database(tmp_path_factory.mktemp("database"), lasting=True)
    yield database
    database.stop()
