"""Which modules a script has from the server's packages, though it has an environment of its own.

The server's folders are the end of an environment's `sys.path`, for PyTango and what a worker needs.  All else that is
found there is missing in the script's requirements, and with the next version of the server it may be gone.
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
from collections.abc import Iterable

_log = logging.getLogger(__name__)

# What the contract promises, and what that needs itself.
_PROMISED = frozenset({"ska_oet_device", "tango", "numpy", "pubsub", "setproctitle", "packaging", "psutil"})


def warn_of_what_is_not_required(names: Iterable[str]) -> None:
    """Say in the output which of some imported modules are the server's."""
    found = not_required(names)
    if found:
        _log.warning(
            "%s: imported from the server's own packages, since the requirements name nothing that has it",
            ", ".join(found),
        )


def not_required(names: Iterable[str]) -> list[str]:
    """Return those of some imported modules that are the server's, by the names of their packages, in order.

    For a process that runs under the interpreter of an environment, whose own packages are below `sys.prefix`.
    """
    servers = {folder for folder in sys.path if _is_servers(folder)}
    tops = {name.partition(".")[0] for name in names} - _PROMISED
    return sorted(top for top in tops if _folder_of(top) in servers)


def _is_servers(folder: str) -> bool:
    is_for_packages = os.path.basename(folder) in ("site-packages", "dist-packages")
    own = (sys.prefix, sysconfig.get_path("stdlib"))
    return is_for_packages and not any(f"{folder}/".startswith(f"{each}/") for each in own)


def _folder_of(name: str) -> str:
    """Return the folder of `sys.path` that a module was found in."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    paths = list(getattr(spec, "submodule_search_locations", None) or [getattr(spec, "origin", None) or ""])
    return os.path.dirname(str(paths[0]))
