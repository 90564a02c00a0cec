"""When the moment of one of Python's helpers is over: never in the middle of a look, nor before others have ended."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import pytest
from support.waiting import wait_until

from ska_oet_device.mptools import stat_of
from ska_oet_device.procedure.supervision import _helpers
from ska_oet_device.procedure.supervision._helpers import LONGEST_MOMENT, Helpers

ANOTHER = (1, 1)
"""Id and start of a process that was left behind, too."""


@pytest.fixture
def clock(monkeypatch):
    """What the helpers take for the time, in seconds: `clock.now`."""
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(_helpers, "time", clock)
    return clock


@pytest.fixture
def helper():
    """Id and state of a process that says that it is a helper, and sleeps."""
    code = "print(flush=True); import time; time.sleep(600)"
    argv = [sys.executable, "-c", code, "from multiprocessing.resource_tracker import main;main(7)"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_until(lambda: (stat := stat_of(process.pid)) is not None and stat.state == "S", 20, "it sleeps")
        yield process.pid, stat_of(process.pid)
        process.kill()


@pytest.fixture
def found(helper, clock):
    helpers = Helpers()
    helpers.look_for([helper], clock.now + 10)
    return helpers


def test_it_is_not_over_in_the_look_in_which_it_has_begun(found, helper, clock):
    clock.now += 1
    assert found.is_spared(*helper)
    assert found.is_in(helper[1].group)


def test_it_is_over_in_a_later_look_if_nobody_else_is_left(found, helper, clock):
    clock.now += 1
    found.begin_look([(helper[0], helper[1].start)])
    assert not found.is_spared(*helper)
    assert not found.is_in(helper[1].group)


def test_it_is_not_over_while_another_one_lives_but_for_so_long(found, helper, clock):
    clock.now += 1
    found.begin_look([ANOTHER])
    assert found.is_spared(*helper)
    assert found.is_in(helper[1].group)
    clock.now += LONGEST_MOMENT
    found.begin_look([ANOTHER])
    assert not found.is_spared(*helper)
    assert not found.is_in(helper[1].group)


def test_one_that_runs_is_spared_but_for_so_long(found, helper, clock):
    pid, stat = helper
    clock.now += 1
    found.begin_look([])
    runs = dataclasses.replace(stat, state="R")
    assert found.is_spared(pid, runs)
    assert found.is_in(stat.group)
    clock.now += LONGEST_MOMENT
    found.begin_look([])
    assert not found.is_spared(pid, runs)


def test_one_that_has_no_command_line_yet_is_spared_until_it_shows_what_it_is(helper, clock, monkeypatch):
    pid, stat = helper
    lines = {pid: b""}
    monkeypatch.setattr(_helpers, "command_line_of", lambda pid: lines[pid])
    helpers = Helpers()
    helpers.look_for([helper], clock.now + 10)
    assert helpers.is_spared(pid, stat)
    lines[pid] = b"python\0-c\0from multiprocessing.resource_tracker import main;main(7)\0"
    assert helpers.is_spared(pid, stat)
    lines[pid] = b"sleep\x00600\x00"
    assert not helpers.is_spared(pid, stat)
    assert not helpers.is_in(stat.group)
