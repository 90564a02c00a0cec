"""A token is offered to its own host, over https, and shown nowhere."""

from __future__ import annotations

import base64
import os

import pytest
from support.git_server import HttpServer
from support.waiting import wait_until

from ska_oet_device.procedure.gitmanager import GitArgs, GitError, checkout, first_https_host
from ska_oet_device.procedure.gitmanager._token import TokenFileError, token_for

TOKEN = "glpat-very-secret"
GITLAB = "https://gitlab.com"


@pytest.fixture
def written(tmp_path):
    """Write a token file; returns its path."""

    def written(text: str) -> str:
        path = tmp_path / "token"
        path.write_text(text)
        return str(path)

    return written


class TestWhichTokenIsForAHost:
    @pytest.mark.parametrize(
        ("text", "url", "found"),
        [
            ("secret", "https://gitlab.com/a.git", ("oauth2", "secret")),
            ("\n# of the observatory\n secret \r\n", "https://gitlab.com/a.git", ("oauth2", "secret")),
            ("secret", "https://gitlab.com:443/a.git", ("oauth2", "secret")),
            ("secret", "https://GitLab.com/a.git", ("oauth2", "secret")),
            ("secret", "https://gitlab.com:8443/a.git", None),
            ("secret", "https://github.com/a.git", None),
            ("secret", "https://gitlab.com.evil.org/a.git", None),
            ("secret", "https://gitlab.co/a.git", None),
            ("secret", "https://gitlab.com:99999/a.git", None),
            ("secret", "http://gitlab.com/a.git", None),
            ("secret", "ssh://gitlab.com/a.git", None),
            ("secret", "git@gitlab.com:a.git", None),
            ("https://me:other@github.com", "https://github.com/a.git", ("me", "other")),
            ("https://me:other@github.com/", "https://github.com/a.git", ("me", "other")),
            ("https://:other@github.com", "https://github.com/a.git", ("oauth2", "other")),
            ("https://me:o%40%2fher@github.com", "https://github.com/a.git", ("me", "o@/her")),
            ("https://me:other@github.com", "https://gitlab.com/a.git", None),
            ("secret\nhttps://me:other@github.com", "https://gitlab.com/a.git", ("oauth2", "secret")),
            ("secret\nhttps://me:other@github.com", "https://github.com/a.git", ("me", "other")),
            ("https://me:other@host:8443", "https://host:8443/a.git", ("me", "other")),
            ("https://me:other@host:8443", "https://host/a.git", None),
            ("https://me:other@[::1]:8443", "https://[::1]:8443/a.git", ("me", "other")),
        ],
    )
    def test(self, written, text, url, found):
        token = token_for(url, written(text), GITLAB)
        assert (token and (token.user, token.password)) == found

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "is empty"),
            ("\n# nothing\n", "is empty"),
            ("http://me:secret@gitlab.com", "over https only"),
            ("https://gitlab.com", "not https://user:token@host"),
            ("https://me@gitlab.com", "not https://user:token@host"),
            ("https://me:sec%0Aret@gitlab.com", "not https://user:token@host"),
            ("https://me:secret@[gitlab", "is no URL"),
            ("two secrets", "neither a token nor"),
            ("sec\x00ret", "neither a token nor"),
        ],
    )
    def test_is_not_said_by_a_file_that_is_odd(self, written, text, complaint):
        with pytest.raises(TokenFileError, match=complaint) as caught:
            token_for("https://gitlab.com/a.git", written(text), GITLAB)
        assert "secret" not in str(caught.value)

    def test_is_not_said_by_what_is_no_file(self, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "binary").write_bytes(b"\xff")
        for name, complaint in (("none", "No such file"), ("fifo", "no regular file"), ("binary", "is no text")):
            with pytest.raises(TokenFileError, match=complaint):
                token_for("https://gitlab.com/a.git", str(tmp_path / name), GITLAB)

    def test_may_be_written_behind_a_link_as_kubernetes_does(self, written, tmp_path):
        (tmp_path / "link").symlink_to(written("secret"))
        assert token_for("https://gitlab.com/a.git", str(tmp_path / "link"), GITLAB)

    @pytest.mark.parametrize(
        ("prefixes", "host"),
        [
            (["https://gitlab.com/ska-telescope/"], GITLAB),
            (["git@host:", "http://other/", "https://gitlab.com/a", "https://github.com/"], GITLAB),
            (["https://host:8443/a/b"], "https://host:8443"),
            (["http://host/"], ""),
            ([], ""),
        ],
    )
    def test_a_token_alone_is_for_the_first_of_git_repositories(self, prefixes, host):
        assert first_https_host(prefixes) == host

    def test_is_not_shown_with_the_token(self, written):
        assert "secret" not in repr(token_for("https://gitlab.com/a.git", written("secret"), GITLAB))


