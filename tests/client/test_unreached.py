"""What cannot be reached is named, and no OetDevice is taken for one."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tango
from support.databases import make_database
from support.processes import stopped
from support.tango_server import SCRIPTS, Database, Server
from support.waiting import wait_until

from ska_oet_device.client import NoDevice, OetClient, UnreachableError, why_absent


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes no connection, and refuses none."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_database_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANGO_HOST", "127.0.0.1:1")
    monkeypatch.delenv("OET_DEVICE", raising=False)
    says = r"^the Tango database 127\.0\.0\.1:1 does not answer: .*refused"
    with pytest.raises(UnreachableError, match=says):
        OetClient()
    with OetClient("mid-oet/subarray/01") as client, pytest.raises(UnreachableError, match=says):
        client.summaries()


def test_one_that_is_silent_is_given_up_within_the_clients_own_time(silent_port: int) -> None:
    device, says = f"tango://127.0.0.1:{silent_port}/mid-oet/subarray/01", f":{silent_port} does not answer: timed out"
    with OetClient(device, timeout=0.2) as client, pytest.raises(UnreachableError, match=says):
        client.health()


def test_a_database_that_nobody_names_is_said_so_unless_tangorc_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANGO_HOST", raising=False)
    named = tango.ApiUtil.get_env_var("TANGO_HOST")  # as ~/.tangorc and /etc/tangorc have it
    says = f"the Tango database {named} does not answer" if named else "TANGO_HOST is not set"
    with OetClient("mid-oet/subarray/01", timeout=0.5) as client, pytest.raises(UnreachableError, match=says):
        client.summaries()


def test_a_host_without_a_port_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANGO_HOST", "somewhere")
    says = "TANGO_HOST is somewhere, and not"
    with OetClient("mid-oet/subarray/01") as client, pytest.raises(UnreachableError, match=says):
        client.summaries()


def test_a_device_whose_server_does_not_run_is_named_with_its_database(database: Database) -> None:
    database.add_server("nobody", {"mid-oet/nobody/01": {}})
    for device, says in (
        ("mid-oet/nobody/01", r"mid-oet/nobody/01 does not run: its server OetDevice/nobody is not started \(.*"),
        ("no/such/device", "no/such/device not defined in the database"),
    ):
        with OetClient(f"tango://{database.host}/{device}") as client:
            for _ in range(2):  # Tango itself says of the second one that it was delayed
                with pytest.raises(UnreachableError, match=f"{says}.*{re.escape(database.host)}") as raised:
                    client.summaries()
                assert "delayed" not in str(raised.value)


def test_a_device_of_another_class_is_no_oet_device(database: Database) -> None:
    with OetClient(f"tango://{database.host}/sys/database/2") as client:
        for ask in (
            client.summaries,
            client.health,
            lambda: client.active,
            lambda: client.run("good.py"),
            lambda: client.stop(),
            lambda: client.procedure(1),
            lambda: list(client.history()),
            lambda: next(client.follow(timeout=5)),
        ):
            with pytest.raises(NoDevice, match=r"sys/database/2 is a DataBase, not an OetDevice"):
                ask()


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[tuple[Database, Server, str]]:
    """A database, a server that has run and does not any more, and the name of its device."""
    database = make_database(tmp_path)
    try:
        database.add_server("ended", {"mid-oet/ended/01": {"ScriptRoots": [SCRIPTS]}})
        server = Server(["ended", "-ORBendPoint", "giop:tcp:127.0.0.1:0"], tmp_path / "server", database.host)
        try:
            device = f"tango://{database.host}/mid-oet/ended/01"
            wait_until(lambda: _answers(device), 30, "the device answers")
            yield database, server, device
        finally:
            server.clean_up()
    finally:
        database.stop()


def _answers(device: str) -> bool:
    with OetClient(device) as client, contextlib.suppress(UnreachableError):
        client.summaries()
        return True
    return False


def test_a_device_whose_server_has_ended_in_order_is_said_not_to_run(
    ended: tuple[Database, Server, str],
) -> None:
    database, server, device = ended
    with OetClient(device, timeout=3) as known:
        known.summaries()
        assert server.stop() == 0
        says = rf"^{device} does not run: its server OetDevice/ended .*{database.host} knows it as ended since \d"
        with OetClient(device) as client:
            for ask in (client.summaries, lambda: client.run("good.py"), client.stop, client.health, known.summaries):
                with pytest.raises(UnreachableError, match=says):
                    ask()


def test_a_server_that_was_killed_takes_no_connection_and_the_database_says_where_it_was(
    ended: tuple[Database, Server, str],
) -> None:
    _, server, device = ended
    server.clean_up()
    says = r"does not answer: its server OetDevice/ended takes no connection \(.* has it as process \d+ on \S+ since \d"
    with OetClient(device) as client, pytest.raises(UnreachableError, match=says):
        client.summaries()


def test_a_database_that_hangs_as_soon_as_it_is_reached_holds_up_the_asking_thread_alone(
    ended: tuple[Database, Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, _, device = ended
    made = tango.Database
    with contextlib.ExitStack() as until_the_end:

        def reached(*place: Any) -> tango.Database:
            found = made(*place)
            until_the_end.enter_context(stopped(database.pid))
            return found

        monkeypatch.setattr("ska_oet_device.client._absent.tango.Database", reached)
        began = time.monotonic()
        assert why_absent(device, 2) is None
        assert time.monotonic() - began < 8, "with Python's lock in Tango's hands it is 90 s"


def test_a_database_that_hangs_is_asked_no_longer_than_the_client_waits(ended: tuple[Database, Server, str]) -> None:
    database, _, device = ended
    with stopped(database.pid):
        began = time.monotonic()
        assert why_absent(device, 0.5) is None
        assert time.monotonic() - began < 8, "Tango itself takes 9 s"
