"""A server for each file, and the client under test: synchronous, or asynchronous behind the same face."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tango
from support.durable import UNHURRIED
from support.leaks import outlives_the_test
from support.tango_server import SCRIPTS, TERMINAL, Database, Server
from support.waiting import wait_until
from tango.green import get_thread_pool_executor

from ska_oet_device.client import AsyncOetClient, AsyncProcedure, OetClient
from ska_oet_device.client._stack import answers

BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
OWN = Path(__file__).parent / "scripts"

_instances = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _pool() -> None:
    """PyTango's threads for asyncio, once made, stay."""
    with outlives_the_test():
        pool = get_thread_pool_executor()
        list(pool.map(abs, range(40)))


@pytest.fixture(scope="module")
def server(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one device; its name is `server.device`."""
    instance = f"client-{next(_instances)}"
    name = f"mid-oet/{instance}/01"
    properties = {"ScriptRoots": [SCRIPTS, OWN], "SubarrayId": 1, **UNHURRIED}
    database.add_server(instance, {name: properties})
    made = Server([instance, *BIND], tmp_path_factory.mktemp(instance), database.host)
    made.device = f"tango://{database.host}/{name}"
    try:
        wait_until(lambda: answers(made.device), 30, "the device answers")
        yield made
        assert made.stop() == 0
    finally:
        made.clean_up()


@pytest.fixture
def device(server: Server) -> Iterator[str]:
    """The name of the device, on which nothing lives before and after."""
    _tidy(server.device)
    yield server.device
    _tidy(server.device)


def _tidy(device: str) -> None:
    proxy = tango.DeviceProxy(device)

    def living() -> list[int]:
        return [found["id"] for found in json.loads(proxy.Summarise([])) if found["state"] not in TERMINAL]

    for uid in living():
        proxy.Stop(json.dumps({"process_uid": uid, "run_abort": False}))
    wait_until(lambda: not living(), 20, "all procedures have ended")


@pytest.fixture
def client(device: str) -> Iterator[OetClient]:
    with OetClient(device, user="tester") as client:
        yield client


class Blocking:
    """An asynchronous client, procedure or iterator that looks like the synchronous one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, inner: Any) -> None:
        self._loop = loop
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._block(found(*args, **kwargs))

        return call() if name in ("state", "progress", "active") else call

    def _block(self, result: Any) -> Any:
        if asyncio.iscoroutine(result):
            result = self._loop.run_until_complete(result)
        if isinstance(result, list):
            return [self._block(item) for item in result]
        is_face = isinstance(result, AsyncProcedure) or hasattr(result, "__anext__")
        return Blocking(self._loop, result) if is_face else result

    def __iter__(self) -> Blocking:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.run_until_complete(self._inner.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        closing = self._inner.aclose if hasattr(self._inner, "aclose") else self._inner.close
        self._loop.run_until_complete(closing())


@pytest.fixture(params=["sync", "async"])
def either(request: pytest.FixtureRequest, device: str) -> Iterator[Any]:
    """A client, of each kind in turn, which are used alike."""
    if request.param == "sync":
        with OetClient(device, user="tester") as client:
            yield client
        return
    loop = asyncio.new_event_loop()
    client = AsyncOetClient(device, user="tester")
    try:
        yield Blocking(loop, client)
    finally:
        loop.run_until_complete(client.close())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
