"""How a client is called in the audit."""

from __future__ import annotations

import os
from types import SimpleNamespace

from ska_oet_device.procedure.ui import _clients
from ska_oet_device.procedure.ui._clients import ClientNames


def ident(ip="giop:unix:/tmp/omni", pid=None, language="CPP"):
    return SimpleNamespace(client_ident=True, client_ip=ip, client_pid=pid or os.getpid(), client_lang=language)


def test_one_on_this_machine_is_called_by_its_program():
    with open("/proc/self/comm") as file:
        program = file.read().strip()
    assert ClientNames().name_of(ident()) == f"{program} pid {os.getpid()} on host {os.uname().nodename}"


def test_one_elsewhere_is_called_by_its_language_and_address():
    assert ClientNames().name_of(ident("giop:tcp:10.1.2.3:4567", 42, "JAVA")) == "java pid 42 on host 10.1.2.3"
    assert ClientNames().name_of(ident("giop:tcp:[fe80::1]:4567", 42)) == "cpp pid 42 on host fe80::1"


def test_nobody_has_no_name():
    assert ClientNames().name_of(None) == ""
    assert ClientNames().name_of(SimpleNamespace(client_ident=False)) == ""


def test_it_is_found_out_again_after_a_while(monkeypatch):
    asked = []
    monkeypatch.setattr(_clients, "_name", lambda *key: asked.append(key) or "name")
    names, now = ClientNames(), [100.0]
    monkeypatch.setattr(_clients.time, "monotonic", lambda: now[0])
    for now[0] in (100.0, 104.0, 106.0, 107.0):
        assert names.name_of(ident()) == "name"
    assert len(asked) == 2


def test_not_more_are_known_than_can_be_of_use(monkeypatch):
    monkeypatch.setattr(_clients, "_MOST_KNOWN", 10)
    names = ClientNames()
    for pid in range(1, 40):
        names.name_of(ident("giop:tcp:10.1.2.3:1", pid))
    assert len(names._known) <= 10
