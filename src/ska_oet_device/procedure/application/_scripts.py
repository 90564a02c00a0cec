"""Whether a script may be prepared, and where it is."""

from __future__ import annotations

from ...config import Settings
from ...errors import InvalidArgumentError
from ..domain import check_syntax, locate
from ..gitmanager import check_git_args, script_path
from ..script import ExecutableScript, FileSystemScript, GitScript


def find_script(script: ExecutableScript, settings: Settings) -> str:
    """Return the path of a script on the file system; "" for one in git, of which only the request is checked.

    :raises InvalidArgumentError: the script cannot be what was named
    :raises ScriptNotFoundError: there is no such script
    :raises NotAllowedError: it is outside of what this device may run
    """
    if isinstance(script, FileSystemScript):
        path = locate(script, settings.script_roots)
        check_syntax(path)
        return str(path)
    if not isinstance(script, GitScript):
        raise InvalidArgumentError(f"scripts of type {getattr(script, 'script_type', '?')} cannot be run")
    check_git_args(script.git_args, settings.git_repositories)
    script_path(script.script_uri)
    return ""
