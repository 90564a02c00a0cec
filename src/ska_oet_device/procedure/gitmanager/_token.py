"""The token for a repository: offered to its own host, over https, and shown nowhere.

GitTokenFile has one or both of these, each on a line of its own; empty lines and those that begin with # do not count:

    glpat-…                              a token alone: for the host of the first https URL in GitRepositories
    https://oauth2:glpat-…@gitlab.com    a token for one host, as git's credential-store writes it
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ...own_files import read_regular

_USER = "oauth2"  # what GitLab and GitHub take beside a token
_LARGEST = 64 * 1024  # bytes
_HTTPS_PORT = 443


class TokenFileError(Exception):
    """A token file cannot be used; the text says why, and nothing of what is in it."""


@dataclass(frozen=True)
class Token:
    """What git is to answer when the host of one URL asks who it is.

    :param url: scheme and host: whom it is for
    """

    url: str
    user: str
    password: str = field(repr=False)

    @contextlib.contextmanager
    def given(self) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
        """Give it to a git; yields settings, and what descriptors are to be inherited.

        No command line, no variable and no file holds the token, only memory that git's helper reads.
        """
        descriptor = os.memfd_create("git credential")
        try:
            os.write(descriptor, f"username={self.user}\npassword={self.password}\n".encode())
            helper = f'!f() {{ test "$1" != get || cat /proc/self/fd/{descriptor}; }}; f'
            settings = (
                "credential.helper=",  # what the user has stored does not go first
                f"credential.{self.url}.helper={helper}",
                f"http.{self.url}/.sslVerify=true",  # or whoever stands in between is given it
            )
            yield settings, (descriptor,)
        finally:
            os.close(descriptor)

    def hidden_in(self, text: str) -> str:
        """Return a text without the token: git may have repeated it."""
        in_header = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        for secret in (self.password, quote(self.password, safe=""), in_header):
            text = text.replace(secret, "***")
        return text


def is_given_to(url: str) -> bool:
    """Tell whether a token may be offered to a URL at all."""
    return url.startswith("https://")


def first_https_host(prefixes: Sequence[str]) -> str:
    """Return the URL of the host that a token alone is for; empty if there is none."""
    return next((_host_url(urlsplit(prefix)) for prefix in prefixes if is_given_to(prefix)), "")


def token_for(url: str, path: str, host_of_token_alone: str) -> Token | None:
    """Return the token that a file has for the host of a URL, if it has one.

    :param host_of_token_alone: as `first_https_host` returns it
    :raises TokenFileError: the file cannot be read, or has no token at all, or one that cannot be
    """
    if not path or not is_given_to(url):
        return None
    host = _host_url(urlsplit(url))
    tokens = [_token_of(line, host_of_token_alone) for line in _lines_of(path)]
    if not tokens:
        raise TokenFileError("is empty")
    found = next((token for token in tokens if _is_same_host(token.url, host)), None)
    return found and replace(found, url=host)  # git looks for the URL as it is written


def _lines_of(path: str) -> list[str]:
    try:
        text = read_regular(Path(path).resolve(), _LARGEST).decode()
    except OSError as error:
        raise TokenFileError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TokenFileError("is no text") from None
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _token_of(line: str, host_of_token_alone: str) -> Token:
    if "://" not in line:
        if not line.isprintable() or " " in line:
            raise TokenFileError("has a line that is neither a token nor https://user:token@host")
        return Token(host_of_token_alone, _USER, line)
    try:
        parts = urlsplit(line)
        user, password = unquote(parts.username or _USER), unquote(parts.password or "")
        url = _host_url(parts)
    except ValueError:
        raise TokenFileError("has a line that is no URL") from None
    if parts.scheme != "https" or not password or not (user + password).isprintable():
        raise TokenFileError("has a line that is not https://user:token@host: a token is offered over https only")
    return Token(url, user, password)


def _host_url(parts: SplitResult) -> str:
    """Return the scheme and the host of a URL, as git compares them, without user and path."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _is_same_host(one: str, other: str) -> bool:
    return _place(one) == _place(other) != (None, 0)


def _place(url: str) -> tuple[str | None, int]:
    parts = urlsplit(url)
    try:
        return parts.hostname, parts.port or _HTTPS_PORT
    except ValueError:  # there is no such port
        return None, 0
