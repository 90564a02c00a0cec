"""Data files that are never seen half written: a module beside the scripts that use it."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def whole_file(path):
    """Give a name to write to; what has been written there, and closed, gets the name `path` in one step.

    At a Stop too: the data up to the Stop are kept.  If the process is killed, the file stays behind as `part-…`.
    """
    path = Path(path)
    part = path.with_name(f"part-{path.name}")
    try:
        yield part
    finally:
        if part.exists():
            os.replace(part, path)
