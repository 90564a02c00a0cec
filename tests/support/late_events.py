"""What Tango's library says on standard error although nothing is wrong."""

from __future__ import annotations

_LATE = "not found in event callback map"


def without_late_events(errors: str) -> str:
    """Return what was written to standard error without what says nothing: of events behind their unsubscription.

    cppTango writes a line for each that arrives when its subscription has ended; whether one does is chance.
    """
    return "".join(line for line in errors.splitlines(keepends=True) if line.strip() and _LATE not in line)