class TestAServer:
    @pytest.fixture
    def closed(self, https_server, upstream):
        https_server.token = TOKEN
        return https_server

    def get(self, server: HttpServer, store, path="scripts.git", **more):
        return checkout(GitArgs(f"{server.url}{path}"), store, **more)

    def failure(self, server, store, path="scripts.git", **more) -> str:
        with pytest.raises(GitError) as caught:
            self.get(server, store, path, **more)
        assert TOKEN not in str(caught.value)
        return str(caught.value)

    def test_gets_it_if_it_asks(self, closed, store, upstream, written):
        assert self.get(closed, store, token_file=written(f"{TOKEN}\n")).commit == upstream.head()
        assert "oauth2" in closed.users

    def test_gets_the_one_of_its_line(self, closed, store, upstream, written):
        text = f"other\nhttps://me:{TOKEN}@{closed.url.removeprefix('https://')}"
        got = self.get(closed, store, token_file=written(text), token_host=GITLAB)
        assert got.commit == upstream.head()
        assert set(closed.users) - {""} == {"me"}
        assert "other" not in closed.passwords

    def test_gets_none_that_is_for_another(self, closed, store, written):
        assert "no access" in self.failure(closed, store, token_file=written(TOKEN), token_host=GITLAB)
        assert not any(closed.passwords)

    def test_gets_none_over_http(self, server, store, upstream, written):
        server.token = TOKEN
        assert "no access" in self.failure(server, store, token_file=written(TOKEN), token_host=server.url)
        assert not any(server.passwords)

    def test_gets_none_if_a_redirection_leads_to_it(self, closed, store, served, certificate, written):
        closed.token = None
        other = HttpServer(served, TOKEN, certificate)
        try:
            closed.redirects["/scripts.git"] = f"{other.url}scripts.git"
            self.failure(closed, store, token_file=written(TOKEN))
            assert other.requests == []
        finally:
            other.close()

    def test_gets_none_if_the_settings_of_the_user_lead_to_it(self, closed, store, server, written):
        """Such as those for a mirror."""
        server.token = TOKEN
        with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as settings:
            settings.write(f'[url "{server.url}"]\n\tinsteadOf = {closed.url}\n')
        assert "no access" in self.failure(closed, store, token_file=written(TOKEN))
        assert server.connections
        assert not any(server.passwords)

    @pytest.mark.parametrize("how", ["variable", "setting", "setting of the host"])
    def test_gets_none_if_nobody_vouches_for_it(self, closed, store, monkeypatch, written, how):
        monkeypatch.delenv("GIT_SSL_CAINFO")
        if how == "variable":
            monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
        with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as settings:
            if how == "setting":
                settings.write("[http]\n\tsslVerify = false\n")
            elif how == "setting of the host":
                settings.write(f'[http "{closed.url}"]\n\tsslVerify = false\n')
        assert "certificate" in self.failure(closed, store, token_file=written(TOKEN))
        assert not any(closed.passwords)
        if how == "variable":
            assert os.environ["GIT_SSL_NO_VERIFY"] == "1"

    def test_that_says_no_makes_a_sentence_without_it(self, closed, store, written):
        text = self.failure(closed, store, token_file=written("glpat-wrong"))
        assert "no access (Authentication failed" in text
        assert "glpat-wrong" not in text

    def test_that_git_speaks_with_aloud_does_not_have_it_told(self, closed, store, monkeypatch, written):
        closed.token = "another"
        for name, value in (("GIT_TRACE_CURL", "1"), ("GIT_TRACE_REDACT", "0"), ("GIT_TRACE", "1")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("ska_oet_device.procedure.gitmanager._git._LONGEST_REASON", 10**6)
        text = self.failure(closed, store, token_file=written(TOKEN))
        assert "Authorization: Basic ***" in text
        assert base64.b64encode(f"oauth2:{TOKEN}".encode()).decode() not in text

    def test_gets_it_before_what_the_user_has_stored(self, closed, store, upstream, written):
        with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as settings:
            settings.write('[credential]\n\thelper = "!echo username=a; echo password=stale; true"\n')
        assert self.get(closed, store, token_file=written(TOKEN)).commit == upstream.head()

    def test_leaves_it_nowhere(self, closed, store, upstream, written, tmp_path):
        """Neither in the settings of the clone nor in what the user's own helper is asked to store."""
        stored = tmp_path / "stored"
        with open(os.environ["GIT_CONFIG_GLOBAL"], "a") as settings:
            settings.write(f'[credential]\n\thelper = "store --file={stored}"\n')
        before = len(os.listdir("/proc/self/fd"))
        self.get(closed, store, token_file=written(TOKEN))
        assert not stored.exists()
        # The server is in this process, too, and closes its end of a connection when it comes to that.
        wait_until(lambda: len(os.listdir("/proc/self/fd")) == before, what="no descriptor is left")
        assert not [path for path in store.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]

    def test_whose_commit_is_here_already_needs_none(self, closed, store, written, tmp_path):
        commit = self.get(closed, store, token_file=written(TOKEN)).commit
        args = GitArgs(f"{closed.url}scripts.git", git_commit=commit)
        assert checkout(args, store, token_file=str(tmp_path / "none")).commit == commit

    @pytest.mark.parametrize(("name", "complaint"), [("none", "cannot be read: No such file"), ("empty", "is empty")])
    def test_a_token_file_that_holds_nothing_is_named(self, closed, store, tmp_path, name, complaint):
        (tmp_path / "empty").touch()
        text = self.failure(closed, store, token_file=str(tmp_path / name))
        assert f"GitTokenFile {tmp_path / name} {complaint}" in text

    def test_gets_it_from_no_command_line_and_no_environment(self, closed, store, tmp_path, monkeypatch, written):
        seen = tmp_path / "seen"
        spy = tmp_path / "bin" / "git-remote-https"
        spy.parent.mkdir()
        spy.write_text(f"#!/bin/sh\ncat /proc/$PPID/cmdline /proc/$PPID/environ > {seen}\nexit 1\n")
        spy.chmod(0o755)
        monkeypatch.setenv("GIT_EXEC_PATH", str(spy.parent))
        self.failure(closed, store, token_file=written(TOKEN))
        assert b"GIT_TERMINAL_PROMPT=0" in seen.read_bytes()
        assert TOKEN.encode() not in seen.read_bytes()
