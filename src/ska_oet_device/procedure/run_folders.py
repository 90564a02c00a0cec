"""The folders of runs: one for each procedure whose script has asked for it, beside the output of its device.

Scripts make them (`scripting.this_run().folder`) and write there what they like; the device server deletes them.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from ..files import remove_tree
from ..own_files import open_real_folder

_NAME = re.compile(r"[1-9][0-9]{0,11}")  # as `path` writes it; an id of more digits is nobody's


class RunFolders:
    """The folders of one device's runs.  Used by the device server; any thread."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made, here or later.

        :param folder: where they lie, and nothing else
        """
        self._folder = folder

    def path(self, process_uid: int) -> Path:
        """Return where a procedure's folder is, if it has one."""
        return self._folder / str(process_uid)

    def times(self) -> dict[int, float]:
        """Return when something was made or deleted in each procedure's folder, in Unix seconds; of a link its own."""
        try:
            folder = open_real_folder(self._folder)
        except OSError:
            return {}
        times = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _NAME.fullmatch(entry.name):
                        with contextlib.suppress(OSError):
                            times[int(entry.name)] = entry.stat(follow_symlinks=False).st_mtime
        finally:
            os.close(folder)
        return times

    def remove(self, process_uid: int) -> None:
        """Delete a procedure's folder with all that is in it; where links lead to stays.

        What a script has put into the place of the folder for all runs is not followed either.
        """
        try:
            folder = open_real_folder(self._folder)
        except OSError:
            return
        try:
            remove_tree(Path(f"/proc/self/fd/{folder}", str(process_uid)))
        finally:
            os.close(folder)
