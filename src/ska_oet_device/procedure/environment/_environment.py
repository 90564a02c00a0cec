"""One environment: its folder, its state, and who uses it.

The folder of an environment holds

- ``creating``: a lock, held exclusively by whoever builds it, and by the build's own processes;
- ``created``: there while the environment is complete;
- ``using``: a lock, shared by all who use it; its time is the time of the last use;
- ``record.json``: what the latest attempt to build it was about, and how it ended;
- ``build.log``: the output of that attempt;
- ``manifest``: what ``venv`` and ``source`` held when they were complete;
- ``venv``: the environment, at its final place from the start, since scripts in its ``bin``
  name their interpreter by path.  Without ``created`` it counts as rubbish.
"""

from __future__ import annotations

import enum
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ...errors import InvalidStateError, OetError
from ...locks import FileLock, is_locked
from ._events import HeldEvent, MarkEvent
from ._record import CREATING, FAILED, READY, Record

_INTERRUPTED = "the build was interrupted: its process ended"


class EnvironmentState(str, enum.Enum):
    """What an environment is, or what became of the latest attempt to build it."""

    CREATING = CREATING
    READY = READY
    FAILED = FAILED


class EnvironmentBuildError(OetError):
    """An environment could not be made: one sentence, and the end of the build's log."""

    def __init__(self, sentence: str, log_tail: str = "") -> None:
        super().__init__(f"{sentence}\n{log_tail}" if log_tail else sentence)
        self.sentence = sentence
        self.log_tail = log_tail


class EnvironmentUse:
    """A hold on an environment: nobody removes it before the last one is closed, dropped, or its process has ended.

    A forked child holds it, too, and so does a process that is handed `fileno()`.
    """

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def fileno(self) -> int:
        return self._lock.fileno()

    def close(self) -> None:
        """Give the hold up; may be called twice."""
        if self._lock.fileno() >= 0:
            with suppress(OSError):
                os.utime(self._lock.fileno())
            self._lock.close()

    def __enter__(self) -> EnvironmentUse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Environment:
    """A Python virtual environment for script execution.

    The `creating` and `created` Events coordinate procedures that ask for the same environment.
    They work between processes that have nothing in common but the file system.

    :param env_id: what tells this environment from others: a digest of what decides its content
    :param creating: set while someone is making it
    :param created: set once it can be used
    :param location: the folder of the virtual environment
    :param site_packages: where its packages are
    """

    env_id: str
    creating: Any
    created: Any
    location: str
    site_packages: str

    @classmethod
    def at(cls, folder: str | Path) -> Environment:
        """Return the environment that is kept in `folder`, made or not: a path is all that another process needs."""
        folder = Path(folder)
        location = folder / "venv"
        return cls(
            folder.name,
            HeldEvent(folder / "creating"),
            MarkEvent(folder / "created"),
            str(location),
            str(_site_packages(location)),
        )

    @property
    def folder(self) -> Path:
        return Path(self.location).parent

    @property
    def python(self) -> str:
        """The path of its interpreter."""
        return os.path.join(self.location, "bin", "python")

    @property
    def log(self) -> Path:
        """The file with the output of the latest build."""
        return self.folder / "build.log"

    @property
    def record(self) -> Path:
        return self.folder / "record.json"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest"

    @property
    def using(self) -> Path:
        return self.folder / "using"

    @property
    def attempt(self) -> str:
        """What tells it from one that was made in the same folder before."""
        return Record.read(self.record).attempt

    def is_ready(self) -> bool:
        """Tell whether it is complete, and the Python installation that it was made from still there."""
        return bool(self.created.is_set()) and os.path.exists(self.python)

    def use(self) -> EnvironmentUse:
        """Hold the environment, so that it stays; waits for nobody.

        :raises InvalidStateError: it is not there (any more)
        """
        try:
            lock = FileLock.take(self.using, shared=True) if self.folder.is_dir() else None
        except OSError as error:  # whatever somebody has put there
            raise InvalidStateError(f"environment {self.env_id} cannot be held: {error}") from None
        if lock is None or not self.is_ready():
            if lock is not None:
                lock.close()
            raise InvalidStateError(f"environment {self.env_id} is not READY")
        os.utime(lock.fileno())
        return EnvironmentUse(lock)


def _site_packages(location: Path) -> Path:
    import sysconfig  # see Record.read

    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    base = {"base": str(location), "platbase": str(location), "installed_base": sys.base_prefix}
    return Path(sysconfig.get_path("purelib", scheme, base))


@dataclass(frozen=True)
class EnvironmentInfo:
    """What a person wants to know of an environment; sizes in bytes, times in Unix seconds.

    `reason` says why it is FAILED; `packages` are those installed in it, as ``name==version``.
    """

    env_id: str
    state: EnvironmentState
    size: int
    created: float
    last_used: float
    in_use: bool
    description: str
    log: str
    reason: str = ""
    packages: tuple[str, ...] = ()


def describe(environment: Environment) -> EnvironmentInfo:
    """Look at an environment, whatever somebody has made of it.

    Takes a few system calls, and no lock for longer than those.
    """
    record = Record.read(environment.record)
    try:
        return _described(environment, record)
    except OSError as error:
        reason = f"it cannot be looked at: {error}"
        used = last_use(environment, record)
        return EnvironmentInfo(
            environment.env_id, EnvironmentState.FAILED, 0, 0.0, used, False, "", str(environment.log), reason
        )


def _described(environment: Environment, record: Record) -> EnvironmentInfo:
    state, reason = _state_of(environment, record)
    is_ready = state is EnvironmentState.READY
    return EnvironmentInfo(
        environment.env_id,
        state,
        record.size if is_ready else 0,
        record.ended if is_ready else record.started,
        last_use(environment, record),
        is_locked(environment.using, exclusively=False),
        record.description,
        str(environment.log),
        reason,
        tuple(record.packages) if is_ready else (),
    )


def _state_of(environment: Environment, record: Record) -> tuple[EnvironmentState, str]:
    if environment.creating.is_set():
        return EnvironmentState.CREATING, ""
    if record.is_odd:
        return EnvironmentState.FAILED, record.reason
    if environment.is_ready():
        return EnvironmentState.READY, ""
    if environment.created.is_set():
        return EnvironmentState.FAILED, f"its interpreter {os.path.realpath(environment.python)} is not there any more"
    if not record.attempt:
        return EnvironmentState.CREATING, ""  # asked for, and about to be built
    return EnvironmentState.FAILED, record.reason or _INTERRUPTED


def last_use(environment: Environment, record: Record) -> float:
    """Return when the environment was last used or worked on."""
    times = [record.started, record.ended]
    for path in (environment.using, environment.folder):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
            break
    return max(times, default=time.time())
