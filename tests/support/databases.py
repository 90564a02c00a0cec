"""The Tango database of the tests of a folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .tango_server import Database


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """An empty Tango database."""
    database = Database(tmp_path_factory.mktemp("database"))
    yield database
    database.stop()
