"""What a request may say about a repository."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ska_oet_device.errors import InvalidArgumentError, NotAllowedError
from ska_oet_device.procedure.gitmanager import GitArgs, check_git_args, script_path

ALLOWED = ("https://gitlab.com/ska-telescope/", "ssh://git@host.org/group", "git@host.org:group/", "file:///srv/git/")


def is_allowed(url: str, allowed: tuple[str, ...] = ALLOWED, branch: str | None = None, commit: str | None = None):
    try:
        check_git_args(GitArgs(url, branch, commit), allowed)
    except (InvalidArgumentError, NotAllowedError):
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        "https://gitlab.com/ska-telescope/oso/ska-oso-scripting.git",
        "https://gitlab.com/ska-telescope/x/",
        "https://gitlab.com/ska-telescope/a%20b",
        "ssh://git@host.org/group",
        "ssh://git@host.org/group.git",
        "ssh://git@host.org/group/x.git",
        "git@host.org:group/x.git",
        "file:///srv/git/x.git",
    ],
)
def test_a_repository_below_a_prefix_is_allowed(url):
    check_git_args(GitArgs(url, "feature/x", "abc1234"), ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "https://gitlab.com/other/x.git",
        "https://gitlab.com/ska-telescope-evil/x.git",
        "https://gitlab.com/ska-telescope",
        "https://gitlab.com.evil.org/ska-telescope/x.git",
        "https://gitlab.com:8443/ska-telescope/x.git",
        "http://gitlab.com/ska-telescope/x.git",
        "ssh://git@host.org/groups/x.git",
        "ssh://root@host.org/group/x.git",
        "git@host.org:groups/x.git",
        "file:///etc/x",
        "git://host.org/group",
    ],
)
def test_a_repository_elsewhere_is_not_allowed_and_the_rule_is_named(url):
    with pytest.raises(NotAllowedError, match=f"git_repo {re.escape(url)} is not below GitRepositories .*gitlab.com"):
        check_git_args(GitArgs(url), ALLOWED)


def test_no_prefix_means_no_repository():
    for allowed in ((), ("",)):
        with pytest.raises(NotAllowedError):
            check_git_args(GitArgs("https://gitlab.com/ska-telescope/x"), allowed)


def test_a_host_alone_does_not_let_another_host_or_port_in():
    assert is_allowed("https://host.org/x", ("https://host.org",))
    assert not is_allowed("https://host.org.evil/x", ("https://host.org",))
    assert not is_allowed("https://host.org:99/x", ("https://host.org:",))


SMUGGLING = [
    "",
    " ",
    "x",
    "--upload-pack=touch /tmp/x",
    "-x",
    "ext::sh -c touch% /tmp/x",
    "ext::https://gitlab.com/ska-telescope/x",
    "fd::7",
    "/srv/git/x.git",
    "../x",
    "srv/git/x.git",
    "file://localhost/srv/git/x.git",
    "file://srv/git/x.git",
    "FILE:///srv/git/x.git",
    "https://gitlab.com/ska-telescope/../other/x",
    "https://gitlab.com/ska-telescope/%2e%2e/other/x",
    "https://gitlab.com/ska-telescope/.%2E/other/x",
    "https://gitlab.com/ska-telescope/%252e%252e/other/x",
    "https://gitlab.com/ska-telescope/x%2f..%2f..%2fother",
    "https://gitlab.com/ska-telescope/x%5c..%5cother",
    "https://gitlab.com/ska-telescope/./x",
    "https://gitlab.com/ska-telescope//x",
    "https://gitlab.com/ska-telescope/..",
    "https://gitlab.com/ska-telescope/x%00",
    "https://gitlab.com/ska-telescope/x%0a",
    "https://gitlab.com/ska-telescope/x%ff",
    "https://gitlab.com/ska-telescope/x%zz",
    "https://gitlab.com/ska-telescope/x\n",
    "https://gitlab.com/ska-telescope/x\0",
    "https://gitlab.com/ska-telescope/x y",
    "https://gitlab.com/ska-telescope/x\\..\\y",
    "https://gitlab.com/ska-telescope/x?a=b",
    "https://gitlab.com/ska-telescope/x#main",
    "https://gitlab.com/ska-telescope/-x",
    "https://gitlab.com/ska-telescope/é",
    "https://gitlab.com/ska-telescope/" + "x" * 2000,
    "https://user@gitlab.com/ska-telescope/x",
    "https://user:secret@gitlab.com/ska-telescope/x",
    "https://:secret@gitlab.com/ska-telescope/x",
    "https://gitlab.com/ska-telescope/@evil.org/x",
    "https://gitlab.com@evil.org/ska-telescope/x",
    "ssh://git:secret@host.org/group/x",
    "ssh://-oProxyCommand=x/group/x",
    "ssh://git@-oProxyCommand=x/group/x",
    "ssh://-l@host.org/group/x",
    "git:secret@host.org:group/x",
    "git@-oProxyCommand=x:group/x",
    "git@host.org:-x",
    "git@host.org:group/../x",
    "git@host.org::group/x",
    "-git@host.org:group/x",
]


@pytest.mark.parametrize("url", SMUGGLING)
def test_odd_urls_are_refused_even_where_everything_is_allowed(url):
    everything = ("https://", "http://", "ssh://", "git://", "file:///", "git@host.org:", "/", "ext:")
    with pytest.raises(InvalidArgumentError, match="git_repo") as caught:
        check_git_args(GitArgs(url), everything)
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "branch",
    ["", "-x", "--upload-pack=x", "a b", "a..b", "a\0", "a\n", "@", "a@{1}", "a:b", "a^", "a~1", "a?", "a*", "a[",
     "a\\b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a.", "x" * 2000, "\x7f", "a\u202eb", "\ud800"],
)  # fmt: skip
def test_odd_branches_are_refused(branch):
    with pytest.raises(InvalidArgumentError, match="git_branch"):
        check_git_args(GitArgs("https://gitlab.com/ska-telescope/x", branch), ALLOWED)


@pytest.mark.parametrize("commit", ["", "abc", "-x", "HEAD", "v1.0", "g" * 40, "a" * 41, "abcd\n", "abcd^", "١٢٣٤"])
def test_odd_commits_are_refused(commit):
    with pytest.raises(InvalidArgumentError, match=r"git_commit .* 4 to 40 hexadecimal digits; a tag"):
        check_git_args(GitArgs("https://gitlab.com/ska-telescope/x", None, commit), ALLOWED)


_odd = st.text(st.sampled_from("ab-.%2eEfF/\\:@ \n\0~^?#é"), max_size=30) | st.text(max_size=30)


@given(st.sampled_from([*ALLOWED, "", "ssh://", "ext::", "https://gitlab.com/"]), _odd)
@example("https://gitlab.com/ska-telescope/", "%2e%2e/x")
def test_whatever_is_accepted_starts_with_a_prefix_and_holds_nothing_odd(start, rest):
    url = start + rest
    if not is_allowed(url):
        return
    assert url.startswith(ALLOWED)
    decoded = unquote(unquote(url))
    assert decoded.isprintable()
    assert not re.search(r"\.\.(/|$)|/\.(/|$)|[\\?#]|::|^-|/-", decoded)
    assert not re.search(r"://[^/]*:[^/]*@", decoded)


@given(_odd)
def test_whatever_branch_is_accepted_can_be_a_ref(branch):
    if is_allowed("file:///srv/git/x", branch=branch):
        assert not branch.startswith("-")
        assert branch.isprintable()
        assert not re.search(r"[ ~^:?*\[\\]|\.\.|//|@\{", branch)


class TestScriptPath:
    def test_is_the_path_after_the_scheme(self):
        assert script_path("git://scripts/observe.py") == "scripts/observe.py"
        assert script_path("git://a%20b.py") == "a b.py"

    @pytest.mark.parametrize(
        "uri",
        ["git://", "git:///etc/passwd", "git://../x.py", "git://a/../../x.py", "git://a/%2e%2e/x.py", "git://%2fetc/x",
         "git://.git/config", "git://a/.GIT/hooks/x", "git://a//b.py", "git://a/", "git://./a.py", "git://a\0.py",
         "git://a%00.py", "git://a\\..\\b.py", "git://a%5cb.py", "git://a%ff.py", "git://a\n.py", "file:///a.py",
         "a.py"],
    )  # fmt: skip
    def test_refuses_what_is_no_path_in_a_repository(self, uri):
        with pytest.raises(InvalidArgumentError, match="script_uri"):
            script_path(uri)

    @given(_odd)
    def test_whatever_is_accepted_stays_inside(self, rest):
        try:
            path = script_path(f"git://{rest}")
        except InvalidArgumentError:
            return
        assert not path.startswith("/")
        assert not {"", ".", "..", ".git"} & set(path.lower().split("/"))
