"""Clones and checked-out commits below one folder, shared by all procedures.

    repositories/<name>.lock    locked while one of the following is made or changed; counts the fetches
    repositories/<name>.git     the clone: bare, fetched into, never collected as garbage
    checkouts/<name>/<commit>   the files of one commit, read-only

Clones and checkouts are made under another name and then renamed, so what has its name is whole.
Everything here runs in a worker's main thread, where a signal may raise an exception anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...files import remove_tree
from ._args import GitArgs, check_form
from ._git import Git, GitError, GitFailedError
from ._lock import FetchLock

_FULL_HASH = 40  # digits
_LEAST_SPACE = 64 * 1024  # bytes
_MAKING = ".making-"
_DEFAULT = "refs/oet/HEAD"
_BRANCHES, _TAGS = "refs/remotes/origin/", "refs/tags/"
# HEAD as a pattern: a repository without one is no error then.
_REFSPECS = (f"+refs/heads/*:{_BRANCHES}*", f"+refs/tags/*:{_TAGS}*", f"+HEAD*:{_DEFAULT}*")
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")


@dataclass(frozen=True)
class Checkout:
    """The files of one commit.

    :param path: their folder, which scripts import their neighbours from
    :param commit: the commit's full hash
    """

    path: Path
    commit: str


def checkout(git_args: GitArgs, base_dir: Path, *, token_file: str = "", timeout: float = 600.0) -> Checkout:
    """Return the files of the commit that `git_args` names, fetched and checked out where they are not here yet.

    Runs in a worker and may take long; whoever asks for the same at the same time waits and
    shares the result.  Not checked here: whether the repository is one of GitRepositories.

    :param base_dir: the folder of all clones and checkouts; made if need be
    :param token_file: a file with a password for the repository's host, for http and https
    :param timeout: seconds that git may take in all
    :raises GitError: it cannot be had; one sentence that says what, and what git said
    :raises InvalidArgumentError: no possible URL, branch or commit
    """
    check_form(git_args)
    git = Git.for_url(git_args.git_repo, token_file, timeout)
    try:
        return _Repository(git, base_dir).checkout(git_args)
    except GitFailedError as failure:
        raise GitError(f"repository {git_args.git_repo}: {failure.explained}") from None
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise GitError(f"repository {git_args.git_repo} cannot be kept: {error.strerror or error}{where}") from error


def find_script(checkout: Checkout, path: str) -> Path:
    """Return the real path of a file of a checked-out commit.

    :param path: from the repository's top folder, as `script_path` returns it
    :raises GitError: not there, no file, or a symbolic link that leads out
    """
    top = Path(os.path.realpath(checkout.path))
    real = Path(os.path.realpath(top / path))
    if top not in real.parents:
        raise GitError(f"{path} of commit {checkout.commit} leads out of its repository")
    if not real.is_file():
        raise GitError(f"commit {checkout.commit} has no file {path}")
    return real


class _Repository:
    """One repository's clone and checkouts."""

    def __init__(self, git: Git, base_dir: Path) -> None:
        self.git = git
        self.url = git.url
        readable = re.sub(r"[^A-Za-z0-9._-]", "", self.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git"))[:40]
        name = f"{readable}-{hashlib.sha256(self.url.encode()).hexdigest()[:16]}"
        self.clone = base_dir.absolute() / "repositories" / f"{name}.git"
        self.checkouts = base_dir.absolute() / "checkouts" / name
        self.lock = FetchLock(self.clone.with_suffix(".lock"))

    def checkout(self, args: GitArgs) -> Checkout:
        commit = (args.git_commit or "").lower()
        if len(commit) == _FULL_HASH and (self.checkouts / commit).is_dir():
            return Checkout(self.checkouts / commit, commit)
        self.clone.parent.mkdir(parents=True, exist_ok=True)
        self.checkouts.mkdir(parents=True, exist_ok=True)
        with self.lock.held():
            commit = self._commit(commit) if commit else self._newest(args.git_branch)
            if not (self.checkouts / commit).is_dir():
                self._check_out(commit)
        return Checkout(self.checkouts / commit, commit)

    # -- which commit

    def _commit(self, digits: str) -> str:
        found = self._known(digits)
        if not found:
            self._fetch()
            found = self._known(digits)
        if not found and len(digits) == _FULL_HASH:
            self._fetch_commit(digits)
            found = [digits]
        if not found:
            raise GitError(f"repository {self.url} has no commit {digits}")
        if len(found) > 1:
            shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
            raise GitError(f"commit {digits} of repository {self.url} is ambiguous: it may be {shown}")
        return found[0]

    def _known(self, digits: str) -> list[str]:
        """Return the commits in the clone whose hashes start with `digits`."""
        if not self.clone.is_dir():
            return []
        hashes = self._in_clone("rev-parse", f"--disambiguate={digits}").split()
        return [name for name in hashes if self._type_of(name) == "commit"]

    def _type_of(self, name: str) -> str:
        try:
            return self._in_clone("cat-file", "-t", name)
        except GitFailedError:
            return ""

    def _newest(self, branch: str | None) -> str:
        self._fetch()
        for ref in (f"{_BRANCHES}{branch}", f"{_TAGS}{branch}") if branch else (_DEFAULT,):
            with contextlib.suppress(GitFailedError):
                return self._in_clone("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        if branch:
            raise GitError(f"repository {self.url} has no branch and no tag {branch} that names a commit")
        raise GitError(f"repository {self.url} is empty, or its default branch does not exist")

    # -- the clone

    def _fetch(self) -> None:
        if self.clone.is_dir():
            if self.lock.fetched_meanwhile:
                return
            self.lock.fetch_begins()
            self._sweep_clone()
            self._fetch_into(self.clone)
        else:
            self.lock.fetch_begins()
            self._make_clone()
        self.lock.fetch_done()

    def _make_clone(self) -> None:
        making = _aside(self.clone.parent, self.clone.name)
        try:
            self.git.run("init", "--quiet", "--bare", "--template=", "--", str(making))
            self._fetch_into(making)
            making.rename(self.clone)
        finally:
            remove_tree(making)

    def _fetch_into(self, clone: Path) -> None:
        self.git.check_token_file()
        self._run_fetch(clone, "--prune", refspecs=_REFSPECS)

    def _fetch_commit(self, commit: str) -> None:
        """Ask for a commit that no branch and no tag leads to; most servers give it."""
        try:
            self._run_fetch(self.clone, refspecs=(f"+{commit}:refs/oet/fetched/{commit}",))
        except GitFailedError as failure:
            raise GitError(f"repository {self.url} has no commit {commit}: {failure}") from None
        if self._type_of(commit) != "commit":
            raise GitError(f"repository {self.url}: {commit} is not a commit")

    def _run_fetch(self, clone: Path, *options: str, refspecs: tuple[str, ...]) -> None:
        command = (f"--git-dir={clone}", *_FETCH, *options, "--")
        try:
            self.git.run(*command, self.url, *refspecs)
        except GitFailedError as failure:
            # GitLab redirects from the name without .git to the one with it.
            if not failure.is_redirection or self.url.endswith((".git", "/")):
                raise
            self.git.run(*command, f"{self.url}.git", *refspecs)

    def _in_clone(self, *command: str, **variables: str) -> str:
        return self.git.run(f"--git-dir={self.clone}", *command, **variables)

    def _sweep_clone(self) -> None:
        """Remove what a killed git left: its locks would refuse us, its unfinished packs fill the disk.

        One whose maker alone was killed may have gone on, and written once more into what another maker had removed.
        """
        _sweep(self.clone.parent, self.clone.name)
        for leftover in [*self.clone.rglob("*.lock"), *self.clone.glob("objects/pack/tmp_*")]:
            leftover.unlink(missing_ok=True)

    # -- the checkouts

    def _check_out(self, commit: str) -> None:
        making = _aside(self.checkouts, "")
        index = making.with_suffix(".index")
        try:
            self._in_clone("update-ref", f"refs/oet/used/{commit}", commit)
            self._in_clone("read-tree", commit, GIT_INDEX_FILE=str(index))
            self._in_clone("checkout-index", "--all", GIT_INDEX_FILE=str(index), GIT_WORK_TREE=str(making))
            _make_read_only(making)
            making.rename(self.checkouts / commit)
        except GitFailedError as failure:
            why = f"the disk is full ({failure})" if _is_full(making) else failure.explained
            raise GitError(f"commit {commit} of repository {self.url} cannot be checked out: {why}") from None
        finally:
            index.unlink(missing_ok=True)
            remove_tree(making)


def _aside(folder: Path, name: str) -> Path:
    """Return a new folder to make something in; those that were left are removed."""
    _sweep(folder, name)
    return Path(tempfile.mkdtemp(prefix=f"{_MAKING}{name}-", dir=folder))


def _sweep(folder: Path, name: str) -> None:
    """Remove what was being made when its maker was killed: it is nobody's, under the lock."""
    for leftover in folder.glob(f"{_MAKING}{name}*"):
        remove_tree(leftover)


def _is_full(folder: Path) -> bool:
    """Say whether nothing can be written any more; git checks files out without saying why it cannot."""
    there = os.statvfs(folder)
    return there.f_bavail * there.f_frsize < _LEAST_SPACE or (there.f_files > 0 and there.f_favail == 0)


def _make_read_only(top: Path) -> None:
    for folder, _, files in os.walk(top, topdown=False):
        for path in [*(os.path.join(folder, file) for file in files), folder]:
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode):
                os.chmod(path, stat.S_IMODE(mode) & ~0o222)
    top.chmod(0o555)
