"""Python virtual environments of scripts: made once, shared, told apart by content, removed when unused."""

from ._environment import (
    CREATING,
    FAILED,
    READY,
    Environment,
    EnvironmentBuildError,
    EnvironmentInfo,
    EnvironmentUse,
)
from ._events import HeldEvent, MarkEvent
from ._manager import EnvironmentManager

__all__ = [
    "CREATING",
    "FAILED",
    "READY",
    "Environment",
    "EnvironmentBuildError",
    "EnvironmentInfo",
    "EnvironmentManager",
    "EnvironmentUse",
    "HeldEvent",
    "MarkEvent",
]
