"""Whoever may only read may look and stop: each command of the device is on one list or on the other."""

from __future__ import annotations

from ska_oet_device.procedure.ui.device import OetDevice
from ska_oet_device.site_files import CHANGERS_COMMANDS, READERS_COMMANDS

OF_EVERY_DEVICE = {"Init", "State", "Status"}
STOPS = {"Abort", "Stop", "StopActive", "StopSelected"}
STILL_TO_COME = {
    "Abort",
    "CheckLongRunningCommandStatus",
    "PrepareScript",
    "PrepareSelected",
    "RunScript",
    "RunSelected",
    "StartScript",
    "StartSelected",
    "StopActive",
    "StopSelected",
}
"""In the contract's plan; Tango does not mind names that a device has not (yet)."""


def test_each_command_of_the_device_is_a_readers_or_changes_something():
    readers, changers = set(READERS_COMMANDS), set(CHANGERS_COMMANDS)
    assert not readers & changers
    commands = {*OetDevice.TangoClassClass.cmd_list, *OF_EVERY_DEVICE}
    assert commands - readers - changers == set(), "say in site_files/access.py who may call it"
    assert (readers | changers) - commands <= STILL_TO_COME


def test_the_lists_have_no_name_twice():
    for names in (READERS_COMMANDS, CHANGERS_COMMANDS):
        assert len(names) == len({name.lower() for name in names})


def test_a_reader_may_use_every_stop():
    assert set(READERS_COMMANDS) >= STOPS
    assert {name for name in (*READERS_COMMANDS, *CHANGERS_COMMANDS) if name.startswith(("Stop", "Abort"))} == STOPS
