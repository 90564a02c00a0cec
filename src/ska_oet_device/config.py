"""What can be set: the device properties of the contract, as one frozen value with their defaults."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LARGEST_ARGUMENT = 1024 * 1024
"""Characters that a command's argument may have."""

MOST_VALUES = 50_000
"""JSON values that it may hold: a million empty lists would keep this process busy for a second."""

PRODUCT = "ska-oet-device"
"""What the state folder is called where nobody chose another one."""

LONGEST_PATH = 4095
"""Bytes of a path: the kernel's PATH_MAX without the end of the text."""

EXAMPLES = str(Path(__file__).parent / "examples")


MOST_DAYS = 36_500
LONGEST_TIME = 2_000_000
"""Seconds, about 23 days: the system's waits take 2**31 ms at most."""


def bounded(seconds: float) -> float:
    """Return a number of seconds that any wait of the system takes: what is no number is the longest."""
    return min(max(seconds, 0.0), float(LONGEST_TIME)) if not math.isnan(seconds) else float(LONGEST_TIME)


@dataclass(frozen=True)
class Settings:
    """The settings of one device; times in seconds, 0 meaning no limit.

    Each field is the device property of the same name in PascalCase.

    :raises ValueError: a number of seconds or days that nobody can wait for
    """

    script_roots: tuple[str, ...] = (EXAMPLES,)
    git_repositories: tuple[str, ...] = ("https://gitlab.com/ska-telescope/",)
    subarray_id: int = 1
    abort_script: str = ""
    stop_grace_period: float = 5.0
    load_timeout: float = 60.0
    init_timeout: float = 60.0
    environment_timeout: float = 600.0
    run_timeout: float = 0.0
    max_procedures: int = 64
    history_length: int = 100
    history_days: float = 90.0
    spare_workers: int = 2
    preload: tuple[str, ...] = field(default=())
    max_memory: int = 0  # bytes
    max_output: int = 64 * 1024 * 1024  # bytes
    alarm_on_failure: bool = False
    state_while_running: str = "RUNNING"
    oet_compatibility: bool = False
    git_token_file: str = ""
    environment_days: float = 30.0
    environment_quota: int = 20 * 1000**3  # bytes
    history_url: str = ""
    state_directory: str = ""

    def __post_init__(self) -> None:
        for name in ("load_timeout", "init_timeout", "environment_timeout", "run_timeout", "stop_grace_period"):
            if not 0 <= getattr(self, name) <= LONGEST_TIME:  # nor is NaN
                raise ValueError(
                    f"{name}: {getattr(self, name)!r} is not a number of seconds from 0 to {LONGEST_TIME:,}"
                )
        for name in ("history_days", "environment_days"):
            if not 0 <= getattr(self, name) <= MOST_DAYS:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a number of days from 0 to {MOST_DAYS:,}")

    @property
    def timeouts(self) -> dict[str, float]:
        """The deadlines of the phases, under the names of their properties."""
        return {
            "LoadTimeout": self.load_timeout,
            "InitTimeout": self.init_timeout,
            "EnvironmentTimeout": self.environment_timeout,
            "RunTimeout": self.run_timeout,
        }


_UNITS = {"": 1024**2, "B": 1, "kB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GB": 1000**3, "GiB": 1024**3}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def size_in_bytes(text: str) -> int:
    """Return the bytes that a size such as ``64 MiB`` names; a number alone is in MiB.

    :raises ValueError: not a size; names the units
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is not a size: a number, and one of {', '.join(filter(None, _UNITS))}")
    return int(float(match[1]) * _UNITS[match[2]])


_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def truth_of(text: str) -> bool | None:
    """Return whether a word such as ``true`` or ``no`` says yes; None for what says neither."""
    return _WORDS.get(text.strip().lower())


WAIT_FOR_QA_READY_VARIABLE = "OET_WAIT_FOR_QA_READY"
"""The variable of the server's environment that says what waitForQaReady is until an operator says otherwise."""


def first_wait_for_qa_ready(environment: Mapping[str, str] = os.environ) -> tuple[bool, str]:
    """Return what the operators' flag is at first, True unless the server's environment says otherwise.

    :return: the flag, and a sentence on what is wrong with the variable; empty when all is well
    """
    text = environment.get(WAIT_FOR_QA_READY_VARIABLE, "")
    if not text.strip():
        return True, ""
    truth = truth_of(text)
    if truth is not None:
        return truth, ""
    return (
        True,
        f"The environment variable {WAIT_FOR_QA_READY_VARIABLE}: {text[:80]!r} is not true or false; true is in use.",
    )


HISTORY_URL_VARIABLE = "OET_HISTORY_URL"
"""The variable of the server's environment that names the history's database where HistoryUrl does not.

Main takes it out of its environment and gives it to the device server alone: scripts do not inherit it.
"""


def chosen_state_directory(settings: Settings) -> str:
    """Return the state folder that a site has chosen, by the property or by systemd's; empty if it has not."""
    return settings.state_directory or os.environ.get("STATE_DIRECTORY", "").split(":")[0]


def state_directory(settings: Settings) -> Path:
    """Return the folder for what outlives the server: as set, as systemd says, or the user's own.

    A user who has neither a name nor a home has none, and no right to the one that is returned.
    """
    chosen = chosen_state_directory(settings)
    if chosen:
        return Path(chosen)
    users = os.environ.get("XDG_STATE_HOME", "").strip() or os.path.expanduser("~/.local/state")
    return Path("/" if users.startswith("~") else "", users.removeprefix("~/"), PRODUCT)
