"""Removing environments: those that nobody uses any more, and those for which there is no room."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ...errors import InvalidStateError
from ...files import remove_tree
from ...locks import FileLock
from ...own_files import NotRegularError, read_regular, write_regular
from ...retention import FIRST_DATE
from ._environment import Environment, EnvironmentInfo, EnvironmentState, describe
from ._files import FileId, size_of, sizes_by_file
from ._record import Record

# What the store holds besides environments; an id never begins with a dot.
CACHE, CACHE_LOCK, CACHE_SIZE = ".cache", ".cache.lock", ".cache.size"
TRASH, PROJECTS = ".trash", ".projects"

_DAY = 86400.0
_PATIENCE = 0.1  # seconds; whoever looks whether a lock is held holds it for some microseconds


def environments_in(base: Path) -> Iterator[Environment]:
    """Yield every environment, whatever its state."""
    with suppress(FileNotFoundError):
        for entry in sorted(os.scandir(base), key=lambda entry: entry.name):
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield Environment.at(entry.path)


def remove(environment: Environment, dispose: Callable[[Path], None] = remove_tree) -> None:
    """Take an environment out of the store by one rename, then remove its files.

    :param dispose: removes what is in the trash by then
    :raises InvalidStateError: it is in use, or being made
    """
    trash = environment.folder.parent / TRASH
    trash.mkdir(exist_ok=True)
    away = trash / f"{environment.env_id}.{uuid.uuid4().hex}"
    building = _lock(environment.creating.path)
    if building is None:
        raise InvalidStateError(f"environment {environment.env_id} is being made")
    try:
        using = _lock(environment.using)
        if using is None:
            raise InvalidStateError(f"environment {environment.env_id} is in use")
        try:
            os.rename(environment.folder, away)
        finally:
            using.close()
    finally:
        building.close()
    dispose(away)


def _lock(path: Path) -> FileLock | None:
    try:
        return FileLock.try_take(path, patience=_PATIENCE)
    except NotRegularError:  # somebody has put something there; nobody can hold that
        remove_tree(path)
        return FileLock.try_take(path, patience=_PATIENCE)


def collect(base: Path, days: float, quota: int, now: float) -> list[str]:
    """See EnvironmentManager.collect."""
    for left in (base / TRASH).glob("*"):
        remove_tree(left)
    removed = []
    known = sorted((describe(each) for each in environments_in(base)), key=_by_last_use)
    kept = []
    for info in known:
        if info.in_use:
            with suppress(OSError):
                os.utime(base / info.env_id / "using", follow_symlinks=False)
        if days and FIRST_DATE <= info.last_used < now - days * _DAY and _removed(base, info):
            removed.append(info.env_id)
        else:
            kept.append(info)
    if quota and noted_size(base, kept) > quota:
        removed += _make_room(base, kept, quota)
    return removed


def _by_last_use(info: EnvironmentInfo) -> tuple[bool, float]:
    return info.last_used < FIRST_DATE, info.last_used


def _removed(base: Path, info: EnvironmentInfo) -> bool:
    if info.in_use:
        return False
    try:
        remove(Environment.at(base / info.env_id))
    except (InvalidStateError, OSError):
        return False
    return True


def noted_size(base: Path, known: Iterable[EnvironmentInfo]) -> int:
    """Return the size of the store as its builders noted it: files that the cache has, too, count there."""
    cache = _noted_cache_size(base)
    total = cache
    for info in known:
        record = Record.read(base / info.env_id / "record.json")
        if record.outcome == EnvironmentState.READY:
            total += record.size - record.linked if cache else record.size
    return total


def _make_room(base: Path, known: list[EnvironmentInfo], quota: int) -> list[str]:
    """Give up downloaded packages first: whoever needs them can have them again."""
    files = {info.env_id: sizes_by_file(base / info.env_id) for info in known}
    cache = sizes_by_file(base / CACHE)
    total = sum({file: size for held in (cache, *files.values()) for file, size in held.items()}.values())
    if total > quota and cache and _clean_cache(base):
        cache = {}
    users: Counter[FileId] = Counter(file for held in (cache, *files.values()) for file in held)
    sizes = {file: size for held in (cache, *files.values()) for file, size in held.items()}
    total = sum(sizes.values())
    removed = []
    for info in known:
        if total <= quota:
            break
        if _removed(base, info):
            removed.append(info.env_id)
            users.subtract(files[info.env_id].keys())
            total -= sum(size for file, size in files[info.env_id].items() if users[file] == 0)
    return removed


def _clean_cache(base: Path) -> bool:
    """Remove the downloaded packages, unless somebody is building with them."""
    lock = FileLock.try_take(base / CACHE_LOCK)
    if lock is None:
        return False
    _drop_cache(base, lock)
    return True


def drop_cache(base: Path) -> None:
    """Remove the downloaded packages, when nobody is building with them any more: they are not what they were."""
    with suppress(FileNotFoundError):
        _drop_cache(base, FileLock.take(base / CACHE_LOCK))


def _drop_cache(base: Path, lock: FileLock) -> None:
    try:
        away = base / TRASH / uuid.uuid4().hex
        away.parent.mkdir(exist_ok=True)
        os.rename(base / CACHE, away)
        (base / CACHE_SIZE).unlink(missing_ok=True)
    finally:
        lock.close()
    remove_tree(away)


def note_cache_size(base: Path) -> None:
    """Write down how large the cache is now.  Runs in the worker that has filled it."""
    write_regular(base / CACHE_SIZE, b"%d" % size_of(base / CACHE)[0])


def _noted_cache_size(base: Path) -> int:
    try:
        return int(read_regular(base / CACHE_SIZE, 100))
    except (OSError, ValueError):
        return 0
