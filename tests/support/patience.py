"""A patience of the product's threads that a busy machine does not use up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ska_oet_device.procedure.application import _finder
from ska_oet_device.procedure.history import _reader, _writer


@pytest.fixture(autouse=True, scope="module")
def patience() -> Iterator[None]:
    """A busy machine is no failure of a database or file system; a test of what is one sets a patience of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (_finder, _reader, _writer):
            patch.setattr(module, "_PATIENCE", 60.0)
        yield
