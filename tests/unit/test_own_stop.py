"""Whom a Stop without an id has stopped is told although the audit has it a moment later."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ska_oet_device.client import Request, UnreachableError, _own_stop, newest_stopped

OWN = f"oet pid {os.getpid()} on host vm"


def stop_of(uid: int, client: str = OWN, command: str = "Stop") -> Request:
    return Request(uid, 1.0, command, client, None, uid, "accepted")


class Client:
    """A client whose audit is another one at each look; the last stays."""

    def __init__(self, *looks: list[Request] | Exception) -> None:
        self._looks = list(looks)

    def requests(self, limit: int) -> Iterator[Request]:
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if isinstance(look, Exception):
            raise look
        return iter(look[:limit])


def test_one_that_is_not_in_the_audit_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_own_stop, "_PATIENCE", 60.0)
    others = [stop_of(3, "oet pid 1 on host vm"), stop_of(4, command="Run")]
    assert newest_stopped(Client(others, others, [stop_of(7), *others]), []) == 7


def test_that_an_abort_script_is_prepared_is_none():
    assert newest_stopped(Client([stop_of(8), stop_of(7)]), [8]) == 7


def test_where_it_never_comes_it_is_not_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_own_stop, "_PATIENCE", 0.3)
    assert newest_stopped(Client([stop_of(3, f"oet pid {os.getpid()}0 on host vm")]), []) is None


def test_where_the_audit_cannot_be_had_it_is_not_told():
    assert newest_stopped(Client([], UnreachableError("the device does not answer")), []) is None
