"""The settings, against the contract's table of device properties."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import ska_oet_device
from ska_oet_device.config import LARGEST_ARGUMENT, Settings, state_directory

# Property and default as in the contract's table; limits in bytes, times in seconds, "" and () for none.
CONTRACT = {
    "ScriptRoots": (str(Path(ska_oet_device.__file__).parent / "examples"),),
    "GitRepositories": ("https://gitlab.com/ska-telescope/",),
    "SubarrayId": 1,
    "AbortScript": "",
    "StopGracePeriod": 5,
    "LoadTimeout": 60,
    "InitTimeout": 60,
    "EnvironmentTimeout": 600,
    "RunTimeout": 0,
    "MaxProcedures": 64,
    "HistoryLength": 100,
    "SpareWorkers": 2,
    "Preload": (),
    "MaxMemory": 0,
    "MaxOutput": 64 * 1024 * 1024,
    "HistoryUrl": "",
    "StateDirectory": "",
}


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("name", CONTRACT)
def test_the_default_is_that_of_the_contract(name):
    assert getattr(Settings(), snake_case(name)) == CONTRACT[name]


def test_there_is_no_setting_that_the_contract_lacks():
    # What the durable history and the environments need beside it.
    ours = {"history_days", "git_token_file", "environment_days", "environment_quota", "alarm_on_failure"}
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert fields - ours == {snake_case(name) for name in CONTRACT}


def test_the_deadlines_go_by_the_names_of_their_properties():
    settings = Settings(load_timeout=1, init_timeout=2, environment_timeout=3, run_timeout=4)
    assert settings.timeouts == {"LoadTimeout": 1, "InitTimeout": 2, "EnvironmentTimeout": 3, "RunTimeout": 4}


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().max_procedures = 1


def test_an_argument_may_have_one_mebibyte():
    assert LARGEST_ARGUMENT == 2**20


def test_the_state_directory_is_the_property_then_systemds_then_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/systemd:{tmp_path}/another")
    assert state_directory(Settings(state_directory="/as/set")) == Path("/as/set")
    assert state_directory(Settings()) == tmp_path / "systemd"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "users"))
    assert state_directory(Settings()) == tmp_path / "users" / "ska-oet-device"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_directory(Settings()) == tmp_path / "home" / ".local" / "state" / "ska-oet-device"
