"""Which Tango database the tests have: OET_TEST_DATABASE is "embedded" (PyDatabaseds, the default) or "mariadb"."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .mariadb import MariaDatabase, shared_server, why_not
from .tango_server import Database

KINDS = ("embedded", "mariadb")
KIND = os.environ.get("OET_TEST_DATABASE") or KINDS[0]


def pytest_configure() -> None:
    """Refuse to run with another database than was asked for."""
    if KIND not in KINDS:
        raise pytest.UsageError(f"OET_TEST_DATABASE is {KIND!r}: it must be one of {', '.join(KINDS)}")
    if KIND == "mariadb" and why_not():
        raise pytest.UsageError(f"OET_TEST_DATABASE is {KIND!r}: {why_not()}")


def pytest_report_header() -> str:
    """Say in the first lines of the report which one it is."""
    return f"Tango database of the tests: {KIND}"


def make_database(folder: Path, *, lasting: bool = False) -> Database:
    """Start an empty Tango database of the kind that is asked for.

    :param folder: for its log, and its file if it has one
    :param lasting: it is to keep its content, and its port, when it is killed and started again
    """
    if KIND == "mariadb":
        return MariaDatabase(folder, shared_server())
    return Database(folder, lasting=lasting)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """An empty Tango database."""
    database = make_database(tmp_path_factory.mktemp("database"))
    yield database
    database.stop()
