"""Where the `oet` command begins: a probe's `oet health` loads next to nothing."""

from __future__ import annotations

import os
import sys

from ._standard_streams import open_standard_streams


def main() -> None:
    """Run the command; does not return."""
    open_standard_streams()
    program, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy, which comes with Tango, needs none of its threads
    try:
        if arguments[:1] == ["health"]:
            from ._health import main as health

            health(arguments[1:], program=program)
        else:
            from ._program import main as others

            others(program, arguments)
    except KeyboardInterrupt:  # while modules are loaded
        os._exit(130)
