"""The store of environments, as the settings of a device have it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...config import Settings, state_directory
from ...files import remove_tree
from ..environment import EnvironmentInfo
from ..environment.manager import EnvironmentManager


class Environments:
    """The environments of scripts.  Any thread.

    :param settings: returns the settings of the moment
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings

    @property
    def _manager(self) -> EnvironmentManager:
        return EnvironmentManager(base_dir=state_directory(self._settings()) / "environments")

    def list(self) -> list[EnvironmentInfo]:
        """Return what is known of them, the least recently used first."""
        return self._manager.list()

    def remove(self, env_id: str) -> None:
        """Remove one; its files go later.

        :raises InvalidArgumentError: there is no such environment
        :raises InvalidStateError: it is in use, or being made
        """
        self._manager.remove(env_id, _dispose)

    def collect(self, reached: float | None) -> str:
        """Remove those that are old, or too many; returns a sentence if the store is too large all the same.

        :param reached: a time (Unix seconds) that has been reached for certain; None: none counts as old
        """
        settings, manager = self._settings(), self._manager
        days = settings.environment_days if reached is not None else 0.0
        manager.collect(days, settings.environment_quota, reached)
        size = manager.size()
        if settings.environment_quota and size > settings.environment_quota:
            return f"The environments take {size / 1e9:.1f} GB, more than EnvironmentQuota, and all of them are in use."
        return ""


def _dispose(folder: Path) -> None:
    """Remove a folder in a thread of its own: of tens of thousands of files that takes longer than a command may.

    Where no thread can be had it stays in the trash, which is emptied when environments are collected next.
    """
    with suppress(RuntimeError, MemoryError):
        threading.Thread(target=remove_tree, args=(folder,), name="remover", daemon=True).start()
