"""A server that publishes where another one did before, of which Tango's client in this process still thinks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from support.connection import until_connected
from support.ports import free_port
from support.tango_server import SCRIPTS, Database, Server
from support.waiting import wait_until

from ska_oet_device.client import FleetFeed, OetClient
from ska_oet_device.client._stack import answers

from .conftest import BIND

pytestmark = pytest.mark.long

_instances = itertools.count(1)
_CHANGE = tango.EventType.CHANGE_EVENT


@pytest.fixture
def devices(database: Database, tmp_path: Path) -> Iterator[list[str]]:
    """The names of two devices of one server, of which a subscription in this process hears nothing."""
    port = {"TANGO_ZMQ_EVENT_PORT": str(free_port())}
    former, subscription = _subscribed_to_one_that_has_gone(tmp_path, port)
    instance = f"publisher-{next(_instances)}"
    names = [f"mid-oet/{instance}/{number:02}" for number in (1, 2)]
    database.add_server(instance, {name: {"ScriptRoots": [SCRIPTS]} for name in names})
    server = Server([instance, *BIND], tmp_path / "later", database.host, None, port)
    urls = [f"tango://{database.host}/{name}" for name in names]
    try:
        wait_until(lambda: all(map(answers, urls)), 30, "the devices answer")
        yield urls
        former.unsubscribe_event(subscription)
        assert server.stop() == 0
    finally:
        server.clean_up()


def _subscribed_to_one_that_has_gone(folder: Path, environment: dict[str, str]) -> tuple[tango.DeviceProxy, int]:
    name = "mid-oet/former/01"
    port = free_port()
    arguments = ["former", "-nodb", "-dlist", name, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    server = Server(arguments, folder / "former", None, None, environment)
    url = f"tango://127.0.0.1:{port}/{name}#dbase=no"
    try:
        wait_until(lambda: answers(url), 30, "the former device answers")
        proxy = tango.DeviceProxy(url)
        subscription = proxy.subscribe_event("State", _CHANGE, lambda _: None)
        until_connected(proxy)
        assert server.stop() == 0
    finally:
        server.clean_up()
    return proxy, subscription


def test_it_is_heard_from_the_second_subscription_on(devices):
    """What the contract says of Tango's client; should the first one be heard, `_publisher` is needed no more."""
    proxy = tango.DeviceProxy(devices[0])
    subscription = proxy.subscribe_event("State", _CHANGE, lambda _: None)
    with pytest.raises(AssertionError, match="no subscription has reached"):
        until_connected(proxy, 1)
    proxy.unsubscribe_event(subscription)
    subscription = proxy.subscribe_event("State", _CHANGE, lambda _: None)
    until_connected(proxy)
    proxy.unsubscribe_event(subscription)


def test_the_client_hears_it(devices):
    with OetClient(devices[0]) as first, OetClient(devices[1]) as second:
        for client in (first, second):
            assert client.run("good.py").wait(timeout=30).state == "COMPLETE"
        for device in devices:
            until_connected(tango.DeviceProxy(device))  # by the connection that the clients have made


def test_the_fleet_hears_it(devices, database, monkeypatch):
    monkeypatch.setenv("TANGO_HOST", database.host)
    names = [device.removeprefix(f"tango://{database.host}/") for device in devices]
    feed = FleetFeed(lambda _: None, names, timeout=20)
    try:
        assert feed.begin() == names
        wait_until(lambda: all(feed._members[name].subscriptions for name in names), 30, "all are subscribed to")
        for device in devices:
            until_connected(tango.DeviceProxy(device))
    finally:
        feed.close()
