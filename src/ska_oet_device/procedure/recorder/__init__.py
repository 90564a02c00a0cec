"""The recorder: the process that takes what scripts print from their pipes to their files.  See decision 26."""

from ._process import serve

__all__ = ["serve"]
