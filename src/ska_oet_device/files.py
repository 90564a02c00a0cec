"""Getting rid of files."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, or a file, as far as that can be done; it need not be there."""
    if path.is_symlink() or not path.is_dir():
        with suppress(OSError):
            path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    _open_up(str(path))  # there are folders that nobody may write to: checkouts, some packages
    for folder, folders, _ in os.walk(path):
        for name in folders:
            _open_up(os.path.join(folder, name))  # before it is read
    shutil.rmtree(path, ignore_errors=True)


def _open_up(folder: str) -> None:
    with suppress(OSError):
        if not os.path.islink(folder):
            os.chmod(folder, 0o700)
