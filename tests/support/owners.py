"""Main processes that own histories in tests of histories alone."""

from __future__ import annotations

import dataclasses
import os

from ska_oet_device.procedure.ownership import Owner

_OURS = Owner.of_main("", os.getpid())


def main_process(boot: str = "boot", *, lives: bool = False) -> Owner:
    """Return a main process of this machine; one that has ended, unless told otherwise."""
    return dataclasses.replace(_OURS, boot=boot, start=_OURS.start if lives else -1)


def elsewhere(boot: str = "elsewhere", host: str = "another-host") -> Owner:
    """Return a main process of another host: whether it lives cannot be seen from here."""
    return dataclasses.replace(_OURS, boot=boot, host=host, machine="another boot")
