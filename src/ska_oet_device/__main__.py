"""``python -m ska_oet_device 01`` is the same program as ``OetDevice 01``."""

import sys

from .main import main

sys.exit(main())
