"""What can be set: the device properties of the contract, as one frozen value with their defaults."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

LARGEST_ARGUMENT = 1024 * 1024
"""Characters that a command's argument may have."""

EXAMPLES = str(Path(__file__).parent / "examples")


@dataclass(frozen=True)
class Settings:
    """The settings of one device; times in seconds, 0 meaning no limit.

    Each field is the device property of the same name in PascalCase.
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
    git_token_file: str = ""
    environment_days: float = 30.0
    environment_quota: int = 20 * 1000**3  # bytes
    history_url: str = ""
    state_directory: str = ""

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


def state_directory(settings: Settings) -> Path:
    """Return the folder for what outlives the server: as set, as systemd says, or the user's own."""
    chosen = settings.state_directory or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if chosen:
        return Path(chosen)
    users = os.environ.get("XDG_STATE_HOME", "").strip() or os.path.expanduser("~/.local/state")
    return Path(users) / "ska-oet-device"
