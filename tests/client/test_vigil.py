"""A connection that carries nothing tells that a server has gone, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from support.ports import free_port
from support.tango_server import SCRIPTS, Server
from support.waiting import wait_until

from ska_oet_device.client import OetClient
from ska_oet_device.client._stack import answers
from ska_oet_device.client._vigil import Vigil, endpoint_of

from .conftest import BIND

GOODBYE = b"GIOP\x01\x00\x01\x05\x00\x00\x00\x00"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


@pytest.fixture
def gone() -> threading.Event:
    return threading.Event()


@pytest.fixture
def vigil(listener: socket.socket, gone: threading.Event) -> Iterator[Vigil]:
    made = Vigil(listener.getsockname(), gone.set)
    yield made
    made.close()


def test_an_end_without_a_word_is_the_servers(listener, vigil, gone):
    connection, _ = listener.accept()
    assert not gone.is_set()
    connection.close()
    assert gone.wait(10)


def test_a_server_that_ends_an_idle_connection_is_connected_to_anew(listener, vigil, gone):
    first, _ = listener.accept()
    first.sendall(GOODBYE)
    first.close()
    second, _ = listener.accept()
    assert not gone.is_set()
    second.close()
    assert gone.wait(10)


def test_one_that_says_goodbye_and_takes_no_connection_any_more_has_gone(listener, vigil, gone):
    connection, _ = listener.accept()
    listener.close()
    connection.sendall(GOODBYE)
    connection.close()
    assert gone.wait(10)


def test_nothing_is_ever_sent(listener, vigil):
    connection, _ = listener.accept()
    with connection:
        vigil.close()
        assert connection.recv(1) == b""


def test_one_that_is_closed_tells_nothing(listener, vigil, gone):
    connection, _ = listener.accept()
    with connection:
        vigil.close()
        vigil.close()
    assert not gone.is_set()
    assert not vigil._thread.is_alive()


@pytest.mark.long
def test_an_idle_connection_of_a_real_server_is_ended_and_made_again(database, tmp_path):
    database.add_server("idle", {"mid-oet/idle/01": {"ScriptRoots": [SCRIPTS]}})
    quick = ["-ORBscanGranularity", "1", "-ORBinConScanPeriod", "1"]
    server = Server(["idle", *BIND, *quick], tmp_path / "idle", database.host)
    url = f"tango://{database.host}/mid-oet/idle/01"
    try:
        wait_until(lambda: answers(url), 30, "the device answers")
        with OetClient(url) as client:
            client.run("good.py").wait(timeout=20)
            vigil = client._feed._subscriptions._vigil
            first = vigil._socket
            wait_until(lambda: vigil._socket not in (None, first), 20, "another connection")
            assert client._feed._subscriptions._vigil is vigil, "the server has not gone"
            assert client.run("good.py").wait(timeout=20).state == "COMPLETE"
        assert server.stop() == 0
    finally:
        server.clean_up()


@pytest.mark.long
def test_a_device_without_a_database_is_watched_too(tmp_path: Path):
    port = free_port()
    name = "mid-oet/nodb/01"
    arguments = ["nodb", "-nodb", "-dlist", name, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    server = Server(arguments, tmp_path / "nodb", None)
    url = f"tango://127.0.0.1:{port}/{name}#dbase=no"
    try:
        wait_until(lambda: answers(url), 30, "the device answers")
        assert endpoint_of(tango.DeviceProxy(url)) == ("127.0.0.1", port)
        with OetClient(url) as client:
            procedure = client.run("hello.py", seconds=0.1)
            assert [event.state for event in procedure.events(timeout=20)][-2:] == ["READY", "COMPLETE"]
            assert procedure.wait(timeout=20).state == "COMPLETE"
        assert server.stop() == 0
    finally:
        server.clean_up()
