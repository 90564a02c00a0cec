"""A session with itango whose lines are known beforehand, and what the shell has answered to each of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .tango_server import program

_PROMPT = re.compile(r"^(?:In \[\d+\]: |   \.\.\.: )", re.MULTILINE)


class EndedError(AssertionError):
    """The shell has ended before the last line, or has crashed at its end."""


def itango_session(
    lines: Sequence[str], environment: dict[str, str], folder: Path, *options: str, shell: str = "itango"
) -> list[str]:
    """Type lines into a shell, and return what it writes behind each, with the mark of an `Out`, if there is one."""
    ended = subprocess.run(
        [program(shell), "--simple-prompt", "--no-banner", "--colors=NoColor", *options],
        env={**os.environ, **environment},
        cwd=folder,
        input="\n".join([*lines, "exit", ""]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=80,
    )
    answers = _PROMPT.split(ended.stdout)
    if ended.returncode or len(answers) < len(lines) + 2:
        raise EndedError(f"exit status {ended.returncode}, {len(answers)} prompts\n{ended.stdout}")
    return [answer.rstrip() for answer in answers[1 : len(lines) + 1]]
