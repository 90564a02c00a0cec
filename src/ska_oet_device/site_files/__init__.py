"""Files for a site's other programs (Taranta, dsconfig, archivers, access control), made of what is said elsewhere.

Pure: no Tango, no clock.  ``oet config`` writes them.
"""

from .access import CHANGERS_COMMANDS, READERS_COMMANDS

__all__ = ["CHANGERS_COMMANDS", "READERS_COMMANDS"]
