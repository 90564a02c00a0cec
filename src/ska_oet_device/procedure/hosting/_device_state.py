"""What a device keeps on the disk: who owns it, how far its numbers have come, what its scripts have printed."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from ..history import HistoryStore, MemoryHistory, Numbers
from ..output import OutputFiles
from ..ownership import Claim, Owner, claim_folder, state_folder, state_key

_log = logging.getLogger(__name__)


class DeviceState:
    """The folder of one device, owned by this server's main until `close`, or as long as this process lives."""

    def __init__(self, root: Path, database: str, device: str, owner: Owner, *, former_name: str = "") -> None:
        """Take the folder; one that cannot be written is a `problem`, and nothing is kept.

        :param root: the state folder, which other devices and servers may share
        :param database: ``host:port`` of the Tango database; ``nodb`` or ``engine`` where there is none
        :param former_name: what its state was called by an earlier version, which is taken up
        :raises StateHeldError: another server owns it
        """
        self.root = root
        self._former_name = former_name
        self.key = state_key(database, device)
        folder = state_folder(root, self.key)
        self.problem = ""
        self._claim: Claim | None = None
        try:
            self._claim = claim_folder(folder, owner)
        except OSError as error:
            self.problem = f"The output of scripts cannot be kept: {error}."
        if former_name:
            _take_up_former(root / "output" / former_name.replace("/", "_"), folder / "output")
        self.output = OutputFiles(folder / "output")
        self.problem = self.problem or self.output.prepare()
        self.numbers = Numbers(folder / "numbers")

    def open_history(self, store: HistoryStore, url: str, *, may_refuse: bool = True) -> tuple[MemoryHistory, str]:
        """Return the device's history, and a sentence on what happened to an earlier one, if anything.

        :param url: SQLAlchemy URL; empty for SQLite in the state folder
        :param may_refuse: whether a history that another server owns is an error; otherwise it is a problem
        :raises StateHeldError: another server owns it
        """
        return store.open(
            self.key,
            url,
            self.root,
            lowest_id=self.output.highest_id(),
            numbers=self.numbers,
            former_name=self._former_name,
            may_refuse=may_refuse,
        )

    def let_go(self) -> None:
        """Leave it to another server: main, which owns it, outlives this process by a moment."""
        if self._claim is not None:
            with contextlib.suppress(OSError):  # of a disk that has gone: the lock goes with this process
                self._claim.let_go()

    def close(self) -> None:
        """Leave it to another server at once, though this process lives on; nothing is written any more."""
        self.numbers.release()
        self.let_go()
        if self._claim is not None:
            self._claim.close()

    @property
    def previous(self) -> Owner | None:
        """Who owned it before, if anybody did."""
        return self._claim.previous if self._claim is not None else None


def _take_up_former(former: Path, folder: Path) -> None:
    """Take the output that an earlier version kept under the mere name of the device."""
    if former.is_dir() and not folder.exists():
        with contextlib.suppress(OSError):
            former.rename(folder)
            _log.info("the output of earlier scripts is in %s now", folder)
