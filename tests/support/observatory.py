"""An observatory on hosts of its own: the Tango database, PostgreSQL, servers of devices, and clients."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from .durable import QUICK, PostgreSQL
from .hosts import Host, Network, inner, kill_tree
from .leaks import outlives_the_test
from .mariadb import MariaDbServer, databaseds
from .outpost import PATIENCE, Outpost, RequestError, wait_for
from .tango_server import SCRIPTS, Server, program
from .waiting import wait_until

_PORT = 10000


class HostServer(Server):
    """A server on a host; `process` is its main, as the machine sees it."""

    def __init__(self, host: Host, instance: str, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        command = [*host.within, program("OetDevice")]
        extra = {**environment, "ORBendPoint": f"giop:tcp:{host.address}:"}
        super().__init__([instance, *arguments], folder, environment["TANGO_HOST"], command, extra)
        with contextlib.suppress(AssertionError):  # it has ended already
            self.process = inner(self._popen, host.has_own_pids)
        self.host = host

    def stop(self, signum: int = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        before = self.tree()
        if not self.has_ended:
            self.process.send_signal(signum)
        status = self.wait(seconds)
        wait_until(lambda: not self.leftovers(before), 10, "no process of the server is left")
        return status

    def kill(self) -> None:
        """SIGKILL to main."""
        self.process.kill()
        self.wait()

    def clean_up(self) -> None:
        before = self.tree()
        kill_tree(self._popen)
        for process in self.leftovers(before):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


class Site:
    """One device and its servers, which may be started on one host after the other, or on two."""

    def __init__(self, observatory: Observatory, folder: Path, number: int, properties: dict[str, Any]) -> None:
        self._observatory = observatory
        self.folder = folder
        self.instance = f"{number:02}"
        self.device = f"mid-oet/subarray/{number:02}"
        self.servers: list[HostServer] = []
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)
        every = {**QUICK, "ScriptRoots": [str(SCRIPTS), str(observatory.scripts)], **properties}
        self.properties = {
            name: list(map(str, value if isinstance(value, list) else [value])) for name, value in every.items()
        }
        self.register(self.instance)

    def register(self, instance: str) -> None:
        """Have the Tango database say that the device is one of this instance."""
        self._observatory.database_host.ask("register", server=instance, device=self.device, properties=self.properties)

    def start(self, host: str, *arguments: str, instance: str = "", waits: bool = True, state: str = "") -> HostServer:
        """Start a server on a host, with a state folder of that host's.

        :param waits: until the device answers there
        :param state: the name of its folder, if it is not to be that of the host
        """
        where = self._observatory.network[host]
        folder = self.folder / (state or host)
        server = HostServer(where, instance or self.instance, folder, self._observatory.environment, *arguments)
        self.servers.append(server)
        if waits:
            wait_until(
                lambda: "the device server is ready" in server.log_text() or server.has_ended, PATIENCE, "it starts"
            )
            assert not server.has_ended, server.log_text()
            wait_for(lambda: self.state() not in ("", "INIT"), PATIENCE, f"{self.device} answers")
        return server

    # -- asked by the client on the host of clients

    @property
    def client(self) -> Outpost:
        return self._observatory.client

    def call(self, command: str, argument: Any = None) -> Any:
        """Call a command, whose answer is JSON if it has one."""
        given = argument if argument is None or isinstance(argument, str | int | list) else json.dumps(argument)
        answer = self.client.ask("call", device=self.device, command=command, argument=given)
        return json.loads(answer) if isinstance(answer, str) and command not in ("State", "Status") else answer

    def read(self, attribute: str) -> Any:
        return self.client.ask("read", device=self.device, attribute=attribute)

    def state(self) -> str:
        """Return State; "" if the device does not answer."""
        try:
            return str(self.call("State"))
        except RequestError:
            return ""

    def status(self) -> str:
        try:
            return str(self.call("Status"))
        except RequestError as error:
            return str(error)

    def run(self, script: str, *args: Any, init: tuple[Any, ...] = (), fn: str = "main") -> int:
        request = {
            "script": {"script_type": "filesystem", "script_uri": f"file://{script}"},
            "run_args": {"args": args},
        }
        return int(self.call("Run", {**request, "fn_name": fn, "init_args": {"args": init}})["id"])

    def runs_on(self, *, marks: Path | None = None) -> int:
        """Run a script that counts until it is told to end; returns its id when it counts."""
        marks = marks or self.marks
        for name in ("end", "count"):
            (marks / name).unlink(missing_ok=True)
        uid = self.run("step.py", init=(str(marks),))
        wait_until(lambda: (marks / "count").exists(), PATIENCE, "the script runs")
        wait_for(lambda: self._was_pushed(uid, "RUNNING"), what="this has been told, and so is in the history")
        wait_for(lambda: self.state() == "RUNNING", what="State, which is pushed behind that, tells it")
        return uid

    def _was_pushed(self, uid: int, state: str) -> bool:
        newest = self.read("lifecycleSequence")
        told = [event for event in self.events() if event["sequence"] <= newest]
        return any((event["process_uid"], event["state"]) == (uid, state) for event in told)

    def goes_on(self, seconds: float = 20) -> None:
        """See that the script goes on."""
        before = self.counted()
        wait_until(lambda: self.counted() > before, seconds, "the script goes on")

    def counted(self) -> int:
        return int((self.marks / "count").read_text() or 0)

    def summary(self, uid: int) -> dict[str, Any]:
        (summary,) = self.call("Summarise", [uid])
        return dict(summary)

    def wait_for(self, uid: int, *states: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until a procedure is in one of the states, whether the device answers all the time or not."""

        def found() -> dict[str, Any] | None:
            with contextlib.suppress(RequestError):
                summary = self.summary(uid)
                return summary if summary["state"] in states else None
            return None

        return wait_for(found, seconds, f"procedure {uid} is {states}")

    def wait_until_told(self, uid: int, state: str) -> None:
        """Wait until `LifecycleEvents` has a change, which is behind the summary: the history is written first."""
        wait_for(
            lambda: (uid, state) in [(each["process_uid"], each["state"]) for each in self.events()],
            what=f"it is told that procedure {uid} is {state}",
        )

    def events(self) -> list[dict[str, Any]]:
        """Return all lifecycle events that the device knows."""
        found: list[dict[str, Any]] = []
        while page := self.call("LifecycleEvents", found[-1]["sequence"] if found else 0):
            found += page
        return found

    def followed_by(self, client: Outpost) -> list[int]:
        """Return the numbers of the lifecycle events that a client's library has told."""
        return [event["sequence"] for event in client.ask("followed", device=self.device)]

    def clean_up(self) -> None:
        for server in self.servers:
            server.clean_up()


