"""A folder whose file system hangs, as one of the network does when its server is gone: a FUSE that nobody serves."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ska_oet_device import file_behind
from ska_oet_device.own_files import write_regular

_MNT_DETACH = 2


@contextlib.contextmanager
def hanging(folder: Path) -> Iterator[None]:
    """Have whoever looks into the folder wait for ever, meanwhile; skips the test where we may not mount anything.

    What waits gets an error when it is over, and the folder is what it was before.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"no file system can hang here: /dev/fuse: {error.strerror}")
    try:
        options = f"fd={descriptor},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}".encode()
        if libc.mount(b"hanging", os.fsencode(folder), b"fuse", 0, options):
            pytest.skip(f"no file system can hang here: mount: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            os.close(descriptor)
            descriptor = -1
            libc.umount2(os.fsencode(folder), _MNT_DETACH)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def hold_writes(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have what is written behind (`file_behind`) wait until the event that is returned is set."""
    goes_on = threading.Event()

    def write(*arguments: Any) -> None:
        goes_on.wait()
        write_regular(*arguments)

    monkeypatch.setattr(file_behind, "write_regular", write)
    return goes_on
