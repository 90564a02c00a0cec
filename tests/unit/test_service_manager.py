"""What main tells systemd arrives in order and is waited for by nobody."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ska_oet_device.service_manager import ServiceManager


class Later:
    """Calls later what it is given, when told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, seconds: float, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)

    def go_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture(params=["path", "name"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@oet-{uuid.uuid4()}"


@pytest.fixture
def listener(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0", 1))
        sock.setblocking(False)
        yield sock


def test_assignments_are_the_lines_of_one_datagram(listener: socket.socket, address: str, later: Later) -> None:
    ServiceManager(address, later).tell("STATUS=it serves", "READY=1")
    assert listener.recv(1000) == b"STATUS=it serves\nREADY=1"
    assert not later.waiting


def test_a_manager_that_is_slow_gets_all_of_it_later_in_order(
    listener: socket.socket, address: str, later: Later
) -> None:
    manager = ServiceManager(address, later)
    sent = [f"STATUS={number}" for number in range(3000)]  # net.unix.max_dgram_qlen is far below
    for text in sent:
        manager.tell(text)
    assert later.waiting
    received = []
    while len(received) < len(sent):
        try:
            received.append(listener.recv(1000).decode())
        except BlockingIOError:
            assert len(later.waiting) == 1
            later.go_on()
    assert received == sent


def test_a_manager_that_is_gone_is_no_trouble(tmp_path: Path, later: Later) -> None:
    manager = ServiceManager(str(tmp_path / "nobody"), later)
    manager.tell("READY=1")
    manager.tell("STOPPING=1")
    assert not later.waiting
