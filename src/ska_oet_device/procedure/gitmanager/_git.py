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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...config import bounded
from ...errors import OetError
from ._args import without_credentials
from ._token import Token, TokenFileError, token_for

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

_NO_MORE: dict[str, str] = {}
_NOTHING_GIVEN: tuple[tuple[str, ...], tuple[int, ...]] = ((), ())

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

    :param token_file: as GitTokenFile
    :param token_host: the URL of the host that a token without one is for; empty for the URL's own host
    :param deadline: of time.monotonic, for all commands together
    """

    url: str
    token_file: str
    token_host: str
    timeout: float
    deadline: float

    @classmethod
    def for_url(cls, url: str, timeout: float, token_file: str = "", token_host: str = "") -> Git:
        return cls(url, token_file, token_host or url, timeout, time.monotonic() + timeout)

    def token(self) -> Token | None:
        """Return the token for the URL's host, if there is one.

        :raises GitError: the token file holds nothing that can be used: git would only say that the password is wrong
        """
        try:
            return token_for(self.url, self.token_file, self.token_host)
        except TokenFileError as error:
            raise GitError(f"GitTokenFile {self.token_file} {error}") from None

    def run(self, *command: str, token: Token | None = None, variables: Mapping[str, str] = _NO_MORE) -> str:
        """Return what a git command prints on its standard output, without the last newline.

        :param token: what the repository's host is given if it asks
        :param variables: more environment variables
        :raises GitFailedError: it ended with an error
        :raises GitError: it did not end in time, or there is no git
        """
        with token.given() if token is not None else contextlib.nullcontext(_NOTHING_GIVEN) as (settings, inherited):
            options = [word for setting in (*_SETTINGS, *settings) for word in ("-c", setting)]
            process = _spawn(["git", *options, *command], {**self._environment(), **variables}, inherited)
        try:
            output, said = process.communicate(timeout=bounded(self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise GitError(f"repository {self.url}: time-out: git did not end within {self.timeout:g} s") from None
        finally:
            _end(process)
        if process.returncode != 0:
            tidied = _tidied(said.decode(errors="replace"), token)
            raise GitFailedError(tidied or _how_it_ended(process.returncode))
        return str(output.decode(errors="surrogateescape").removesuffix("\n"))

    def _environment(self) -> dict[str, str]:
        transports = "https:http:ssh:git" + (":file" if self.url.startswith("file:") else "")
        ssh = os.environ.get("GIT_SSH_COMMAND") or shlex.quote(os.environ.get("GIT_SSH") or "ssh")
        return {
            "GIT_ALLOW_PROTOCOL": transports,
            "GIT_ASKPASS": "false",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_SSH_COMMAND": f"{ssh} -oBatchMode=yes -oConnectTimeout=30",
            "GIT_TERMINAL_PROMPT": "0",
            "SSH_ASKPASS": "false",
        }


def _tidied(said: str, token: Token | None) -> str:
    """Return git's messages as one line, without noise, credentials and control characters."""
    lines = [
        re.sub(r"^((fatal|error|remote):\s*)+", "", line).strip()
        for line in said.splitlines()
        if not _NOISE.match(line)
    ]
    text = without_credentials("; ".join(dict.fromkeys(line for line in lines if line)))
    if token is not None:
        text = token.hidden_in(text)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"


def _how_it_ended(status: int) -> str:
    return f"git was ended by signal {-status}" if status < 0 else f"git ended with status {status}"


def _spawn(command: list[str], variables: dict[str, str], inherited: tuple[int, ...]) -> subprocess.Popen[bytes]:
    try:
        import git
    except ImportError as error:  # looks for the git program, too
        raise GitError(f"git cannot be run: {_in_one_line(error)}") from None
    # What would have the token sent to whoever stands in between is not for those that have one.
    with _without(*_LEADING_ASTRAY, *(("GIT_SSL_NO_VERIFY",) if inherited else ())):
        try:
            # In a session of its own, so that its helpers can be ended with it.
            started = git.Git("/").execute(
                command, as_process=True, env=variables, start_new_session=True, pass_fds=inherited
            )
        except (OSError, git.GitCommandNotFound) as error:
            raise GitError(f"git cannot be run: {_in_one_line(error)}") from None
    process = started.proc
    started.proc = None  # ours to end
    assert process is not None
    return process


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
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
