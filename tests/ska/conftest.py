"""A server for each file, as other devices of the SKA use it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tango
from support.durable import UNHURRIED, Station
from support.tango_server import SCRIPTS, Database, Oet, filesystem, serving

OWN = Path(__file__).parent / "scripts"

_instances = itertools.count(1)


@pytest.fixture(scope="module")
def served(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oet]:
    instance = f"ska-{next(_instances)}"
    properties = {"ScriptRoots": [SCRIPTS, OWN], **UNHURRIED}
    with serving(database, instance, f"mid-oet/{instance}/01", tmp_path_factory.mktemp(instance), **properties) as oet:
        yield oet


@pytest.fixture
def oet(served: Oet) -> Iterator[Oet]:
    """The device, with nothing alive before and after."""
    served.tidy()
    yield served
    served.proxy.adminMode = 0
    served.tidy()


@pytest.fixture
def proxy(oet: Oet) -> tango.DeviceProxy:
    return oet.proxy


@pytest.fixture
def station(database: Database, tmp_path: Path) -> Iterator[Callable[..., Station]]:
    """Return a function that registers and starts a server, which may be broken and started anew."""
    stations: list[Station] = []

    def start(**properties: object) -> Station:
        instance = f"ska-station-{next(_instances)}"
        made = Station(database, instance, tmp_path / instance, {"ScriptRoots": [SCRIPTS, OWN], **properties})
        stations.append(made)
        made.start()
        return made

    yield start
    for each in stations:
        each.clean_up()


@pytest.fixture
def gated(tmp_path: Path) -> Callable[..., str]:
    """Return the argument of RunScript and PrepareScript for scripts/gated.py, which waits for files in `tmp_path`."""

    def argument(*, waits: bool = False, **more: Any) -> str:
        init = {"kwargs": {"folder": str(tmp_path), "waits": waits}}
        return json.dumps({"script": filesystem("gated.py"), "init_args": init, **more})

    return argument
