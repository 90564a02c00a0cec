"""The store of environments: who may build, use and remove which one."""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import InvalidArgumentError, InvalidStateError, brief
from ...files import remove_tree
from ...locks import FileLock, is_locked
from ...manifest import Manifest
from ...own_files import FILE_MODE, FOLDER_MODE, NotRegularError, make_folder, read_regular
from ..gitmanager import GitArgs, checkout
from . import _collect as collecting
from ._build import SCRIPTS_IMPORT, Builder, BuildLog, discard
from ._environment import (
    Environment,
    EnvironmentBuildError,
    EnvironmentInfo,
    EnvironmentState,
    EnvironmentUse,
    describe,
)
from ._files import size_of
from ._recipe import Recipe, recipe_of
from ._record import Record

_log = logging.getLogger(__name__)

_PATIENCE = 1.0  # seconds; whoever looks whether a lock is held holds it for some microseconds
_MOST_ROUNDS = 20  # of making one and finding it gone, or not to be held
_MOST_PLACES = 100  # of one environment; each but the last is in use, and was changed
_LARGEST_LOG = 64 * 1024 * 1024  # bytes
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
        self._found = ""  # what has changed in the environment that was looked at last
        self._shared: list[str] = []  # files of it that were changed where others have them, too

    # -- for those who need an environment

    def create_env(self, git_args: GitArgs) -> Environment:
        """Get an existing environment or create a new one, with nothing installed in it yet.

        :raises InvalidArgumentError: no possible URL, branch or commit
        :raises GitError: the repository or the commit cannot be had
        :raises EnvironmentBuildError: the project cannot be read
        """
        project = checkout(git_args, self.base_dir / collecting.PROJECTS)
        environment, _ = self.identify(project.path, project.commit)
        make_folder(environment.folder)
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
        named, recipe = self.identify(project, commit)
        description = f"{Path(project).name} {commit}".strip()
        for environment in self._places_of(named):
            try:
                if self._prepared(environment, recipe, description):
                    return environment
            except OSError as error:
                raise _failure(environment, str(error)) from error
        raise _failure(named, f"it was changed {_MOST_PLACES} times while processes used it")

    def _places_of(self, environment: Environment) -> Iterator[Environment]:
        """Yield where an environment may be: elsewhere, while one that is spoilt is in use."""
        yield environment
        for number in range(2, _MOST_PLACES + 1):
            yield Environment.at(self.base_dir / f"{environment.env_id}-{number}")

    def _prepared(self, environment: Environment, recipe: Recipe, description: str) -> bool:
        """Have an environment READY and held; False if processes still use it though it is not what it was."""
        for _ in range(_MOST_ROUNDS):
            if self._hold(environment):
                return True
            self._make_base()
            _make_usable(environment.creating.path)
            before = Record.read(environment.record)
            environment.creating.lock = FileLock.take(environment.creating.path)
            try:
                _make_usable(environment.using)
                if not self._build_unless_done(environment, recipe, before, description):
                    return False
            finally:
                environment.creating.clear()
        raise OSError(errno.EBUSY, f"it could not be held, {_MOST_ROUNDS} times")

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
        if not self._is_as_made(environment):
            use.close()
            return False
        self._uses[environment.env_id] = use
        return True

    def _is_as_made(self, environment: Environment) -> bool:
        """Tell whether the packages of an environment are as they were when it was complete."""
        self._found = ""
        record = Record.read(environment.record)
        if record.is_odd:
            self._found = record.reason
            return False
        if not record.has_manifest:  # made by a version that wrote none
            return True
        manifest = Manifest.read(environment.manifest)
        if manifest is None:
            self._found = "it is not known what it was"
            return False
        self._found = manifest.changes(environment.folder, *SCRIPTS_IMPORT)
        self._shared = [name for name in manifest.altered if _has_other_names(environment.folder / name)]
        if not self._found and manifest.is_stale:
            with suppress(OSError):  # the next one looks at the content, too
                manifest.write(environment.manifest)
        return not self._found

    def _make_base(self) -> None:
        make_folder(self.base_dir)
        if self.base_dir.stat().st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{self.base_dir} belongs to another user, who could change what scripts import")

    def _build_unless_done(self, environment: Environment, recipe: Recipe, before: Record, description: str) -> bool:
        """Build an environment that is not READY, or not what it was; False if processes still use that one."""
        is_ready = environment.is_ready()
        if is_ready and self._is_as_made(environment):
            return True
        # With patience: whoever only looks whether it is ready, or in use, holds this lock for a moment.
        if is_locked(environment.using, exclusively=False, patience=_PATIENCE):
            return False
        if is_ready:
            _log.warning("environment %s is made anew, since it was changed: %s", environment.env_id, self._found)
            if self._shared:  # other environments and the cache have the same files, not only such as these
                collecting.drop_cache(self.base_dir)
        latest = Record.read(environment.record)
        if latest.outcome == EnvironmentState.FAILED and latest.attempt != before.attempt_if_failed():
            raise _failure(environment, latest.reason, _tail_of(environment.log))
        cleaning = FileLock.take(self.base_dir / collecting.CACHE_LOCK, shared=True)
        try:
            self._build(environment, recipe, description)
        finally:
            cleaning.close()
        return True

    def _build(self, environment: Environment, recipe: Recipe, description: str) -> None:
        """Build, holding the lock; only the last step makes it count."""
        record = Record(uuid.uuid4().hex, EnvironmentState.CREATING, description, time.time())
        log: BuildLog | None = None
        try:
            environment.created.clear()
            if Record.read(environment.record).is_odd:
                remove_tree(environment.record)  # a folder would not give way to a file
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
        Manifest.take(environment.folder, *SCRIPTS_IMPORT).write(environment.manifest)
        record.has_manifest = True
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

    def remove(self, env_id: str, dispose: Callable[[Path], None] = remove_tree) -> None:
        """Remove an environment.

        :param dispose: removes the folder once it is in the trash, which takes seconds where there are many files
        :raises InvalidArgumentError: there is no such environment
        :raises InvalidStateError: it is in use, or being made
        """
        for environment in collecting.environments_in(self.base_dir):
            if environment.env_id == env_id:
                collecting.remove(environment, dispose)
                return
        raise InvalidArgumentError(f"no environment has the id {brief(env_id)!r}")

    def collect(self, days: float, quota_bytes: int, now: float | None = None) -> Ids:
        """Remove environments that nobody has used for `days`, then the least recently used until the store,
        downloaded packages included, is at most `quota_bytes`; 0 is no limit.  Returns the ids of those removed.

        What was used before 2026 by its own account was used while the clock was wrong: it does not count as old.

        Any thread.  Reads one small file an environment, and waits for nobody; only a store over
        its quota is measured file by file.

        :param now: a time (Unix seconds) that has been reached for certain; None: the clock is believed
        """
        return collecting.collect(self.base_dir, days, quota_bytes, time.time() if now is None else now)


def _failure(environment: Environment, reason: str, tail: str = "") -> EnvironmentBuildError:
    return EnvironmentBuildError(f"environment {environment.env_id} could not be made: {reason}", tail)


def _make_usable(lock: Path) -> None:
    """Remove what a script has put into the place of a lock; one that is a file, and may be held, stays."""
    try:
        is_locked(lock, exclusively=True)
    except NotRegularError:
        remove_tree(lock)
    except PermissionError:
        lock.parent.chmod(FOLDER_MODE)
        with suppress(FileNotFoundError):
            lock.chmod(FILE_MODE)


def _has_other_names(path: Path) -> bool:
    with suppress(OSError):
        noted = path.lstat()
        return stat.S_ISREG(noted.st_mode) and noted.st_nlink > 1
    return False


def _tail_of(path: Path) -> str:
    try:
        text = read_regular(path, _LARGEST_LOG).decode(errors="replace")
        return "\n".join(text.splitlines()[-20:])
    except OSError:
        return ""


def _packages_in(environment: Environment) -> list[str]:
    folders = Path(environment.site_packages).glob("*.dist-info")
    return sorted(folder.name.removesuffix(".dist-info").replace("-", "==", 1) for folder in folders)


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
