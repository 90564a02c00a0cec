"""TangoGQL, the back end of Taranta, as its container runs it; and a client that asks it what Taranta's pages ask.

The queries name the fields that Taranta's pages ask for: a page asks for the descriptions of its attributes once, for
values by a subscription, and sends commands and values with the cookie of whoever has logged in.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from .tango_server import Oet
from .waiting import wait_until

PROGRAMS = Path(__file__).parents[2] / ".venv-taranta" / "bin"
MISSING = ".venv-taranta is missing: make .venv-taranta/.up-to-date"
USER = "operator"
_SECRET = "an-example-of-a-secret-32-bytes!"

_DESCRIPTIONS = """query ($fullNames: [String]!) {
  attributes(fullNames: $fullNames) {
    name device label dataformat datatype writable unit format description enumLabels minvalue maxvalue displevel
  }
}"""

_VALUES = """query ($fullNames: [String]!) {
  attributes(fullNames: $fullNames) { name device value writevalue quality timestamp }
}"""

_DEVICE = """query ($name: String!) {
  device(name: $name) {
    name alias connected state deviceClass exported server { id host }
    attributes { name dataformat datatype writable enumLabels }
    commands { name tag displevel intype intypedesc outtype outtypedesc }
    properties { name value }
  }
}"""

_WRITE = """mutation ($device: String!, $name: String!, $value: ScalarTypes!) {
  setAttributeValue(device: $device, name: $name, value: $value) {
    ok message valueBefore attribute { name device value writevalue timestamp }
  }
}"""

_EXECUTE = """mutation ($device: String!, $command: String!, $argin: ScalarTypes) {
  executeCommand(device: $device, command: $command, argin: $argin) { ok message output }
}"""

_SUBSCRIBE = """subscription ($fullNames: [String]!) {
  attributes(fullNames: $fullNames) {
    device attribute fullName value writeValue quality timestamp error { desc reason }
  }
}"""

# It says only at this level why it reads an attribute again and again, and has not subscribed to it.
_LOGGING = """[loggers]
keys=root,tangogql,uvicorn
[handlers]
keys=console
[formatters]
keys=plain
[logger_root]
level=INFO
handlers=console
[logger_tangogql]
level=DEBUG
handlers=
qualname=tangogql
[logger_uvicorn]
level=INFO
handlers=
qualname=uvicorn
[handler_console]
class=StreamHandler
formatter=plain
[formatter_plain]
format=%(asctime)s %(name)s %(message)s
"""

_SOURCES = "{ metrics { subscribedAttrs { name eventType listeners deviceAccessible } } }"


def _cookie(**more: Any) -> str:
    """Return what a log-in of Taranta leaves in a browser: a JSON Web Token, signed with HS256; `more` are claims."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    header, claims = {"alg": "HS256", "typ": "JWT"}, {"username": USER, "groups": [], **more}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"taranta_jwt={signed}.{encoded(hmac.new(_SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"


@dataclass(frozen=True)
class Frame:
    """One message of a subscription; `arrived` is in Unix seconds, `error` TangoGQL's description."""

    device: str
    attribute: str
    value: Any
    quality: str
    timestamp: float
    error: str
    arrived: float


class Subscription:
    """What a page of Taranta hears of some attributes by one websocket; a context manager.

    A thread of its own reads the frames and notes when each one came.
    """

    def __init__(self, port: int, names: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._frames: list[Frame] = []
        self._fault = ""
        url, old = f"ws://127.0.0.1:{port}/socket", Subprotocol("graphql-ws")
        self._connection = contextlib.ExitStack()
        self._socket = self._connection.enter_context(connect(url, subprotocols=[old], max_size=None, compression=None))
        self._send(type="connection_init", payload={})
        self._names = {name.lower() for name in names}
        variables = {"fullNames": sorted(self._names)}
        self._send(type="start", id="1", payload={"query": _SUBSCRIBE, "variables": variables})
        self._thread = threading.Thread(target=self._read, name="frames of TangoGQL")
        self._thread.start()

    def _send(self, **message: Any) -> None:
        self._socket.send(json.dumps(message))

    def _read(self) -> None:
        try:
            for text in self._socket:
                self._note(json.loads(text), time.time())
        except ConnectionClosed as closed:
            self._fault = self._fault or str(closed)

    def _note(self, message: dict[str, Any], arrived: float) -> None:
        payload = message.get("payload") or {}
        data = (payload.get("data") or {}).get("attributes") if message["type"] == "data" else None
        if message["type"] == "error" or payload.get("errors"):
            self._fault = str(payload)
        if data:
            error = (data["error"] or {}).get("desc") or ""
            what = (data["device"], data["attribute"], data["value"], data["quality"], data["timestamp"])
            with self._lock:
                self._frames.append(Frame(*what, error, arrived))

    def frames(self, attribute: str = "", device: str = "") -> list[Frame]:
        """Return all frames that have come, or those of one attribute."""
        if self._fault:
            raise AssertionError(f"the subscription has failed: {self._fault}")
        with self._lock:
            return [
                frame
                for frame in self._frames
                if attribute.lower() in ("", frame.attribute) and device in ("", frame.device)
            ]

    def values(self, attribute: str) -> list[Any]:
        return [frame.value for frame in self.frames(attribute) if not frame.error]

    def latest(self, attribute: str) -> Any:
        """Return what a page shows of an attribute; None before its first frame."""
        return next(iter(reversed(self.values(attribute))), None)

    def clear(self) -> None:
        """Forget the frames that have come."""
        with self._lock:
            self._frames.clear()

    def wait_for_all(self, seconds: float = 30) -> None:
        """Wait until the page shows each of its attributes: from now on it hears of every change.

        :raises AssertionError: one has not come within `seconds`
        """

        def missing() -> set[str]:
            frames = self.frames()
            return self._names - {f"{frame.device}/{frame.attribute}" for frame in frames if not frame.error}

        try:
            wait_until(lambda: not missing(), seconds, "a value of each attribute")
        except AssertionError as error:
            raise AssertionError(f"{error}; without one: {missing()}") from None

    def wait_until_heard(self, oet: Oet) -> None:
        """Prepare procedures until the page hears a lifecycleEvent of one: from now on it misses none.

        What is pushed before Tango has made the connection of a subscription reaches nobody, and is not pushed again.
        """
        uids: set[int] = set()

        def is_heard() -> bool:
            uids.add(oet.ready("good.py"))
            return any(json.loads(text or "{}").get("process_uid") in uids for text in self.values("lifecycleEvent"))

        wait_until(is_heard, 60, "a lifecycleEvent is heard")

    def wait_for(self, attribute: str, is_wanted: Callable[[Any], Any], seconds: float = 30) -> Frame:
        """Return the first frame of an attribute whose value is wanted."""

        def found() -> Frame | None:
            frames = self.frames(attribute)
            return next((frame for frame in frames if not frame.error and is_wanted(frame.value)), None)

        try:
            return wait_until(found, seconds, f"a wanted frame of {attribute}")
        except AssertionError as error:
            raise AssertionError(f"{error}; frames: {self.frames(attribute)[-5:]}") from None

    def close(self) -> None:
        """Leave the page; TangoGQL keeps its own subscription for some seconds more."""
        self._connection.close()
        self._thread.join()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class TangoGql:
    """A TangoGQL of its own on a free port of this machine; a context manager.

    :param tango_host: host and port of the Tango database
    :param folder: for its log
    :raises AssertionError: it does not answer within 60 s
    """

    def __init__(self, tango_host: str, folder: Path) -> None:
        self._log = folder / "tangogql.log"
        self._cookie = _cookie()
        arguments = ["tangogql.main:app", "--host", "127.0.0.1", "--port", "0", "--no-use-colors"]
        environment = {**os.environ, "TANGO_HOST": tango_host, "TANGOGQL_SECRET": _SECRET}
        (folder / "logging.ini").write_text(_LOGGING)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(PROGRAMS / "uvicorn"), *arguments], env=environment, cwd=folder, stdout=log, stderr=log
            )
        try:
            self.port = wait_until(self._port, 60, "TangoGQL says its port")
            wait_until(self._answers, 60, "TangoGQL answers")
        except BaseException:
            self.stop()
            raise

    def _port(self) -> int | None:
        if self.process.poll() is not None:
            raise RuntimeError(f"TangoGQL has ended\n{self._log.read_text()}")
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", self._log.read_text())
        return int(found.group(1)) if found else None

    def _answers(self) -> bool:
        try:
            return bool(self.ask("{ version }")["version"])
        except OSError:
            return False

    # -- what a page asks

    def post(self, query: str, variables: dict[str, Any] | None = None, cookie: str = "") -> dict[str, Any]:
        """Return the whole answer to a request: `data`, `errors`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Content-Type": "application/json", **({"Cookie": cookie} if cookie else {})}
            body = json.dumps({"query": query, "variables": variables or {}})
            connection.request("POST", "/db", body, headers)
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data of a query.

        :raises AssertionError: there are errors in the answer
        """
        return self._data(self.post(query, variables))

    def _data(self, answer: dict[str, Any]) -> dict[str, Any]:
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def descriptions(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return what a page needs to know to show attributes, by their full names in lower case."""
        return self._by_name(self.ask(_DESCRIPTIONS, fullNames=list(names)))

    def values(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return values, times and qualities, by full names in lower case."""
        return self._by_name(self.ask(_VALUES, fullNames=list(names)))

    @staticmethod
    def _by_name(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return {f"{each['device']}/{each['name']}".lower(): each for each in data["attributes"]}

    def device(self, name: str) -> dict[str, Any]:
        """Return what Taranta's page of a device shows."""
        return dict(self.ask(_DEVICE, name=name)["device"])

    def write(self, device: str, attribute: str, value: Any) -> dict[str, Any]:
        """Write an attribute as one who has logged in; returns `ok`, `message` and what stands there then."""
        variables = {"device": device, "name": attribute, "value": value}
        return dict(self._data(self.post(_WRITE, variables, self._cookie))["setAttributeValue"])

    def execute(self, device: str, command: str, argument: Any = None) -> dict[str, Any]:
        """Execute a command as one who has logged in; returns `ok`, `message` (a list) and `output`."""
        variables = {"device": device, "command": command, "argin": argument}
        return dict(self._data(self.post(_EXECUTE, variables, self._cookie))["executeCommand"])

    def execute_as_nobody(self, device: str, command: str) -> dict[str, Any]:
        """Execute a command without a log-in; returns the whole answer."""
        return self.post(_EXECUTE, {"device": device, "command": command})

    def execute_too_late(self, device: str, command: str) -> dict[str, Any]:
        """Execute a command with a log-in that is over; returns the whole answer."""
        return self.post(_EXECUTE, {"device": device, "command": command}, _cookie(exp=time.time() - 1))

    def subscribe(self, names: Iterable[str]) -> Subscription:
        """Open a page that shows attributes, `device/attribute` each."""
        return Subscription(self.port, names)

    def sources(self) -> dict[str, str]:
        """Return where TangoGQL has the values of its subscriptions from: CHANGE_EVENT, PERIODIC_EVENT or POLLING.

        While it is about to subscribe it fails, and is asked again: it counts the pages of what none is noted for yet.
        """
        answer = wait_until(lambda: None if "errors" in (told := self.post(_SOURCES)) else told, 20, "its metrics")
        found = self._data(answer)["metrics"]["subscribedAttrs"]
        return {each["name"]: each["eventType"] for each in found}

    def wait_for_events(self, names: Iterable[str], seconds: float = 240) -> None:
        """Wait until TangoGQL has the values of all these from change events.

        At once, as a rule.  What it could not subscribe to, on a busy machine, it tries again a minute or two later.
        Tango may make the connection a moment later still: how things stand is pushed again, of lifecycleEvent see
        `Subscription.wait_until_heard`.

        :raises AssertionError: it still reads one of them again and again, or has not been asked for it
        """
        wanted = {name.lower() for name in names}

        def others() -> dict[str, str]:
            sources = self.sources()
            return {name: sources.get(name, "none") for name in wanted if sources.get(name) != "CHANGE_EVENT"}

        try:
            wait_until(lambda: not others(), seconds, "events of each attribute")
        except AssertionError as error:
            raise AssertionError(f"{error}; without: {others()}") from None

    # -- its end

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> TangoGql:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
