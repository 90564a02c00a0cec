"""A repository, a server that serves it, and what the tests need to ask for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.git_server import HttpServer, Upstream, make_certificate

from ska_oet_device.procedure.gitmanager import Checkout, GitArgs, checkout


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    """Keep the settings and the proxies of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("GIT_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    settings = tmp_path / "gitconfig"
    settings.write_text("[core]\n\tfsync = none\n")  # no test survives a power cut
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))


@pytest.fixture
def served(tmp_path):
    return tmp_path / "served"


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A folder with one repository, for copying: that is quicker than making it."""
    top = tmp_path_factory.mktemp("template") / "served"
    Upstream(top).commit("first", scripts__observe="import neighbour\n", neighbour="VALUE = 1\n")
    return top


@pytest.fixture
def upstream(served, template):
    shutil.copytree(template, served, dirs_exist_ok=True)
    return Upstream(served)


@pytest.fixture
def server(served):
    server = HttpServer(served)
    yield server
    server.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    return make_certificate(tmp_path_factory.mktemp("certificate") / "server.pem")


@pytest.fixture
def https_server(served, certificate, monkeypatch):
    """A server that git trusts."""
    monkeypatch.setenv("GIT_SSL_CAINFO", f"{certificate}.crt")
    server = HttpServer(served, certificate=certificate)
    yield server
    server.close()


@pytest.fixture
def store(tmp_path):
    """The folder of clones and checkouts; nothing half-made may be left in it."""
    folder = tmp_path / "store"
    yield folder
    assert not list(folder.rglob(".making-*"))
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


class Client:
    """Asks for commits of one repository."""

    def __init__(self, url: str, store: Path) -> None:
        self.url = url
        self.store = store

    def get(self, branch: str | None = None, commit: str | None = None, **more: object) -> Checkout:
        return checkout(GitArgs(self.url, branch, commit), self.store, **more)  # type: ignore[arg-type]


@pytest.fixture
def client(server, store, upstream):
    return Client(f"{server.url}scripts.git", store)
