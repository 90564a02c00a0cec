"""Clones and checked-out commits below one folder, shared by all procedures.

    repositories/<name>.lock    locked while one of the following is made or changed; counts the fetches
    repositories/<name>.git     the clone: bare, fetched into, never collected as garbage
    checkouts/<name>/<commit>   the files of one commit, read-only
    checkouts/<name>/<commit>.manifest   what they were when they were made
    checkouts/<name>/<commit>.changed    what somebody has made of them since: kept for whoever misses it, for a while

Clones and checkouts are made under another name and then renamed, so what has its name is whole.
A checkout is compared with its manifest before each use; one that was changed is made anew.
Everything here runs in a worker's main thread, where a signal may raise an exception anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...files import remove_tree
from ...manifest import Manifest
from ...own_files import make_folder
from ._args import GitArgs, check_form
from ._git import Git, GitError, GitFailedError
from ._lock import FetchLock

_log = logging.getLogger(__name__)

_FULL_HASH = 40  # digits
_LEAST_SPACE = 64 * 1024  # bytes
_MAKING = ".making-"
_DEFAULT = "refs/oet/HEAD"
# Commits that were on a branch or a tag when they were checked out first: they stay, whatever becomes of that.
# Not refs/oet/used: versions that looked for no branch have written there.
_VOUCHED = "refs/oet/vouched/"
_BRANCHES, _TAGS = "refs/remotes/origin/", "refs/tags/"
# HEAD as a pattern: a repository without one is no error then.
_REFSPECS = (f"+refs/heads/*:{_BRANCHES}*", f"+refs/tags/*:{_TAGS}*", f"+HEAD*:{_DEFAULT}*")
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--prune")


@dataclass(frozen=True)
class Checkout:
    """The files of one commit.

    :param path: their folder, which scripts import their neighbours from
    :param commit: the commit's full hash
    """

    path: Path
    commit: str


def checkout(
    git_args: GitArgs, base_dir: Path, *, token_file: str = "", token_host: str = "", timeout: float = 600.0
) -> Checkout:
    """Return the files of the commit that `git_args` names, fetched and checked out where they are not here yet.

    Runs in a worker and may take long; whoever asks for the same at the same time waits and
    shares the result.  Not checked here: whether the repository is one of GitRepositories.

    :param base_dir: the folder of all clones and checkouts; made if need be
    :param token_file: a file with tokens, see `_token`; they are offered over https only, each to its own host
    :param token_host: the URL of the host that a token without one is for; empty for the repository's own
    :param timeout: seconds that git may take in all
    :raises GitError: it cannot be had; one sentence that says what, and what git said
    :raises InvalidArgumentError: no possible URL, branch or commit
    """
    check_form(git_args)
    git = Git.for_url(git_args.git_repo, timeout, token_file, token_host)
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
        self._found = ""  # what was found wrong with the checkout
        self.lock = FetchLock(self.clone.with_suffix(".lock"))

    def checkout(self, args: GitArgs) -> Checkout:
        commit = (args.git_commit or "").lower()
        if len(commit) == _FULL_HASH and self._is_as_made(commit):
            return Checkout(self.checkouts / commit, commit)
        make_folder(self.clone.parent)
        make_folder(self.checkouts)
        with self.lock.held():
            commit = self._commit(commit) if commit else self._newest(args.git_branch)
            if not self._is_as_made(commit):
                self._check_out(commit)
        return Checkout(self.checkouts / commit, commit)

    # -- which commit

    def _commit(self, digits: str) -> str:
        found = self._on_branches(self._known(digits))
        if not found:
            self._fetch()
            found = self._on_branches(self._known(digits))
        if not found and self._known(digits):
            raise GitError(f"commit {digits} of repository {self.url} is on no branch and no tag")
        if not found:
            raise GitError(f"repository {self.url} has no commit {digits} on a branch or a tag")
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

    def _on_branches(self, commits: list[str]) -> list[str]:
        """Return those that a branch or a tag of the repository leads to, or led to when they were first used.

        Anybody's merge request puts commits into a repository, and many servers give them to whoever knows their hash.
        """
        return [commit for commit in commits if self._is_vouched_for(commit) or self._is_on_a_branch(commit)]

    def _is_vouched_for(self, commit: str) -> bool:
        return self._hash_of(f"{_VOUCHED}{commit}") == commit

    def _is_on_a_branch(self, commit: str) -> bool:
        """Tell whether a branch or a tag leads to a commit, as of the last fetch."""
        if not self._in_clone("rev-list", "--max-count=1", commit, "--not", f"--glob={_BRANCHES}*", "--tags"):
            return True
        # That was quick, and goes by the dates of the commits: those of a wrong clock deceive it.
        return bool(self._in_clone("for-each-ref", "--count=1", f"--contains={commit}", _BRANCHES, _TAGS))

    def _hash_of(self, name: str) -> str:
        """Return the hash of the commit that a ref leads to; empty if there is none."""
        try:
            return self._in_clone("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except GitFailedError:
            return ""

    def _type_of(self, name: str) -> str:
        try:
            return self._in_clone("cat-file", "-t", name)
        except GitFailedError:
            return ""

    def _newest(self, branch: str | None) -> str:
        self._fetch()
        for ref in (f"{_BRANCHES}{branch}", f"{_TAGS}{branch}") if branch else (_DEFAULT,):
            commit = self._hash_of(ref)
            if commit:
                return commit
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
        token = self.git.token()
        command = (f"--git-dir={clone}", *_FETCH, "--")
        try:
            self.git.run(*command, self.url, *_REFSPECS, token=token)
        except GitFailedError as failure:
            # GitLab redirects from the name without .git to the one with it.
            if not failure.is_redirection or self.url.endswith((".git", "/")):
                raise
            self.git.run(*command, f"{self.url}.git", *_REFSPECS, token=token)

    def _in_clone(self, *command: str, **variables: str) -> str:
        return self.git.run(f"--git-dir={self.clone}", *command, variables=variables)

    def _sweep_clone(self) -> None:
        """Remove what a killed git left: its locks would refuse us, its unfinished packs fill the disk.

        One whose maker alone was killed may have gone on, and written once more into what another maker had removed.
        """
        _sweep(self.clone.parent, self.clone.name)
        for leftover in [*self.clone.rglob("*.lock"), *self.clone.glob("objects/pack/tmp_*")]:
            leftover.unlink(missing_ok=True)

    # -- the checkouts

    def _is_as_made(self, commit: str) -> bool:
        """Tell whether a checkout is there, and nothing in it has changed since it was made."""
        path, written = self.checkouts / commit, self._manifest(commit)
        manifest = Manifest.read(written)
        if manifest is None or not path.is_dir():
            self._found = "it is not known what it was when it was made"
            return False
        self._found = manifest.changes(path, byte_code=True)
        if self._found:
            return False
        if manifest.is_stale:
            with contextlib.suppress(OSError):  # the next one looks at the content, too
                manifest.write(written)
        return True

    def _manifest(self, commit: str) -> Path:
        return self.checkouts / f"{commit}.manifest"

    def _check_out(self, commit: str) -> None:
        making = _aside(self.checkouts, "")
        index = making.with_suffix(".index")
        try:
            self._in_clone("update-ref", f"{_VOUCHED}{commit}", commit)
            self._in_clone("read-tree", commit, GIT_INDEX_FILE=str(index))
            self._in_clone("checkout-index", "--all", GIT_INDEX_FILE=str(index), GIT_WORK_TREE=str(making))
            _make_read_only(making)
            self._put_in_place(making, commit)
        except GitFailedError as failure:
            why = f"the disk is full ({failure})" if _is_full(making) else failure.explained
            raise GitError(f"commit {commit} of repository {self.url} cannot be checked out: {why}") from None
        finally:
            index.unlink(missing_ok=True)
            remove_tree(making)

    def _put_in_place(self, making: Path, commit: str) -> None:
        """Give a new checkout its name; one that was changed, and may be in use, keeps its files under another."""
        manifest = Manifest.take(making, byte_code=True)
        path, changed = self.checkouts / commit, self.checkouts / f"{commit}.changed"
        if os.path.lexists(path):
            remove_tree(changed)
            path.rename(changed)
            _log.warning("%s is made anew (%s); what it held is in %s", path, self._found, changed)
        remove_tree(self._manifest(commit))
        making.rename(path)
        manifest.write(self._manifest(commit))


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