class Observatory:
    """The network, what runs on it for all, and the devices of the tests."""

    def __init__(self, folder: Path, scripts: Path, *, sharing_pids: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.scripts = scripts
        self._numbers = count(1)
        self.network = Network("database", "host-a", "host-b", "host-c", "store", "clients", sharing_pids=sharing_pids)
        self._stack = contextlib.ExitStack()
        self._stack.callback(self.network.close)
        self._postgresql: PostgreSQL | None = None
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        host = self.network["database"]
        self.environment = {**os.environ, "TANGO_HOST": f"database:{_PORT}"}
        self.mariadb = MariaDbServer(host.within, self.network.folder)
        self._stack.callback(self.mariadb.remove)
        self._name = self.mariadb.add_tango_database()
        self._databaseds: subprocess.Popen[bytes] | None = None
        self._stack.callback(self.stop_databaseds)
        self.start_databaseds()
        self.database_host, self.client = (
            Outpost(self.network[name], self.environment) for name in ("database", "clients")
        )
        for each in (self.database_host, self.client):
            self._stack.callback(each.close)
        wait_until(self._database_answers, PATIENCE, "the Tango database answers")

    def _database_answers(self) -> bool:
        try:
            self.database_host.ask("ping_database")
        except RequestError:
            return False
        return True

    def stop_database(self) -> None:
        """End DatabaseDS, and the MariaDB under it, as a loss of power does."""
        self.stop_databaseds()
        self.mariadb.kill()

    def start_database_again(self) -> None:
        """Start both anew; they are there for the next test, too."""
        with outlives_the_test():
            self.mariadb.start()
            self.start_databaseds()

    def start_databaseds(self) -> None:
        host = self.network["database"]
        with (self.folder / "database.log").open("ab") as log:
            self._databaseds = subprocess.Popen(
                [*host.within, *databaseds(f"{host.address}:{_PORT}")],
                env={**self.environment, **self.mariadb.account(self._name)},
                stdout=log,
                stderr=log,
            )

    def stop_databaseds(self) -> None:
        if self._databaseds is not None:
            kill_tree(self._databaseds)

    def turn_on_again(self, host: str) -> None:
        """Start a host that was turned off; it is there for the next test, too."""
        with outlives_the_test():
            self.network.turn_on(host)

    @property
    def postgresql(self) -> PostgreSQL:
        """PostgreSQL on its host, started when it is first asked for."""
        if self._postgresql is None:
            host = self.network["store"]
            with outlives_the_test():
                self._postgresql = PostgreSQL(host.within, host.address, self.network.folder)
                self._stack.callback(self._postgresql.remove)
                self._postgresql.start()
        return self._postgresql

    def shell(self, host: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `oet` on a host."""
        command = [*self.network[host].within, program("oet"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def site(self, folder: Path, **properties: Any) -> Site:
        """Return a new device, of which no server runs yet."""
        number = next(self._numbers)
        return Site(self, folder / f"{number:02}", number, properties)

    def close(self) -> None:
        self._stack.close()
