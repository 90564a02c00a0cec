"""Takes whatever it is given, and does nothing."""

from typing import Any


def main(**arguments: Any):
    """Return at once."""
