"""An observatory of six hosts: the Tango database, three for OetDevice, PostgreSQL, and one for clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hosts import why_not
from support.mariadb import why_not as why_no_mariadb
from support.observatory import Observatory, Site
from support.outpost import Outpost


@pytest.fixture(scope="session")
def possible() -> None:
    """Skips where there can be no hosts."""
    if why := why_not() or why_no_mariadb():
        pytest.skip(why)


@pytest.fixture(scope="module")
def observatory(tmp_path_factory: pytest.TempPathFactory, scripts: Path, possible: None) -> Iterator[Observatory]:
    """Six hosts with their databases."""
    observatory = Observatory(tmp_path_factory.mktemp("observatory"), scripts)
    yield observatory
    observatory.close()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Return a function that notes what was measured, for the report (JUnit's properties); asserts nothing."""

    def note(name: str, value: float) -> None:
        request.node.user_properties.append((name, value))

    return note


@pytest.fixture
def outpost(observatory: Observatory) -> Iterator[Callable[[str], Outpost]]:
    """Return a function that starts one more client on a host."""
    made: list[Outpost] = []

    def start(host: str) -> Outpost:
        made.append(Outpost(observatory.network[host], observatory.environment))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def site(observatory: Observatory, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a function that makes devices; all their servers are ended."""
    made: list[Site] = []

    def make(**properties: Any) -> Site:
        made.append(observatory.site(tmp_path, **properties))
        return made[-1]

    yield make
    for each in made:
        each.clean_up()
