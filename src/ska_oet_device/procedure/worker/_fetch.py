"""Getting a script from git, and the environment it is to run in.  Main thread of a worker.

All of it happens here, because it may take long, hang, or fill a disk; the worker can be stopped
meanwhile like any other.  Needs the server's own Python: an environment need not have GitPython.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...config import Settings, state_directory
from ..environment.manager import EnvironmentManager
from ..gitmanager import GitArgs, checkout, find_script, script_path
from ..script import GitScript
from ._byte_code import import_from_source
from ._surroundings import limit_memory


@dataclass(frozen=True)
class Prepared:
    """A script that is there: its file, its checkout, and the folder of its environment, empty if it has none."""

    path: str
    root: str
    commit: str
    environment: str


def environments_of(source: dict[str, Any]) -> EnvironmentManager:
    """Return the store of environments that a script's is to be in."""
    return EnvironmentManager(base_dir=Path(source["base_dir"]) / "environments")


def prepare(
    source: dict[str, Any], environments: EnvironmentManager, on_found: Callable[[Prepared], None] = lambda found: None
) -> Prepared:
    """Check the script's commit out, and make its environment if it is to have one.

    :param source: git_args, path, create_env, base_dir, max_memory, token_file, token_host and timeout, as plain
        data
    :param environments: holds the environment until it is closed or dropped
    :param on_found: called when the script is there, before its environment is made
    :raises GitError: the repository, commit or file cannot be had; one sentence says why
    :raises EnvironmentBuildError: the environment cannot be made
    """
    found = checkout(
        GitArgs(**source["git_args"]),
        _git_store(source["base_dir"]),
        token_file=source["token_file"],
        token_host=source["token_host"],
        timeout=source["timeout"] or _FOR_EVER,
    )
    prepared = Prepared(str(find_script(found, source["path"])), str(found.path), found.commit, "")
    if source["create_env"]:
        limit_memory(source["max_memory"] and max(source["max_memory"], _LEAST_FOR_BUILDS))
    on_found(prepared)
    if source["create_env"]:
        prepared = replace(prepared, environment=str(environments.prepare(found.path, found.commit).folder))
    return prepared


def fetch(script: GitScript) -> str:
    """Return the file of a script, checked out into the state directory, and let it import its neighbours.

    :raises GitError: the repository, commit or file cannot be had; one sentence says why
    """
    base_dir = state_directory(Settings())
    found = checkout(script.git_args, _git_store(base_dir))
    path = str(find_script(found, script_path(script.script_uri)))
    use_checkout(Prepared(path, str(found.path), found.commit, ""))
    return path


def _git_store(base_dir: str | Path) -> Path:
    return Path(base_dir) / "git"


def use_checkout(prepared: Prepared) -> None:
    """Let the script import its neighbours in the repository, from their sources."""
    import_from_source(prepared.root)
    sys.path.insert(0, prepared.root)
    # GitPython was needed to get here; the script's own module of that name must not be hidden by it.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("git", "gitdb", "smmap")]:
        del sys.modules[name]


_LEAST_FOR_BUILDS = (
    1024**3
)  # bytes; a small MaxMemory is right for scripts, and too little for installers and compilers
_FOR_EVER = 7 * 86400.0  # seconds; without a deadline of its own, main's is what counts
