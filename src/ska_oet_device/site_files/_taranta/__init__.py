"""Taranta's dashboards, drawn from what Tango is told of the device: they name nothing that it does not have."""

from ._file import GRIDS, NAMES, Site, board
from ._layout import LayoutError
from ._names import UnknownNameError

__all__ = ["GRIDS", "NAMES", "LayoutError", "Site", "UnknownNameError", "board"]
