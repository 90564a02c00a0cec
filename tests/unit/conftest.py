"""What the unit tests have in common."""

from support.patience import patience

__all__ = ["patience"]
