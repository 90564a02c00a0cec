"""Git repositories, and servers on the loopback that serve them: git's own programs behind them."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .ports import free_port
from .waiting import wait_until

_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.fsync",  # nobody misses these repositories after a power cut
    "GIT_CONFIG_VALUE_0": "none",
    **{
        f"GIT_{who}_{what}": f"test{at}"
        for who in ("AUTHOR", "COMMITTER")
        for what, at in (("NAME", ""), ("EMAIL", "@"))
    },
}


def run_git(folder: Path, *command: str) -> str:
    """Run git on a test's own repository; returns what it prints."""
    done = subprocess.run(["git", *command], cwd=folder, env=_ENVIRONMENT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@functools.cache
def exec_path() -> Path:
    return Path(subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip())


class Upstream:
    """A bare repository that is served, and a work tree that pushes to it; made if it is not there."""

    def __init__(self, top: Path, name: str = "scripts.git", branch: str = "main") -> None:
        self.bare = top / name
        self.tree = top / f"{name}.tree"
        self.branch = branch
        if self.bare.exists():
            return
        top.mkdir(parents=True, exist_ok=True)
        run_git(top, "init", "--quiet", "--bare", f"--initial-branch={branch}", str(self.bare))
        run_git(top, "init", "--quiet", f"--initial-branch={branch}", str(self.tree))
        run_git(self.tree, "remote", "add", "origin", f"../{name}")

    def git(self, *command: str) -> str:
        return run_git(self.tree, *command)

    def write(self, **texts: str) -> None:
        """Write files; a double underscore in the name is a slash, and .py is added."""
        for name, text in texts.items():
            path = self.tree / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, message: str = "more", **texts: str) -> str:
        """Commit files, push the branch, and return the commit's hash."""
        self.write(**texts)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        self.push()
        return self.head()

    def push(self, *refs: str) -> None:
        self.git("push", "--quiet", "--force", "origin", *(refs or ("HEAD",)))

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")


class HttpServer:
    """Serves a folder of repositories by git-http-backend, and keeps a log of the requests.

    :param token: what a client must give as password; None for anybody
    :param certificate: a file with a certificate for 127.0.0.1 and its key, for https
    """

    def __init__(self, top: Path, token: str | None = None, certificate: Path | None = None) -> None:
        self.top = top
        self.token = token
        self.requests: list[str] = []
        self.users: list[str] = []
        self.passwords: list[str] = []
        self.redirects: dict[str, str] = {}
        self.let_go = threading.Event()  # cleared: a pack is sent by half, and then waits
        self.let_go.set()
        self.half_sent = threading.Event()
        server = self

        class Handler(_GitHandler):
            owner = server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def packs(self) -> int:
        """How often objects were fetched."""
        return sum(request == "fetch" for request in self.requests)

    @property
    def connections(self) -> int:
        """How often a client came."""
        return sum(request.endswith("service=git-upload-pack") for request in self.requests)

    def close(self) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def make_certificate(path: Path) -> Path:
    """Make a certificate for 127.0.0.1 that nobody vouches for, and its key, in one file."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    certificate = path.with_name(f"{path.name}.crt").read_text()
    path.write_text(path.read_text() + certificate)
    return path


class _GitHandler(BaseHTTPRequestHandler):
    owner: HttpServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        body = self._body()
        self.owner.requests.append("fetch" if b"command=fetch" in body else self.path)
        path, _, query = self.path.partition("?")
        for before, after in self.owner.redirects.items():
            if path.startswith(f"{before}/"):
                self.send_response(301)
                self.send_header("Location", self.path.replace(before, after, 1))
                self.end_headers()
                return
        if not self._is_welcome():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._relay(self._run_backend(path, query, body))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _is_welcome(self) -> bool:
        if self.owner.token is None:
            return True
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        user, _, password = base64.b64decode(given).decode().partition(":")
        self.owner.users.append(user)
        self.owner.passwords.append(password)
        return password == self.owner.token

    def _run_backend(self, path: str, query: str, body: bytes) -> bytes:
        environment = {
            **_ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(self.owner.top),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        return subprocess.run(
            [exec_path() / "git-http-backend"], env=environment, input=body, capture_output=True, check=False
        ).stdout

    def _relay(self, answer: bytes) -> None:
        head, _, content = answer.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, value in lines if name == "Status"), 200)
        self.send_response(status)
        for name, value in lines:
            if name not in ("Status", "Content-Length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))  # over TLS the end of the connection says nothing
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            half = len(content) // 2
            if self.owner.requests[-1] == "fetch" and not self.owner.let_go.is_set():
                self.wfile.write(content[:half])
                self.wfile.flush()
                self.owner.half_sent.set()
                self.owner.let_go.wait(30)
                content = content[half:]
            self.wfile.write(content)


@contextlib.contextmanager
def git_daemon(top: Path) -> Iterator[str]:
    """Serve a folder of repositories by git's own protocol; yields the URL that they are below."""
    port = free_port()
    daemon = subprocess.Popen(
        [exec_path() / "git-daemon", "--reuseaddr", "--export-all", f"--base-path={top}", "--informative-errors",
         "--listen=127.0.0.1", f"--port={port}"],
        env=_ENVIRONMENT, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def answers() -> bool:
        assert daemon.poll() is None, "git daemon has ended"
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        wait_until(answers, 10, "git daemon answers")
        yield f"git://127.0.0.1:{port}/"
    finally:
        daemon.terminate()
        daemon.wait()


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Accept connections and never answer; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]
