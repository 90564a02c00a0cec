"""Where the `oet` command begins: a probe's `oet health` loads next to nothing."""

from __future__ import annotations

from ._health import main as health


def main() -> None:
    """Run the command; does not return."""
    health()
