"""A whole small Tango system, as `make up` has it: database, device server, simulated mount."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ska_oet_device.client._interrupts import Interrupts
from ska_oet_device.client._stack import Stack


@pytest.fixture(scope="module")
def up() -> Iterator[Stack]:
    """The servers of `make up`, for the tests of one file."""
    with Interrupts() as interrupts, Stack(interrupts) as stack:
        yield stack
