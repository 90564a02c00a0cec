"""Each failure is one sentence that says what could not be had and why, without credentials."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest
from support.forked import in_a_child
from support.git_server import git_daemon, silent_server

from ska_oet_device.procedure.gitmanager import GitArgs, GitError, checkout

TOKEN = "glpat-very-secret"


def failure(url: str, store, **more) -> str:
    """Return the text with which a request fails."""
    with pytest.raises(GitError) as caught:
        checkout(GitArgs(url), store, **more)
    text = str(caught.value)
    assert text.isprintable()
    assert TOKEN not in text
    return text


class TestServers:
    def test_no_such_repository(self, server, store, upstream, served):
        url = f"{server.url}none.git"
        assert failure(url, store) == f"repository {url}: no such repository (repository '{url}/' not found)"
        assert "no such repository" in failure(f"file://{served}/none.git", store)
        with git_daemon(served) as url:
            assert "no such repository" in failure(f"{url}none.git", store)
        assert not list(store.glob("repositories/*.git"))

    def test_nobody_listens(self, store):
        for scheme in ("http", "git"):
            assert "no connection" in failure(f"{scheme}://127.0.0.1:1/x.git", store)

    @pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh")
    def test_nobody_listens_to_ssh(self, store):
        assert "no connection" in failure("ssh://git@127.0.0.1:1/x.git", store)

    def test_a_host_that_does_not_exist(self, store):
        assert "its host is not known or there is no network" in failure("http://host.invalid/x.git", store)

    @pytest.mark.parametrize("scheme", ["http", "git"])
    def test_a_server_that_never_answers(self, store, scheme):
        with silent_server() as port:
            url = f"{scheme}://127.0.0.1:{port}/x.git"
            started = time.monotonic()
            text = failure(url, store, timeout=0.4)
        assert text == f"repository {url}: time-out: git did not end within 0.4 s"
        assert time.monotonic() - started < 20  # and not 60

    def test_a_redirection_is_not_followed(self, server, store, upstream):
        server.redirects["/old.git"] = "/scripts.git"
        assert "it has moved" in failure(f"{server.url}old.git", store)

    def test_an_answer_that_is_not_git(self, server, store, served):
        (served / "x.git").mkdir(parents=True)
        assert failure(f"{server.url}x.git", store)


class TestAccess:
    @pytest.fixture(autouse=True)
    def _closed(self, server):
        server.token = TOKEN

    def test_nothing_given_is_no_access_and_nobody_is_asked(self, client):
        assert "no access (could not read Username" in failure(client.url, client.store)

    def test_a_credential_helper_of_the_user_opens(self, client, upstream):
        with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as settings:
            settings.write(f'[credential]\n\thelper = "!echo username=a; echo password={TOKEN}; true"\n')
        assert client.get().commit == upstream.head()

    def test_a_password_in_the_users_own_settings_opens_and_is_not_told(self, client, server, upstream, monkeypatch):
        with_password = server.url.replace("://", f"://user:{TOKEN}@")
        with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as settings:
            settings.write(f'[url "{with_password}"]\n\tinsteadOf = {server.url}\n')
        assert client.get().commit == upstream.head()
        failure(f"{server.url}none.git", client.store)
        server.token = "another"
        failure(client.url, client.store)

    def test_a_transport_that_was_not_asked_for_is_not_used(self, client, upstream):
        for other in (f"file://{upstream.bare}#", "ext::sh -c echo%"):
            with open(os.environ["GIT_CONFIG_GLOBAL"], "w") as settings:
                settings.write(f'[url "{other}"]\n\tinsteadOf = {client.url}\n')
            assert "not allowed" in failure(client.url, client.store)


class TestMachine:
    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
    @pytest.mark.parametrize("size", ["20k", "300k"], ids=["for the clone", "for the checkout"])
    def test_a_full_disk(self, client, upstream, tmp_path, size):
        upstream.write(**{f"large{number}": f"# {number}\n" * 40_000 for number in range(8)})  # compressible
        upstream.commit()
        small = tmp_path / "small"
        small.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(small)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("may not mount a file system here")
        try:
            text = failure(client.url, small)
            assert "the disk is full" in text
            assert client.url in text
            assert not list(small.rglob(".making-*"))
            subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
            client.store = small
            assert client.get().commit == upstream.head()
        finally:
            subprocess.run(["umount", str(small)], check=True)

    def test_a_store_that_cannot_be_made(self, client, tmp_path):
        (tmp_path / "file").touch()
        text = failure(client.url, tmp_path / "file" / "store")
        assert "cannot be kept: Not a directory" in text

    def test_no_git(self, client, tmp_path):
        code = (
            "import sys, pathlib; from ska_oet_device.procedure.gitmanager import *\n"
            "try: checkout(GitArgs('http://127.0.0.1:1/x'), pathlib.Path(sys.argv[1]))\n"
            "except GitError as error: print(error)"
        )
        environment = {"PATH": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-c", code, str(tmp_path / "store")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("git cannot be run: ")

    def test_git_vanishes_later(self, client, tmp_path):
        @in_a_child
        def without_git():
            client.get()
            os.environ["PATH"] = str(tmp_path)
            assert failure(client.url, client.store).startswith("git cannot be run: ")

        without_git()
