"""The store of environments: who may build, use and remove which one."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import InvalidArgumentError, InvalidStateError
from ...locks import FileLock, is_locked
from ..gitmanager import GitArgs, checkout
from . import _collect as collecting
from ._build import Builder, BuildLog, discard
from ._environment import (
    Environment,
    EnvironmentBuildError,
    EnvironmentInfo,
    EnvironmentState,
    EnvironmentUse,
    Record,
    describe,
)
from ._files import size_of
from ._recipe import Recipe, recipe_of

_PATIENCE = 1.0  # seconds; whoever looks whether a lock is held holds it for some microseconds
Ids = list[str]


class EnvironmentManager:
    """Manages Python virtual environments for script execution.

    Any number of managers, in any processes, may work on the same folder at the same time.
    """

    def __init__(
        self,
        mp_context: Any = None,
        base_dir: str | Path = "/tmp/environments/",  # as specified; checked for its owner
    ) -> None:
        """Create a manager; touches no file.

        :param mp_context: of the specification; the Events are of the file system, and need none
        :param base_dir: the folder of the environments
        """
        self.mp_context = mp_context
        self.base_dir = Path(base_dir).absolute()
        self._uses: dict[str, EnvironmentUse] = {}

    # -- for those who need an environment

    def create_env(self, git_args: GitArgs) -> Environment:
        """Get an existing environment or create a new one, with nothing installed in it yet.

        :raises InvalidArgumentError: no possible URL, branch or commit
        :raises GitError: the repository or the commit cannot be had
        :raises EnvironmentBuildError: the project cannot be read
        """
        project = checkout(git_args, self.base_dir / collecting.PROJECTS)
        environment, _ = self.identify(project.path, project.commit)
        environment.folder.mkdir(parents=True, exist_ok=True)
        return environment

    def identify(self, project: Path, commit: str) -> tuple[Environment, Recipe]:
        """Tell which environment a project of a commit has, and how that is made; changes nothing.

        :raises EnvironmentBuildError: the project cannot be read
        """
        try:
            recipe = recipe_of(Path(project).absolute())
            return Environment.at(self.base_dir / recipe.env_id(commit)), recipe
        except OSError as error:
            raise EnvironmentBuildError(f"the project of commit {commit} cannot be read: {error}") from error

    def prepare(self, project: Path, commit: str) -> Environment:
        """Return the environment of a project, READY; build it, or wait for whoever is building it.

        Main thread of a worker.  An exception that a signal handler raises may interrupt it at any
        line, and a waiting process then builds instead.  The environment stays in use until this
        process ends or calls `close`, so that nobody removes it before its next user holds it.

        :raises EnvironmentBuildError: it could not be made; those who waited for that attempt are told the same
        """
        environment, recipe = self.identify(project, commit)
        description = f"{Path(project).name} {commit}".strip()
        try:
            while not self._hold(environment):
                self._make_base()
                before = Record.read(environment.record)
                environment.creating.lock = FileLock.take(environment.creating.path)
                try:
                    self._build_unless_done(environment, recipe, before, description)
                finally:
                    environment.creating.clear()
        except OSError as error:
            raise _failure(environment, str(error)) from error
        return environment

    def close(self) -> None:
        """Give up the environments that `prepare` has returned; may be called twice."""
        while self._uses:
            self._uses.popitem()[1].close()

    def _hold(self, environment: Environment) -> bool:
        if environment.env_id in self._uses and environment.is_ready():
            return True
        try:
            use = environment.use()
        except InvalidStateError:
            return False
        self._uses[environment.env_id] = use
        return True

    def _make_base(self) -> None:
        self.base_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.base_dir.stat().st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{self.base_dir} belongs to another user, who could change what scripts import")

    def _build_unless_done(self, environment: Environment, recipe: Recipe, before: Record, description: str) -> None:
        if environment.is_ready():
            return
        # With patience: whoever only looks whether it is ready, or in use, holds this lock for a moment.
        if is_locked(environment.using, exclusively=False, patience=_PATIENCE):
            raise _failure(environment, "processes still use the one whose Python installation has gone")
        latest = Record.read(environment.record)
        if latest.outcome == EnvironmentState.FAILED and latest.attempt != before.attempt_if_failed():
            raise _failure(environment, latest.reason, _tail_of(environment.log))
        cleaning = FileLock.take(self.base_dir / collecting.CACHE_LOCK, shared=True)
        try:
            self._build(environment, recipe, description)
        finally:
            cleaning.close()

    def _build(self, environment: Environment, recipe: Recipe, description: str) -> None:
        """Build, holding the lock; only the last step makes it count."""
        record = Record(uuid.uuid4().hex, EnvironmentState.CREATING, description, time.time())
        log: BuildLog | None = None
        try:
            environment.created.clear()
            record.write(environment.record)
            log = BuildLog(environment.log)
            log.write(f"{_utc(record.started)} environment {environment.env_id} for {description}")
            log.write(f"from {recipe.source or 'nothing: the project names no packages'}")
            Builder(environment, recipe, log, self.base_dir / collecting.CACHE).build()
            self._finish(environment, record, log)
        except (EnvironmentBuildError, OSError, ValueError) as error:
            discard(environment)  # first, since the disk may be full
            record.outcome, record.ended, record.reason = EnvironmentState.FAILED, time.time(), str(error)
            with suppress(OSError):  # if it cannot be written, those who wait will try for themselves
                record.write(environment.record)
            with suppress(OSError):
                if log is not None:
                    log.write(f"{_utc(record.ended)} failed: {error}")
            raise _failure(environment, record.reason, "\n".join(log.tail) if log else "") from error
        finally:
            with suppress(OSError):
                if log is not None:
                    log.close()

    def _finish(self, environment: Environment, record: Record, log: BuildLog) -> None:
        record.packages = _packages_in(environment)
        record.size, record.linked = size_of(environment.location)
        record.outcome, record.ended = EnvironmentState.READY, time.time()
        log.write(f"{_utc(record.ended)} ready: {record.size / 1e6:.1f} MB, {', '.join(record.packages)}")
        collecting.note_cache_size(self.base_dir)
        record.write(environment.record)
        environment.using.touch()
        environment.created.set()

    # -- for those who look after the store

    def list(self) -> list[EnvironmentInfo]:
        """Return what is known of every environment, the least recently used first."""
        found = [describe(environment) for environment in collecting.environments_in(self.base_dir)]
        return sorted(found, key=lambda info: info.last_used)

    def size(self) -> int:
        """Return the bytes on disk of the store, downloaded packages included, as the builders noted them."""
        return collecting.noted_size(self.base_dir, self.list())

    def remove(self, env_id: str) -> None:
        """Remove an environment.

        :raises InvalidArgumentError: there is no such environment
        :raises InvalidStateError: it is in use, or being made
        """
        for environment in collecting.environments_in(self.base_dir):
            if environment.env_id == env_id:
                collecting.remove(environment)
                return
        raise InvalidArgumentError(f"no environment has the id {env_id!r}")

    def collect(self, days: float, quota_bytes: int) -> Ids:
        """Remove environments that nobody has used for `days`, then the least recently used until the store,
        downloaded packages included, is at most `quota_bytes`; 0 is no limit.  Returns the ids of those removed.

        Any thread.  Reads one small file an environment, and waits for nobody; only a store over
        its quota is measured file by file.
        """
        return collecting.collect(self.base_dir, days, quota_bytes)


def _failure(environment: Environment, reason: str, tail: str = "") -> EnvironmentBuildError:
    return EnvironmentBuildError(f"environment {environment.env_id} could not be made: {reason}", tail)


def _tail_of(path: Path) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    except OSError:
        return ""


def _packages_in(environment: Environment) -> list[str]:
    folders = Path(environment.site_packages).glob("*.dist-info")
    return sorted(folder.name.removesuffix(".dist-info").replace("-", "==", 1) for folder in folders)


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
