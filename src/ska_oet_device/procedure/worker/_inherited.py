"""What a worker has of its template's and must not use: helper processes that a preloaded module has started."""

from __future__ import annotations

import os
import sys


def leave_helpers_to_template() -> None:
    """Have this process start helpers of its own, which end with it.

    The template's forkserver would make processes outside of the procedure; its resource tracker would clean up when
    the template ends.
    """
    forkserver = sys.modules.get("multiprocessing.forkserver")
    if forkserver is not None and forkserver._forkserver._forkserver_alive_fd is not None:
        server = forkserver._forkserver
        os.close(server._forkserver_alive_fd)
        preloaded = server._preload_modules
        server.__init__()
        server._preload_modules = preloaded
    tracking = sys.modules.get("multiprocessing.resource_tracker")
    if tracking is not None and tracking._resource_tracker._fd is not None:
        tracker = tracking._resource_tracker
        os.close(tracker._fd)
        tracker._fd = tracker._pid = None
