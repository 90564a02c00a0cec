"""The `oet` command, for shells and for probes."""

from ._main import main

__all__ = ["main"]
