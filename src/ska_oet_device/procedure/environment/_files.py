"""Sizes of folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FileId = tuple[int, int]


def files_below(folder: str | Path) -> Iterator[os.stat_result]:
    """Yield what is known of each file and folder; those that vanish meanwhile are left out."""
    folders = [os.fspath(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)


def sizes_by_file(folder: str | Path) -> dict[FileId, int]:
    """Return the bytes on disk of each file, whatever number of names it has."""
    return {(found.st_dev, found.st_ino): found.st_blocks * 512 for found in files_below(folder)}


def size_of(folder: str | Path) -> tuple[int, int]:
    """Return the bytes on disk below `folder`, and how many of them are in files with names elsewhere."""
    sizes, linked, names = {}, {}, dict[FileId, int]()
    for found in files_below(folder):
        file = (found.st_dev, found.st_ino)
        sizes[file] = found.st_blocks * 512
        names[file] = names.get(file, 0) + 1
        if found.st_nlink > names[file] and not _is_folder(found):
            linked[file] = sizes[file]
        else:
            linked.pop(file, None)
    return sum(sizes.values()), sum(linked.values())


def _is_folder(found: os.stat_result) -> bool:
    return (found.st_mode & 0o170000) == 0o040000
