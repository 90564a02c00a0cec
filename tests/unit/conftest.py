"""Settings of the unit tests."""

from __future__ import annotations

from hypothesis import settings

# The machine may be busy with something else: how long one example takes says nothing.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
