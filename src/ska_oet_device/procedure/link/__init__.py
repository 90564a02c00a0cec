"""The device server's end of the pipe to main."""

from ._escaped import reap_escaped
from ._link import Link

__all__ = ["Link", "reap_escaped"]
