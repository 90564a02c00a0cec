"""A device server with the packages of the recipes: what `make test-all` makes in .venv-recipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recipes import EXAMPLES
from support.tango_server import SCRIPTS, Database, Oet, Server

RECIPES = Path(__file__).parents[2] / ".venv-recipes" / "bin"
_NAME = "mid-oet/recipes/01"


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second folder in ScriptRoots, for scripts that a test makes."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="session")
def recipes(database: Database, converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oet]:
    """The device of a server that was installed together with what the recipes need."""
    if not (RECIPES / "OetDevice").exists():
        pytest.skip(".venv-recipes is missing: make .venv-recipes/.up-to-date")
    database.add_server("recipes", {_NAME: {"ScriptRoots": [EXAMPLES, SCRIPTS, converted], "StopGracePeriod": 20}})
    command = [str(RECIPES / "OetDevice")]
    server = Server(
        ["recipes", "-ORBendPoint", "giop:tcp:127.0.0.1:0"], tmp_path_factory.mktemp("recipes"), database.host, command
    )
    try:
        oet = Oet(database, _NAME, server)
        yield oet
        oet.close()
        assert server.stop() == 0
    finally:
        server.clean_up()


@pytest.fixture
def oet(recipes: Oet) -> Iterator[Oet]:
    recipes.tidy()
    yield recipes
    recipes.tidy()
