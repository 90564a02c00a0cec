"""Who owns the state of a device: one main process, until it has ended.

A device's state is its history, the numbers that it has given, and the output of its scripts.  Two servers
that wrote to the same state would mix them, and each would kill the other's scripts as left behind.  So the
state is named after the device **and** its Tango database, and whoever uses it has to own it first: by a lock
file where it lies in a folder, and by a row where it lies in a database that other hosts reach, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import OetError
from ..locks import FileLock
from ..mptools import machine_boot, send_signal, stat_of
from ..own_files import file_name_of, read_regular

_LONGEST_KEY = 255  # characters: what the history's columns hold
_OURS = frozenset({"owner", "numbers", "output", "unheard.json"})  # what stands in the folder of a device
_LOOK_AGAIN = 0.05  # seconds
_PATIENCE = 5.0  # seconds for the device server of a main that has died to end, too


class StateHeldError(OetError):
    """Another server owns the state of this device.

    `may_end` says that this is not certain: the owner is out of sight, and may turn out to be silent.
    """

    def __init__(self, text: str, *, may_end: bool = False) -> None:
        super().__init__(text)
        self.may_end = may_end


@dataclass(frozen=True)
class Owner:
    """A main process, so that it can be told from any other of any host and time.

    `start` is in clock ticks since the machine's boot; `machine` names that boot and the PID namespace, without which a
    process id means nothing.
    """

    boot: str
    pid: int
    start: int
    host: str
    machine: str

    @classmethod
    def of_main(cls, boot: str, pid: int) -> Owner:
        """Return the main process `pid` of this machine, whose own identity is `boot`."""
        stat = stat_of(pid)
        return cls(boot, pid, stat.start if stat is not None else 0, socket.gethostname(), _this_machine())

    @classmethod
    def from_text(cls, text: str | None) -> Owner | None:
        """Return what `as_text` has written; None if it is something else."""
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return None

    def as_text(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its processes could be seen here."""
        return (self.host, self.machine) == (socket.gethostname(), _this_machine())

    def lives(self) -> bool | None:
        """Say whether the process is there; None if nobody here can tell."""
        if not self.is_of_this_machine:
            return None
        stat = stat_of(self.pid)
        if stat is None:  # /proc may hide it, if it is another user's
            return None if send_signal(self.pid, 0) else False
        return stat.start == self.start and not stat.has_ended

    def __str__(self) -> str:
        return f"main process {self.pid} on host {self.host}"


def _this_machine() -> str:
    """Return what changes with each boot, and from one container to the next."""
    try:
        return f"{machine_boot()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return machine_boot()


def state_key(database: str, device: str) -> str:
    """Return what a device's state is called: Tango's names are the same in upper and lower case.

    :param database: ``host:port`` of the Tango database, or ``nodb``
    """
    key = f"{database}/{device}".lower()
    return key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()


def state_folder(root: Path, key: str) -> Path:
    """Return the folder of a device's state; no two devices share one, whatever they are called."""
    return root.joinpath("devices", *(file_name_of(part, _OURS) for part in key.split("/")))


def former_state_folder(root: Path, key: str) -> Path | None:
    """Return the folder in which an earlier version kept this device's state, if that was another one and no other's.

    It left out empty parts of a name, and did not see that the device "a/output" had the folder of the output of "a".
    """
    parts = key.split("/")
    former = root.joinpath("devices", *map(file_name_of, parts))
    shared = "" in parts or any((parent / "owner").exists() for parent in former.parents)
    return former if former != state_folder(root, key) and set(parts) & _OURS and not shared else None


@dataclass(frozen=True)
class Claim:
    """A folder that is owned as long as this object lives; `previous` is who owned it before, if anybody did."""

    lock: FileLock
    previous: Owner | None

    def let_go(self) -> None:
        """Say that nobody owns it any more, though the owner still lives: it is ending.

        The lock is kept to the end of this process, for which whoever comes next waits.
        """
        if self.lock.fileno() >= 0:
            os.ftruncate(self.lock.fileno(), 0)

    def close(self) -> None:
        """Give the lock up though this process lives on; for its forked copies, too.  May be called again."""
        self.lock.release()


def claim_folder(folder: Path, owner: Owner, patience: float = _PATIENCE) -> Claim:
    """Make `owner` the owner of a folder.  In the device server process, which holds the lock on behalf of its main.

    :param patience: seconds to wait for the end of a device server whose main is gone
    :raises StateHeldError: another main owns it, and lives
    :raises OSError: the folder cannot be written
    """
    path = folder / "owner"
    deadline = time.monotonic() + patience
    while True:
        lock = FileLock.try_take(path)
        previous = _read(path)
        if previous is not None and previous.boot != owner.boot and previous.lives():
            raise StateHeldError(f"the state in {folder} belongs to {previous}, which is running")
        if lock is not None:
            os.ftruncate(lock.fileno(), 0)
            os.pwrite(lock.fileno(), owner.as_text().encode(), 0)
            return Claim(lock, previous)
        if time.monotonic() >= deadline:
            raise StateHeldError(f"the state in {folder} is in use by {previous or 'another process'}")
        time.sleep(_LOOK_AGAIN)


def _read(path: Path) -> Owner | None:
    try:
        return Owner.from_text(read_regular(path).decode(errors="replace"))
    except OSError:
        return None
