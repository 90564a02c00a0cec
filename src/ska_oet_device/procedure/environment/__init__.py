"""Python virtual environments of scripts: made once, shared, told apart by content, removed when unused.

Whoever has the path of one needs no more than this.  Making and removing them is `manager`'s.
"""

from ._environment import (
    Environment,
    EnvironmentBuildError,
    EnvironmentInfo,
    EnvironmentState,
    EnvironmentUse,
)
from ._events import HeldEvent, MarkEvent

__all__ = [
    "Environment",
    "EnvironmentBuildError",
    "EnvironmentInfo",
    "EnvironmentState",
    "EnvironmentUse",
    "HeldEvent",
    "MarkEvent",
]
