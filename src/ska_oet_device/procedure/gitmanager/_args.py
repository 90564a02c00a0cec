"""What a request may say about a repository.  No I/O: the device server checks before anything is started."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ...errors import InvalidArgumentError, NotAllowedError, brief

_LONGEST = 1024  # characters of a URL, a branch or a path; git and file systems stop at 4096 and less
_PREFIX = "git://"
_LONGEST_URI = len(_PREFIX) + 12 * _LONGEST  # a character may take four bytes, and a byte three characters

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*@"
_PATH = r"/[A-Za-z0-9._~+,=:@%/-]+"
_FORMS = (
    rf"(?:https?|git)://{_HOST}{_PATH}",
    rf"ssh://(?:{_USER})?{_HOST}{_PATH}",
    rf"file://{_PATH}",
    rf"{_USER}[A-Za-z0-9][A-Za-z0-9.-]*:(?=[A-Za-z0-9._~/])[A-Za-z0-9._~+,=@%/-]+",
)
_URL = re.compile("|".join(_FORMS), re.ASCII)
_HASH = re.compile(r"[0-9A-Fa-f]{4,40}", re.ASCII)
_NOT_IN_A_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_USER_IN_URL = re.compile(r"(https?://)\S*@|(://|^)[^\s/@]*:(?!//)\S*@")


@dataclass(frozen=True)
class GitArgs:
    """Which repository and what of it; a commit is more exact than a branch.

    :param git_repo: its URL
    :param git_branch: a branch or else a tag; None for the repository's default branch
    :param git_commit: a commit hash, whole or its first digits; wins over the branch
    """

    git_repo: str
    git_branch: str | None = None
    git_commit: str | None = None

    def as_data(self) -> dict[str, Any]:
        return {"git_repo": self.git_repo, "git_branch": self.git_branch, "git_commit": self.git_commit}


def without_credentials(text: str) -> str:
    """Return the text without what may be a password or a token in its URLs."""
    return _USER_IN_URL.sub(lambda match: f"{match[1] or match[2]}***@", text)


def check_git_args(git_args: GitArgs, allowed: Sequence[str]) -> None:
    """Check that a request names a repository of this device and a possible branch or commit.

    No I/O.  Whether they exist is found out by `checkout`.

    :param allowed: the URL prefixes of GitRepositories; each ends at the end of a path's component
    :raises InvalidArgumentError: no such URL, branch or commit can be
    :raises NotAllowedError: no prefix fits
    """
    check_form(git_args)
    if not any(_is_below(git_args.git_repo, prefix) for prefix in allowed):
        shown = ", ".join(allowed) or "(none)"
        raise NotAllowedError(f"git_repo {brief(git_args.git_repo)} is not below GitRepositories ({shown})")


def check_form(git_args: GitArgs) -> None:
    """Check what can be known without the prefixes that are allowed.

    :raises InvalidArgumentError: no such URL, branch or commit can be
    """
    _check_url(git_args.git_repo)
    if git_args.git_branch is not None:
        _check_branch(git_args.git_branch)
    if git_args.git_commit is not None and not _HASH.fullmatch(git_args.git_commit):
        raise InvalidArgumentError(
            f"git_commit {git_args.git_commit[:80]!r} is not a commit hash, 4 to 40 hexadecimal digits; "
            "a tag is named by git_branch"
        )


def _check_url(url: str) -> None:
    def refuse(rule: str) -> InvalidArgumentError:
        return InvalidArgumentError(f"git_repo {brief(without_credentials(url[:_LONGEST]))!r} {rule}")

    if len(url) > _LONGEST:
        raise refuse(f"has {len(url)} characters; a URL may have {_LONGEST}")
    if _USER_IN_URL.search(url):
        raise refuse("holds a user name or password; credentials come from the server's own settings")
    if not _URL.fullmatch(url):
        raise refuse(
            "is not a URL such as https://host/group/name.git (https, http, ssh, git, file, or user@host:path)"
        )
    path = re.split(r"://[^/]*/|:", url, maxsplit=1)[1]
    components = path.removeprefix("/").removesuffix("/").split("/")
    if any(not _is_plain(component) for component in components):
        raise refuse("has a component that is empty, '.', '..' or odd once decoded, or starts with a hyphen")


def _is_plain(component: str) -> bool:
    decoded = unquote(component, errors="replace")
    return (
        decoded not in ("", ".", "..")
        and decoded[0] != "-"
        and decoded.isprintable()
        and not any(character in decoded for character in "/\\%\ufffd")
    )


def _is_below(url: str, prefix: str) -> bool:
    # "user@host:" ends a component, too; "https://host:" would let any port in.
    if prefix.endswith("/") or (prefix.endswith(":") and "://" not in prefix):
        return url.startswith(prefix) and len(url) > len(prefix)
    return bool(prefix) and (url in (prefix, f"{prefix}.git") or url.startswith(f"{prefix}/"))


def _check_branch(branch: str) -> None:
    """Apply the rules of git-check-ref-format(1), and a few that keep names readable."""
    components = branch.split("/")
    if (
        not branch
        or len(branch) > _LONGEST
        or branch[0] == "-"
        or branch == "@"
        or branch.endswith(".")
        or not branch.isprintable()
        or _NOT_IN_A_REF.search(branch)
        or any(not part or part[0] == "." or part.endswith(".lock") for part in components)
    ):
        raise InvalidArgumentError(f"git_branch {branch[:80]!r} is not a possible name of a branch or a tag")


def script_path(script_uri: str) -> str:
    """Return the path inside the repository that a script's URI names: ``git://a/b.py`` is ``a/b.py``.

    :raises InvalidArgumentError: no path below the repository's top folder
    """
    path = unquote(script_uri[: _LONGEST_URI + 1].removeprefix(_PREFIX), errors="replace")
    components = path.split("/")
    if (
        not script_uri.startswith(_PREFIX)
        or len(script_uri) > _LONGEST_URI
        or len(path) > _LONGEST
        or "\\" in path
        or "\ufffd" in path
        or not path.isprintable()
        or any(part in ("", ".", "..") or part.lower() == ".git" for part in components)
    ):
        raise InvalidArgumentError(
            f"script_uri {script_uri[:200]!r} is not {_PREFIX} and a file's path from the top of its repository, "
            "such as git://scripts/observe.py"
        )
    return path
