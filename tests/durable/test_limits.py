"""Limits of a procedure: each failure names its limit, and nobody else is harmed."""

from __future__ import annotations

import time

import pytest
import tango
from support.audit import requests_since
from support.durable import Station
from support.tango_server import is_alive
from support.waiting import wait_until


@pytest.fixture(scope="module")
def made(database, scripts, tmp_path_factory):
    """A server for all tests of this module."""
    folder = tmp_path_factory.mktemp("limits")
    limits = {"MaxMemory": 64, "MaxProcedures": 3}
    made = Station(database, "limits", folder, {"ScriptRoots": [scripts], **limits})
    try:
        made.start()
        yield made
    finally:
        made.clean_up()


@pytest.mark.parametrize("size", [100, 1024, 1024 * 1024, 2**33])
def test_MaxMemory_is_named_whatever_the_size_of_the_last_straw(made, tmp_path, size):
    uid = made.oet.run("eats.py", size=size)
    summary = made.wait_for(uid, "FAILED", seconds=30)
    reason = summary["history"]["exit"]["reason"]
    assert "MemoryError" in reason
    assert "MaxMemory is 64 MiB" in reason
    assert "MemoryError" in summary["history"]["stacktrace"]
    assert made.wait_for(made.oet.run("quick.py"), "COMPLETE")


def test_RunTimeout_is_named(made):
    with made.oet.properties(RunTimeout=3):  # here alone: a busy machine takes longer for what the others do
        uid = made.oet.run("waits.py")
        reason = made.wait_for(uid, "FAILED", seconds=30)["history"]["exit"]["reason"]
    assert reason == "RUNNING took longer than RunTimeout (3 s)"


def test_MaxProcedures_is_named(made):
    uids = [made.oet.prepare("quick.py") for _ in range(3)]
    with pytest.raises(tango.DevFailed, match=r"3 procedures are alive, and MaxProcedures is 3 \[OET_TooMany\]"):
        made.oet.prepare("quick.py")
    for uid in uids:
        made.oet.stop(uid)
        made.wait_for(uid, "STOPPED")
    assert made.wait_for(made.oet.run("quick.py"), "COMPLETE")


@pytest.mark.parametrize("session", [False, True])
def test_a_hundred_children_end_with_their_procedure(made, tmp_path, session):
    path = tmp_path / "children"
    uid = made.oet.run("children.py", path=str(path), session=session)
    children = list(map(int, wait_until(lambda: path.exists() and path.read_text(), 20).split()))
    made.oet.stop(uid)
    summary = made.wait_for(uid, "STOPPED", "FAILED", seconds=20)
    wait_until(lambda: not any(map(is_alive, children)), 10, "no child is left")
    if session:
        assert set(summary["history"]["exit"]["reaped"]) == set(children)
    wait_until(lambda: made.health() == "OK", 20, "healthState is OK")


def test_the_audit_names_the_limit_too(made):
    uids = [made.oet.prepare("quick.py") for _ in range(3)]
    began = time.time()
    with pytest.raises(tango.DevFailed):
        made.oet.prepare("quick.py")
    (newest,) = requests_since(made.proxy, began)
    assert "MaxProcedures is 3" in newest["answer"]
    for uid in uids:
        made.oet.stop(uid)
        made.wait_for(uid, "STOPPED")
