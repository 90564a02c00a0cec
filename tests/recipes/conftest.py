"""A device server with the packages of the recipes: what `make test-all` makes in .venv-recipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recipes import EXAMPLES
from support.tango_server import SCRIPTS, Database, Oet, serving

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
    folder, command = tmp_path_factory.mktemp("recipes"), [str(RECIPES / "OetDevice")]
    properties = {"ScriptRoots": [EXAMPLES, SCRIPTS, converted], "StopGracePeriod": 20}
    with serving(database, "recipes", _NAME, folder, command=command, **properties) as oet:
        yield oet


@pytest.fixture
def oet(recipes: Oet) -> Iterator[Oet]:
    recipes.tidy()
    yield recipes
    recipes.tidy()
