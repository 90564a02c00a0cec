"""The commands behind a dashboard's buttons: they take no argument, and act on what is selected."""

from __future__ import annotations

from ._serving import Serving


class OperatorCommands(Serving):
    """Commands without arguments, and the writing of what they act on."""
