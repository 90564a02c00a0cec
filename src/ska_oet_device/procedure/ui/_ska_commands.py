"""The commands that other devices of the SKA expect of one: long running commands, by protocols 1 and 2."""

from __future__ import annotations

from ._serving import Serving


class SkaCommands(Serving):
    """Commands that answer with a result code and a unique id, and the writing of what the SKA's devices have."""
