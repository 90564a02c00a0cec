"""Files for a site's other programs (Taranta, dsconfig, archivers, access control), made of what is said elsewhere.

Pure: no Tango, no clock.  ``oet config`` writes them.
"""

from ._taranta import GRIDS, Site, board
from ._taranta import NAMES as BOARDS
from .access import CHANGERS_COMMANDS, READERS_COMMANDS
from .archiving import ARCHIVED, NOT_ARCHIVED, Archiver, eda_file, hdbpp_file
from .dsconfig import LONGEST_ELEMENT, SITE_PROPERTIES, dsconfig_file
from .subarrays import MOST_SUBARRAYS, Subarrays

__all__ = [
    "ARCHIVED",
    "BOARDS",
    "CHANGERS_COMMANDS",
    "GRIDS",
    "LONGEST_ELEMENT",
    "MOST_SUBARRAYS",
    "NOT_ARCHIVED",
    "READERS_COMMANDS",
    "SITE_PROPERTIES",
    "Archiver",
    "Site",
    "Subarrays",
    "board",
    "dsconfig_file",
    "eda_file",
    "hdbpp_file",
]
