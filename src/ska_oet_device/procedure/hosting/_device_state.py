"""What a device keeps on the disk: who owns it, how far its numbers have come, what its scripts have printed."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from ..history import HistoryStore, MemoryHistory, Numbers
from ..output import OutputFiles
from ..ownership import Claim, Owner, StateHeldError, claim_folder, former_state_folder, state_folder, state_key
from ._earlier_versions import close_to_others, take_up_folder, take_up_output

_log = logging.getLogger(__name__)


class DeviceState:
    """The folder of one device, owned by this server's main until `close`, or as long as this process lives."""

    def __init__(
        self, root: Path, database: str, device: str, owner: Owner, *, former_name: str = "", is_default: bool = False
    ) -> None:
        """Take the folder; one that cannot be written is a `problem`, and nothing is kept.

        :param root: the state folder, which other devices and servers may share
        :param database: ``host:port`` of the Tango database; ``nodb`` or ``engine`` where there is none
        :param former_name: what its state was called by an earlier version, which is taken up
        :param is_default: whether nobody has chosen the state folder: it is for our user alone then
        :raises StateHeldError: another server owns it
        """
        self.root = root
        self._former_name = former_name
        self.key = state_key(database, device)
        folder = state_folder(root, self.key)
        self.problem = ""
        self._owner = owner
        self._folder = folder
        self._claim: Claim | None = None
        self._is_taken = ""
        take_up_folder(former_state_folder(root, self.key), folder)
        try:
            self._claim = claim_folder(folder, owner)
        except OSError as error:
            self.problem = f"The output of scripts cannot be kept: {error}."
        if former_name:
            take_up_output(root / "output" / former_name.replace("/", "_"), folder / "output")
        self.output = OutputFiles(folder / "output")
        self.problem = self.problem or self.output.prepare()
        self.numbers = Numbers(folder / "numbers")
        self.selection = folder / "selection.json"
        """What operators have selected, for the service to keep."""
        self.unkept = folder / "unkept.json"
        """What was written to memorised attributes and the Tango database has not taken yet."""
        self.previous = self._claim.previous if self._claim is not None else None
        """Who owned it before, if anybody did."""
        close_to_others(root, folder, is_default=is_default)

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

    def look_after(self) -> None:
        """Make anew what somebody has removed, and own it again.  To be called now and then, by one thread."""
        claim = self._claim
        if claim is None or claim.lock.fileno() < 0:
            return
        if not claim.lock.is_in_place:
            try:
                self._claim = claim_folder(self._folder, self._owner, patience=0.0)
            except (OSError, StateHeldError) as error:
                self._say_taken(f"the state of the device was removed from {self._folder}: {error}")
                return
            claim.lock.close()
            self._say_taken(f"the state of the device was removed from {self._folder}: it is begun anew")
        self.numbers.look_after()
        self.output.look_after()

    def _say_taken(self, sentence: str) -> None:
        if sentence != self._is_taken:
            self._is_taken = sentence
            _log.error("%s", sentence)
