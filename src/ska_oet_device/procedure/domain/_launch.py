"""What has to be known to launch a script.  Runs in the device server."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

from ...config import Settings, state_directory
from ...errors import InvalidArgumentError
from ..gitmanager import check_git_args, first_https_host, script_path
from ..messages import Check, Load
from ..script import ExecutableScript, FileSystemScript, GitScript, ProcedureInput
from ._locate import check_syntax, locate


def new_run_id() -> str:
    """Return a UUID version 7 (RFC 9562): sortable by time, unique for ever.  Python has it from 3.14 on."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds << 80) | (0x7 << 76) | ((random >> 68) << 64) | (0b10 << 62) | (random & (1 << 62) - 1)
    return str(uuid.UUID(int=value))


def find_script(script: ExecutableScript, settings: Settings) -> str:
    """Return the path of a script on the file system; "" for one in git, of which only the request is checked.

    :raises InvalidArgumentError: the script cannot be what was named
    :raises ScriptNotFoundError: there is no such script
    :raises NotAllowedError: it is outside of what this device may run
    """
    path = locate_script(script, settings)
    if path:
        check_syntax(Path(path))
    return path


def locate_script(script: ExecutableScript, settings: Settings) -> str:
    """Return what `find_script` does, of a script that need not be Python."""
    if isinstance(script, FileSystemScript):
        return str(locate(script, settings.script_roots))
    if not isinstance(script, GitScript):
        raise InvalidArgumentError(f"scripts of type {getattr(script, 'script_type', '?')} cannot be run")
    check_git_args(script.git_args, settings.git_repositories)
    script_path(script.script_uri)
    return ""


def load_of(
    process_uid: int,
    script: ExecutableScript,
    init_args: ProcedureInput,
    settings: Settings,
    *,
    path: str,
    run_id: str,
    context: dict[str, Any],
    output: str = "",
    folder: str = "",
) -> Load:
    """Return the message that has a script launched.

    :param path: where `find_script` has found it
    :param context: the context that scripts are given now
    :param output: the file for what it prints; "" where that goes where the server's goes
    :param folder: the folder of the run; "" where nothing is kept
    """
    return Load(
        process_uid=process_uid,
        run_id=run_id,
        script=script.as_data(),
        path=path,
        roots=list(settings.script_roots),
        init_args=init_args.as_data(),
        context=context,
        timeouts=settings.timeouts,
        grace=settings.stop_grace_period,
        output=output,
        max_memory=settings.max_memory,
        source=_source(script, settings),
        compatible=settings.oet_compatibility,
        folder=folder,
        max_output=settings.max_output,
    )


def check_of(load: Load, check_id: int, fn_name: str | None, run_args: ProcedureInput | None) -> Check:
    """Return the message that has a script checked.

    :param load: what would launch it
    :param fn_name: the function that is to be started, and its arguments; None: nobody has said
    """
    given = run_args.as_data() if run_args is not None else None
    usual = Settings().timeouts
    timeouts = {name: seconds or usual[name] for name, seconds in load.timeouts.items()}  # nobody can stop a check
    return Check(**{**vars(load), "timeouts": timeouts}, check_id=check_id, fn_name=fn_name, run_args=given)


def _source(script: ExecutableScript, settings: Settings) -> dict[str, Any] | None:
    """Return what a worker must know to get a script from git; None for one on the file system."""
    if not isinstance(script, GitScript):
        return None
    return {
        "git_args": script.git_args.as_data(),
        "path": script_path(script.script_uri),
        "create_env": script.create_env,
        "base_dir": str(state_directory(settings)),
        "max_memory": settings.max_memory,
        "token_file": settings.git_token_file,
        "token_host": first_https_host(settings.git_repositories),
        "timeout": settings.environment_timeout,
    }
