"""Settings of the unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from ska_oet_device.procedure.history import _reader, _writer

# The machine may be busy with something else: how long one example takes says nothing.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


@pytest.fixture(autouse=True, scope="module")
def _patience() -> Iterator[None]:
    """A busy machine is no failure of the database; a test of what is one sets a patience of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (_reader, _writer):
            patch.setattr(module, "_PATIENCE", 60.0)
        yield
