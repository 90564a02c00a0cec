"""The settings, against the contract's table of device properties."""

from __future__ import annotations

import dataclasses
import re
import selectors
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ska_oet_device
from ska_oet_device.config import LARGEST_ARGUMENT, LONGEST_TIME, Settings, bounded, state_directory

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
    ours = {
        "history_days",
        "git_token_file",
        "environment_days",
        "environment_quota",
        "alarm_on_failure",
        "state_while_running",
        "oet_compatibility",
    }
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


EXTREMES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e-300, 30 * 86400.0, 2**31 / 1000, 2**31 / 1000 + 1, 2.0**63, 1e300, LONGEST_TIME]),
)
TIMES = ("load_timeout", "init_timeout", "environment_timeout", "run_timeout", "stop_grace_period")


@given(st.sampled_from(TIMES), EXTREMES)
def test_a_time_is_one_that_can_be_waited_for_or_refused(name, seconds):
    if not 0 <= seconds <= LONGEST_TIME:
        with pytest.raises(ValueError, match=f"{name}: .* is not a number of seconds from 0 to 2,000,000"):
            Settings(**{name: seconds})
        return
    kept = getattr(Settings(**{name: seconds}), name)
    time.gmtime(time.time() + kept)
    assert kept * 1000 < 2**31


@pytest.mark.parametrize("name", ["history_days", "environment_days"])
@pytest.mark.parametrize("days", [-1.0, float("nan"), float("inf"), 1e9])
def test_days_are_bounded_too(name, days):
    with pytest.raises(ValueError, match=f"{name}: .* is not a number of days"):
        Settings(**{name: days})


@given(EXTREMES)
def test_what_is_bounded_can_be_waited_for_by_whatever_waits(seconds):
    happened = threading.Event()
    happened.set()
    assert happened.wait(bounded(seconds))
    with socket.socket() as unused:
        unused.settimeout(bounded(seconds))
    ready, other = socket.socketpair()
    with ready, other, selectors.DefaultSelector() as selector:
        other.send(b"x")
        selector.register(ready, selectors.EVENT_READ)
        assert selector.select(bounded(seconds))


def test_the_state_of_a_user_without_a_home_is_not_where_the_server_happens_to_stand(monkeypatch):
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)  # nobody's
    assert state_directory(Settings()) == Path("/.local/state/ska-oet-device")
