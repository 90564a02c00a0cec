"""Settings of the unit tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from ska_oet_device.procedure.application import _finder
from ska_oet_device.procedure.history import _reader, _writer

# The same examples each time, unless somebody goes looking for more of them.  The machine may be busy with something
# else: how long one example takes says nothing.
_examples = int(os.environ.get("OET_HYPOTHESIS_EXAMPLES", "0"))
settings.register_profile(
    "busy machine", deadline=None, derandomize=not _examples, database=None, max_examples=_examples or 100
)
settings.load_profile("busy machine")


@pytest.fixture(autouse=True, scope="module")
def _patience() -> Iterator[None]:
    """A busy machine is no failure of a database or file system; a test of what is one sets a patience of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (_finder, _reader, _writer):
            patch.setattr(module, "_PATIENCE", 60.0)
        yield
