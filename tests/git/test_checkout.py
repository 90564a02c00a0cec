"""Which commit a request gets, and what its checkout looks like."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.forked import in_a_child
from support.git_server import Upstream, git_daemon, run_git

from ska_oet_device.errors import InvalidArgumentError
from ska_oet_device.procedure.gitmanager import Checkout, GitArgs, GitError, checkout, find_script


def text(checkout: Checkout, name: str = "neighbour.py") -> str:
    return (checkout.path / name).read_text()


def two_of_one_start(upstream: Upstream) -> tuple[str, str]:
    """Make two commits whose hashes have the same first four digits."""
    by_start: dict[str, str] = {}
    tree = upstream.git("rev-parse", "HEAD^{tree}")
    for number in range(3000):
        commit = upstream.git("commit-tree", tree, "-m", str(number))
        if commit[:4] in by_start:
            return commit, by_start[commit[:4]]
        by_start[commit[:4]] = commit
    raise AssertionError("no two of 3000 hashes begin alike")


class TestWhichCommit:
    def test_nothing_given_is_the_default_branch_whatever_its_name(self, served, server, store):
        upstream = Upstream(served, "other.git", branch="trunk")
        head = upstream.commit(a="1")
        assert checkout(GitArgs(f"{server.url}other.git"), store).commit == head

    def test_the_default_branch_may_be_renamed(self, client, upstream):
        client.get()
        upstream.git("switch", "--quiet", "--create", "trunk")
        head = upstream.commit()
        upstream.git("--git-dir", str(upstream.bare), "symbolic-ref", "HEAD", "refs/heads/trunk")
        assert client.get().commit == head

    @pytest.mark.parametrize("branch", ["feature/x-1", "HEAD", "ünï", "deadbeef"])
    def test_a_branch_is_its_newest_commit(self, client, upstream, branch):
        upstream.git("update-ref", "refs/heads/work", "HEAD")
        upstream.git("switch", "--quiet", "work")
        first = upstream.commit(neighbour="VALUE = 2\n")
        upstream.push(f"HEAD:refs/heads/{branch}")
        assert client.get(branch).commit == first
        second = upstream.commit(neighbour="VALUE = 3\n")
        upstream.push(f"HEAD:refs/heads/{branch}")
        assert client.get(branch).commit == second

    @pytest.mark.parametrize("kind", [(), ("--annotate", "--message", "told")])
    def test_a_tag_is_its_commit(self, client, upstream, kind):
        tagged = upstream.head()
        upstream.git("tag", *kind, "v1.0")
        upstream.push("v1.0")
        upstream.commit()
        assert client.get("v1.0").commit == tagged

    def test_a_branch_goes_before_a_tag_of_the_same_name(self, client, upstream):
        upstream.git("tag", "both")
        upstream.push("refs/tags/both")
        head = upstream.commit()
        upstream.push("HEAD:refs/heads/both")
        assert client.get("both").commit == head

    def test_a_tag_of_something_else_is_refused(self, client, upstream):
        upstream.git("tag", "tree", "HEAD^{tree}")
        upstream.push("tree")
        with pytest.raises(GitError, match="no branch and no tag tree that names a commit"):
            client.get("tree")

    @pytest.mark.parametrize("digits", [40, 12, 7])
    def test_a_commit_by_its_hash_whole_or_short(self, client, upstream, digits):
        first = upstream.head()
        upstream.commit(neighbour="VALUE = 2\n")
        got = client.get("main", first[:digits].upper())
        assert (got.commit, got.path.name, text(got)) == (first, first, "VALUE = 1\n")

    def test_a_short_hash_that_fits_several_commits_is_refused(self, client, upstream):
        commit, other = two_of_one_start(upstream)
        upstream.push(f"{commit}:refs/heads/one", f"{other}:refs/heads/two")
        with pytest.raises(GitError, match=f"commit {commit[:4]} of repository .* is ambiguous: ") as caught:
            client.get(commit=commit[:4])
        assert commit in str(caught.value)
        assert other in str(caught.value)
        assert client.get(commit=commit).commit == commit

    def test_the_short_hash_of_a_tree_or_a_tag_called_like_a_hash_is_not_a_commit(self, client, upstream):
        tree = upstream.git("rev-parse", "HEAD^{tree}")
        upstream.git("tag", "facade00")
        upstream.push("facade00")
        for digits in (tree[:12], "facade00"):
            with pytest.raises(GitError, match=f"has no commit {digits}"):
                client.get(commit=digits)

    @pytest.mark.parametrize(
        ("asked", "missing"),
        [({"branch": "nope"}, "no branch and no tag nope"),
         ({"commit": "f" * 40}, f"no commit {'f' * 40} on a branch or a tag"),
         ({"commit": "abcdef1"}, "no commit abcdef1 on a branch or a tag")],
    )  # fmt: skip
    def test_what_is_not_there_is_named(self, client, asked, missing):
        with pytest.raises(GitError, match=missing) as caught:
            client.get(**asked)
        assert client.url in str(caught.value)

    def test_a_branch_that_was_deleted_is_gone(self, client, upstream):
        upstream.push("HEAD:refs/heads/short-lived")
        client.get("short-lived")
        upstream.push(":refs/heads/short-lived")
        with pytest.raises(GitError, match="no branch and no tag short-lived"):
            client.get("short-lived")

    def test_a_branch_may_become_a_folder_of_branches(self, client, upstream):
        upstream.push("HEAD:refs/heads/a")
        client.get("a")
        upstream.push(":refs/heads/a")
        upstream.push("HEAD:refs/heads/a/b")
        assert client.get("a/b").commit == upstream.head()

    def test_an_empty_repository_is_said_to_be_empty(self, served, server, store):
        empty = Upstream(served, "empty.git")
        args = GitArgs(f"{server.url}empty.git")
        with pytest.raises(GitError, match="is empty, or its default branch does not exist"):
            checkout(args, store)
        head = empty.commit(a="1")
        assert checkout(args, store).commit == head


class TestForcedPush:
    def test_a_commit_that_was_used_stays_whatever_becomes_of_its_branch(self, client, upstream, store):
        used = upstream.commit(neighbour="VALUE = 2\n")
        path = client.get().path
        upstream.git("reset", "--quiet", "--hard", "HEAD~1")
        newer = upstream.commit(neighbour="VALUE = 3\n")
        upstream.git("--git-dir", str(upstream.bare), "gc", "--quiet", "--prune=now")
        assert client.get().commit == newer
        assert client.get(commit=used).path == path
        (clone,) = store.glob("repositories/*.git")
        upstream.git("--git-dir", str(clone), "gc", "--quiet", "--prune=now")  # somebody's own housekeeping
        path.rename(path.with_name("away"))
        assert text(client.get(commit=used[:10])) == "VALUE = 2\n"


class TestACommitOnNoBranch:
    """Whoever may open a merge request can put commits into a repository; servers give them by their hash."""

    @pytest.fixture(autouse=True)
    def _gives_everything(self, upstream):
        upstream.git("--git-dir", str(upstream.bare), "config", "uploadpack.allowAnySHA1InWant", "true")

    def strangers(self, upstream) -> str:
        """Push a commit as a merge request does."""
        commit = upstream.commit(neighbour="VALUE = 'stranger'\n")
        upstream.git("tag", "tree", "HEAD^{tree}")
        upstream.push("HEAD:refs/merge-requests/1/head", "HEAD~1:refs/heads/main", "tree")
        return commit

    @pytest.mark.parametrize("digits", [40, 12])
    @pytest.mark.parametrize("known", [False, True])
    def test_is_refused(self, client, upstream, digits, known):
        commit = self.strangers(upstream)
        if known:
            client.get()
            (clone,) = client.store.glob("repositories/*.git")
            run_git(clone, "fetch", "--quiet", str(upstream.bare), f"{commit}:refs/oet/fetched/{commit}")
            run_git(clone, "update-ref", f"refs/oet/used/{commit}", commit)  # as earlier versions did
        with pytest.raises(GitError) as caught:
            client.get(commit=commit[:digits])
        assert commit[:digits] in str(caught.value)
        assert ("is on no branch and no tag" if known else "on a branch or a tag") in str(caught.value)
        assert caught.value.reason == "OET_ScriptNotFound"
        assert not list(client.store.glob(f"checkouts/*/{commit}*"))

    def test_is_refused_where_an_earlier_version_has_checked_it_out(self, client, upstream):
        commit = self.strangers(upstream)
        folder = client.get().path.with_name(commit)
        folder.mkdir()
        (folder / "neighbour.py").write_text("VALUE = 'stranger'\n")
        with pytest.raises(GitError, match="on a branch or a tag"):
            client.get(commit=commit)

    @pytest.mark.long
    def test_does_not_make_a_short_hash_ambiguous(self, client, upstream):
        commit, other = two_of_one_start(upstream)
        upstream.push(f"{commit}:refs/heads/one", f"{other}:refs/merge-requests/2/head")
        client.get()
        (clone,) = client.store.glob("repositories/*.git")
        run_git(clone, "fetch", "--quiet", str(upstream.bare), f"{other}:refs/oet/fetched/{other}")
        assert client.get(commit=commit[:4]).commit == commit

    def test_is_had_when_a_branch_or_a_tag_has_come_to_lead_to_it(self, client, upstream):
        commit = self.strangers(upstream)
        with pytest.raises(GitError):
            client.get(commit=commit)
        upstream.git("tag", "--annotate", "--message", "merged", "v1", commit)
        upstream.push("v1")
        assert text(client.get(commit=commit)) == "VALUE = 'stranger'\n"

    def test_is_had_from_a_branch_that_has_gone_on(self, client, upstream):
        first = upstream.head()
        for _ in range(3):
            upstream.commit()
        upstream.git("switch", "--quiet", "--create", "side", first)
        upstream.commit()
        assert client.get(commit=first).commit == first
        assert client.get(commit=upstream.head()).commit == upstream.head()

    def test_is_not_taken_for_one_because_of_the_clock_of_its_author(self, client, upstream):
        tree = upstream.git("rev-parse", "HEAD^{tree}")
        by = "a <a@b> 4000000000 +0000"
        raw = f"tree {tree}\nauthor {by}\ncommitter {by}\n\nx\n"
        (upstream.tree / "raw").write_text(raw)
        ahead = upstream.git("hash-object", "-t", "commit", "-w", "raw")
        upstream.git("reset", "--quiet", "--hard", ahead)
        for _ in range(7):
            upstream.git("commit", "--quiet", "--allow-empty", "-m", "after")
        upstream.push()
        assert client.get(commit=ahead).commit == ahead


class TestWork:
    def test_a_known_commit_needs_no_network(self, client, upstream, server):
        commit = client.get().commit
        before = len(server.requests)
        client.get(commit=commit)
        client.get(commit=commit[:8])
        assert len(server.requests) == before

    def test_a_commit_is_checked_out_once(self, client):
        first, second = client.get(), client.get("main")
        assert first == second
        assert first.path.stat().st_ino == second.path.stat().st_ino

    def test_git_daemon_and_file_urls_serve_as_well(self, served, store, upstream):
        with git_daemon(served) as url:
            assert checkout(GitArgs(f"{url}scripts.git"), store).commit == upstream.head()
        assert checkout(GitArgs(f"file://{upstream.bare}"), store).commit == upstream.head()

    def test_a_name_without_git_may_be_redirected_to_the_one_with_it(self, server, store, upstream):
        server.redirects["/scripts"] = "/scripts.git"
        assert checkout(GitArgs(f"{server.url}scripts"), store).commit == upstream.head()
        newer = upstream.commit()
        assert checkout(GitArgs(f"{server.url}scripts", None, newer), store).commit == newer

    def test_gitpython_is_not_imported_before_git_is_run(self):
        code = "import sys, ska_oet_device.procedure.gitmanager; sys.exit('git' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})

    def test_the_settings_of_a_calling_git_do_not_lead_it_astray(self, client, upstream, monkeypatch, tmp_path):
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
            monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
        assert text(client.get()) == "VALUE = 1\n"
        assert os.environ["GIT_DIR"] == str(tmp_path / "elsewhere")
        assert not (tmp_path / "elsewhere").exists()

    def test_nothing_is_printed(self, client, capfd):
        client.get()
        with pytest.raises(GitError):
            client.get("nope")
        assert capfd.readouterr() == ("", "")


class TestFiles:
    def test_scripts_import_their_neighbours(self, client):
        got = client.get()
        script = find_script(got, "scripts/observe.py")
        subprocess.run([sys.executable, "-B", str(script)], check=True, env={**os.environ, "PYTHONPATH": str(got.path)})

    def test_nothing_in_it_can_be_written_to(self, client):
        top = client.get().path
        for path in [top, *top.rglob("*")]:
            assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH), path

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
    def test_a_user_without_privileges_can_make_it_and_not_change_it(self, client, upstream, tmp_path):
        @in_a_child
        def as_nobody():
            os.environ.update(GIT_CONFIG_GLOBAL="/dev/null", HOME="/")
            os.setgid(65534)
            os.setuid(65534)
            top = checkout(GitArgs(client.url), Path(folder)).path
            with pytest.raises(PermissionError):
                (top / "neighbour.py").write_text("VALUE = 9\n")
            with pytest.raises(PermissionError):
                (top / "new.py").touch()

        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            as_nobody()

    def test_neither_hooks_nor_submodules_nor_the_work_of_git_lfs_are_there(self, client, upstream, served, store):
        other = Upstream(served, "other.git")
        other.commit(a="1")
        upstream.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"file://{other.bare}", "sub")
        upstream.commit()
        top = client.get().path
        assert not list((top / "sub").iterdir())
        assert not (top / ".git").exists()
        assert not list(store.glob("repositories/*.git/hooks"))

    def test_hooks_of_the_user_do_not_run(self, client, tmp_path):
        template = tmp_path / "template" / "hooks"
        template.mkdir(parents=True)
        for name in ("post-checkout", "reference-transaction", "post-index-change"):
            (template / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
            (template / name).chmod(0o755)
        Path(os.environ["GIT_CONFIG_GLOBAL"]).write_text(
            f"[init]\n\ttemplateDir = {template.parent}\n[core]\n\thooksPath = {template}\n"
        )
        client.get()
        assert not (tmp_path / "ran").exists()

    def test_a_missing_file_is_named_with_the_commit(self, client):
        got = client.get()
        for path in ("nope.py", "scripts"):
            with pytest.raises(GitError, match=f"commit {got.commit} has no file {path}"):
                find_script(got, path)

    def test_a_symbolic_link_may_not_lead_out(self, client, upstream):
        (upstream.tree / "out.py").symlink_to("/etc/hostname")
        (upstream.tree / "up").symlink_to("../..")
        (upstream.tree / "in.py").symlink_to("neighbour.py")
        upstream.commit()
        got = client.get()
        assert find_script(got, "in.py") == Path(os.path.realpath(got.path / "neighbour.py"))
        for path in ("out.py", f"up/{got.commit}x"):
            with pytest.raises(GitError, match="leads out of its repository"):
                find_script(got, path)

    def test_what_cannot_be_is_refused_before_git_is_run(self, store):
        with pytest.raises(InvalidArgumentError):
            checkout(GitArgs("ext::sh -c touch% /tmp/x"), store)
        assert not store.exists()
