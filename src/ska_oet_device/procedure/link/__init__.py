"""The device server's end of the pipe to main."""

from ._escaped import reap_escaped
from ._link import Link
from ._main_status import MainStatus

__all__ = ["Link", "MainStatus", "reap_escaped"]
