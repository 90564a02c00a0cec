"""What scripts that were written for another executor import, for where that is not installed.

The folder of this file stands last on a script's sys.path, if the device property OetCompatibility says so: whatever is
installed in the server's or the script's environment goes before it.  Needs the standard library and pypubsub only.
"""

from __future__ import annotations

import os

FOLDER = os.path.dirname(__file__)
