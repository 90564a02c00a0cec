"""Scripts from git repositories: one clone a repository, one read-only folder a commit."""

from ._args import GitArgs, check_git_args, script_path
from ._git import GitError
from ._store import Checkout, checkout, find_script
from ._token import first_https_host

__all__ = [
    "Checkout",
    "GitArgs",
    "GitError",
    "check_git_args",
    "checkout",
    "find_script",
    "first_https_host",
    "script_path",
]
