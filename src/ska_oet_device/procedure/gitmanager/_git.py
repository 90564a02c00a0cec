"""Running git: alone with its repository, mute, without prompts, and ended with whoever waits for it.

The only user of GitPython, which is imported where git is run for the first time: it costs a
quarter of a second.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import OetError
from ._args import without_credentials

_LONGEST_REASON = 500  # characters

# These would lead git to another repository than ours; a git hook sets them for what it starts.
_LEADING_ASTRAY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_WORK_TREE",
)

_SETTINGS = (
    "core.autocrlf=false",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",  # what was fetched once stays, whatever becomes of its branch
    "http.followRedirects=false",  # a redirection could lead out of GitRepositories
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "maintenance.auto=false",
    "submodule.recurse=false",
)

# Reads the token where it is needed, so that no command line and no environment ever holds it.
_TOKEN_HELPER = (
    '!f() { test "$1" != get || { echo username=oauth2; echo "password=$(cat "$OET_GIT_TOKEN_FILE")"; }; }; f'
)

_NOISE = re.compile(
    r"warning:|hint:|error: unable to read askpass|\s*$|Please make sure you have|and the repository exists"
)
_REDIRECTION = r"error: 30[1278]"
_REASONS = (
    (r"No space left on device|[Dd]isk quota exceeded", "the disk is full"),
    (
        r"Could not resolve host|Name or service not known|unable to look up",
        "its host is not known or there is no network",
    ),
    (
        r"Authentication failed|could not read (Username|Password)|error: 40[13]|Permission denied \(|Host key verif",
        "no access",
    ),
    (r"not found|not appear to be a git repo|not exported|does not exist|no such repository", "no such repository"),
    (
        r"refused|timed out|too slow|unreachable|Failed to connect|hung up|early EOF|Empty reply|disconnect",
        "no connection",
    ),
    (_REDIRECTION, "it has moved"),
)


class GitError(OetError):
    """Something of a git repository could not be had; the text says what, and what git said."""

    reason = "OET_ScriptNotFound"


class GitFailedError(Exception):
    """A git command failed; the text is what git said, without credentials."""

    @property
    def explained(self) -> str:
        """What git said, with what it means where that is known."""
        said = str(self)
        for pattern, meaning in _REASONS:
            if re.search(pattern, said):
                return f"{meaning} ({said})"
        return said

    @property
    def is_redirection(self) -> bool:
        return re.search(_REDIRECTION, str(self)) is not None


@dataclass(frozen=True)
class Git:
    """Runs git commands on behalf of one repository's URL.

    :param token_file: holds the password for the URL's host; empty for git's own ways
    :param deadline: of time.monotonic, for all commands together
    """

    url: str
    token_file: str
    timeout: float
    deadline: float

    @classmethod
    def for_url(cls, url: str, token_file: str, timeout: float) -> Git:
        return cls(url, token_file if url.startswith("http") else "", timeout, time.monotonic() + timeout)

    def check_token_file(self) -> None:
        """Refuse a token file that holds nothing for us: git would only say that its password is wrong.

        :raises GitError: it cannot be read or is empty
        """
        if not self.token_file:
            return
        try:
            held = self._token()
        except OSError as error:
            raise GitError(f"GitTokenFile {self.token_file} cannot be read: {error.strerror}") from None
        if not held:
            raise GitError(f"GitTokenFile {self.token_file} is empty")

    def _token(self) -> str:
        return Path(self.token_file).read_text(errors="replace").strip()

    def run(self, *command: str, **variables: str) -> str:
        """Return what a git command prints on its standard output, without the last newline.

        :param variables: more environment variables
        :raises GitFailedError: it ended with an error
        :raises GitError: it did not end in time, or there is no git
        """
        options = [word for setting in self._settings() for word in ("-c", setting)]
        process = _spawn(["git", *options, *command], {**self._environment(), **variables})
        try:
            output, said = process.communicate(timeout=max(0.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise GitError(f"repository {self.url}: time-out: git did not end within {self.timeout:g} s") from None
        finally:
            _end(process)
        if process.returncode != 0:
            raise GitFailedError(self._tidied(said.decode(errors="replace")) or _how_it_ended(process.returncode))
        return str(output.decode(errors="surrogateescape").removesuffix("\n"))

    def _settings(self) -> tuple[str, ...]:
        if not self.token_file:
            return _SETTINGS
        parts = urlsplit(self.url)
        return (*_SETTINGS, "credential.helper=", f"credential.{parts.scheme}://{parts.netloc}.helper={_TOKEN_HELPER}")

    def _environment(self) -> dict[str, str]:
        transports = "https:http:ssh:git" + (":file" if self.url.startswith("file:") else "")
        ssh = os.environ.get("GIT_SSH_COMMAND") or shlex.quote(os.environ.get("GIT_SSH") or "ssh")
        return {
            "GIT_ALLOW_PROTOCOL": transports,
            "GIT_ASKPASS": "false",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_SSH_COMMAND": f"{ssh} -oBatchMode=yes -oConnectTimeout=30",
            "GIT_TERMINAL_PROMPT": "0",
            "OET_GIT_TOKEN_FILE": self.token_file,
            "SSH_ASKPASS": "false",
        }

    def _tidied(self, said: str) -> str:
        """Return git's messages as one line, without noise, credentials and control characters."""
        lines = [
            re.sub(r"^((fatal|error|remote):\s*)+", "", line).strip()
            for line in said.splitlines()
            if not _NOISE.match(line)
        ]
        text = without_credentials("; ".join(dict.fromkeys(line for line in lines if line)))
        if self.token_file:
            with contextlib.suppress(OSError):  # git may have said so itself
                token = self._token()
                text = text.replace(token, "***") if token else text
        text = "".join(character if character.isprintable() else "?" for character in text)
        return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"


def _how_it_ended(status: int) -> str:
    return f"git was ended by signal {-status}" if status < 0 else f"git ended with status {status}"


def _spawn(command: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        import git
    except ImportError as error:  # looks for the git program, too
        raise GitError(f"git cannot be run: {_in_one_line(error)}") from None
    with _not_led_astray():
        try:
            # In a session of its own, so that its helpers can be ended with it.
            started = git.Git("/").execute(command, as_process=True, env=variables, start_new_session=True)
        except (OSError, git.GitCommandNotFound) as error:
            raise GitError(f"git cannot be run: {_in_one_line(error)}") from None
    process = started.proc
    started.proc = None  # ours to end
    assert process is not None
    return process


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


@contextlib.contextmanager
def _not_led_astray() -> Iterator[None]:
    taken = {name: os.environ.pop(name) for name in _LEADING_ASTRAY if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and its helpers if they still run: whoever waited for it was interrupted or had no more time."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
