"""What is under way when a process is killed ends with the truth, and nobody does anything for it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango
from support.databases import make_database
from support.leaks import outlives_the_test
from support.processes import let_go_on, suspend
from support.tango_server import SCRIPTS, Server
from support.waiting import wait_until

from ska_oet_device.client import (
    AsyncOetClient,
    LifecycleEvent,
    OetClient,
    ProcedureFailed,
    UnknownProcedure,
    UnreachableError,
)
from ska_oet_device.client._stack import answers

from .conftest import BIND, OWN

BEFORE_THE_HEARTBEAT = 7.0  # seconds behind the new server's first answer; Tango's own takes up to 10


class Stand:
    """A database that lasts and a server, which are killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = make_database(folder, lasting=True)
        name = "mid-oet/restarted/01"
        self.database.add_server("restarted", {name: {"ScriptRoots": [SCRIPTS, OWN], "StopGracePeriod": 0.5}})
        self.device = f"tango://{self.database.host}/{name}"
        self.servers: list[Server] = []
        self.start()

    @property
    def server(self) -> Server:
        return self.servers[-1]

    def start(self) -> None:
        with outlives_the_test():
            self.servers.append(Server(["restarted", *BIND], self.folder / "server", self.database.host))
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> float:
        wait_until(lambda: answers(self.device), 60, "the device answers")
        return time.monotonic()

    def kill_device_server(self) -> None:
        old = self.server.device_server()
        old.kill()
        with contextlib.suppress(psutil.NoSuchProcess):
            old.wait(10)

    def kill_database(self) -> None:
        with outlives_the_test():
            self.database.kill_and_start_again()

    def kill_all(self) -> None:
        before = self.server.tree()
        for process in before:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.server.wait()
        wait_until(lambda: not self.server.leftovers(before), 10, "all processes are gone")

    def end(self) -> None:
        for server in self.servers:
            server.clean_up()
        self.database.stop()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    made = Stand(tmp_path_factory.mktemp("stand"))
    yield made
    made.end()


@pytest.fixture
def client(stand: Stand) -> Iterator[OetClient]:
    stand.wait_until_it_answers()
    with OetClient(stand.device) as client:
        client.run("good.py").wait(timeout=30)
        yield client


def on_record(client: OetClient, procedure: Any, state: str) -> None:
    """A summary shows a change at once; what is told as an event is in the durable history by then."""
    next(event for event in client.follow(since=0) if (event.process_uid, event.state) == (procedure.id, state))


class Later:
    """What a call in a thread of its own has come to, and when."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.result: Any = None
        self.at = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._function()
        except Exception as error:
            self.result = error
        self.at = time.monotonic()

    def get(self, seconds: float = 60) -> Any:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "it goes on"
        return self.result


def running(client: OetClient, end: Path) -> Any:
    procedure = client.run("until.py", str(end))
    procedure.wait("RUNNING", timeout=30)
    return procedure


class TestDeviceServer:
    @pytest.mark.long
    def test_a_wait_goes_on_and_ends_as_soon_as_its_procedure(self, stand, client, tmp_path):
        procedure = running(client, tmp_path / "end")
        waiting = Later(procedure.wait)
        stand.kill_device_server()
        stand.wait_until_it_answers()
        (tmp_path / "end").touch()
        ended = time.monotonic()
        assert waiting.get().state == "COMPLETE"
        assert waiting.at - ended < BEFORE_THE_HEARTBEAT

    def test_what_ends_while_there_is_no_server_is_told_by_the_next_one(self, stand, client, tmp_path):
        procedure = running(client, tmp_path / "end")
        waiting = Later(procedure.wait)
        events = Later(lambda: list(procedure.events()))
        output = Later(lambda: "".join(procedure.output(follow=True)))
        stand.kill_device_server()
        (tmp_path / "end").touch()
        up = stand.wait_until_it_answers()
        assert waiting.get().state == "COMPLETE"
        assert waiting.at - up < BEFORE_THE_HEARTBEAT
        assert [event.state for event in events.get()][-3:] == ["RUNNING", "READY", "COMPLETE"]
        numbers = [event.sequence for event in events.get()]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert output.get() == "begun\nended\n"

    def test_what_may_be_asked_twice_is_asked_until_it_answers_within_the_clients_time(self, stand, client):
        with OetClient(stand.device, timeout=30) as patient:
            known = patient.summaries()
            stand.kill_device_server()
            wait_until(lambda: patient.summaries() == known, what="main has told the last change again, too")

    @pytest.mark.long
    def test_two_clients_and_a_subscription_of_somebody_else_do_not_keep_each_other_deaf(self, stand, client, tmp_path):
        with OetClient(stand.device) as other:
            other.run("good.py").wait(timeout=30)
            stand.kill_device_server()
            stand.wait_until_it_answers()
            for each in (client, other, client, other):
                began = time.monotonic()
                procedure = wait_until(lambda each=each: _tried(lambda: each.run("good.py")), 30, "a run")
                procedure.wait(timeout=30)
                assert time.monotonic() - began < BEFORE_THE_HEARTBEAT

    @pytest.mark.long
    def test_an_asynchronous_wait_goes_on_too(self, stand, client, tmp_path):
        async def go() -> str:
            async with AsyncOetClient(stand.device) as other:
                procedure = await other.procedure(uid)
                waiting = asyncio.create_task(procedure.wait())
                await procedure.wait("RUNNING")
                await asyncio.to_thread(stand.kill_device_server)
                (tmp_path / "end").touch()
                return (await waiting).state

        uid = running(client, tmp_path / "end").id
        assert asyncio.run(go()) == "COMPLETE"

    @pytest.mark.long
    def test_a_check_that_a_restart_has_lost_is_made_anew(self, stand, client):
        checking = Later(lambda: client.check("slow_import.py"))
        wait_until(lambda: client._feed._listeners, 20, "it is under way")
        wait_until(lambda: next(client.requests(limit=1)).command == "Check", 20, "the device has it")
        # What the client asks behind the answer: a Check that has none is not made anew.
        looks = tango.DeviceProxy(stand.device).black_box
        wait_until(lambda: any("CheckReport" in line for line in looks(20)), 20, "it is answered")
        stand.kill_device_server()
        assert checking.get().ok

    @pytest.mark.long
    def test_a_wait_that_begins_while_it_stands_still_ends_when_it_goes_on(self, stand, client, tmp_path):
        with OetClient(stand.device, timeout=0.5) as impatient:
            uid = running(client, tmp_path / "end").id
            procedure = wait_until(lambda: _tried(lambda: impatient.procedure(uid)), 30, "it is known")
            procedure.wait("RUNNING")
            frozen = stand.server.device_server()
            suspend(frozen.pid)
            try:
                (tmp_path / "end").touch()
                with pytest.raises(TimeoutError, match="unknown, since the device does not answer"):
                    procedure.wait(timeout=1.0)
                waiting = Later(procedure.wait)
            finally:
                let_go_on(frozen.pid)
            assert waiting.get().state == "COMPLETE"


def _tried(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except UnreachableError:
        return None


@pytest.mark.long
class TestAll:
    def test_after_the_end_of_the_whole_server_a_wait_ends_with_the_failure(self, stand, client, tmp_path):
        procedure = running(client, tmp_path / "end")
        on_record(client, procedure, "RUNNING")
        waiting = Later(procedure.wait)
        stand.kill_all()
        stand.start()
        error = waiting.get()
        assert isinstance(error, ProcedureFailed)
        assert error.summary.run_id == procedure.run_id
        assert client.run("good.py").wait(timeout=30).state == "COMPLETE"

    def test_the_database_may_be_killed_and_started_again(self, stand, client, tmp_path):
        procedure = running(client, tmp_path / "end")
        waiting = Later(procedure.wait)
        stand.kill_database()
        (tmp_path / "end").touch()
        assert waiting.get().state == "COMPLETE"
        assert client.run("good.py").wait(timeout=30).state == "COMPLETE"

    def test_both_may_be_killed_at_once(self, stand, client, tmp_path):
        procedure = running(client, tmp_path / "end")
        waiting = Later(procedure.wait)
        stand.kill_device_server()
        stand.kill_database()
        (tmp_path / "end").touch()
        assert waiting.get().state == "COMPLETE"

    def test_following_goes_on_without_a_gap(self, stand, client):
        followed: list[LifecycleEvent] = []
        last = next(client.follow(since=0)).sequence

        def follow() -> None:
            for event in client.follow(since=last):
                followed.append(event)
                if event.state == "COMPLETE" and event.process_uid == uid:
                    return

        uid = 0
        following = Later(follow)
        stand.kill_device_server()
        stand.wait_until_it_answers()
        stand.kill_device_server()
        stand.wait_until_it_answers()
        procedure = wait_until(lambda: _tried(lambda: client.prepare("sleepy.py")), 30, "a procedure")
        uid = procedure.id  # before it is started: whoever follows is to know it when its end is told
        procedure.start("main", 0.2).wait(timeout=30)
        following.get()
        numbers = [event.sequence for event in followed]
        assert numbers == list(range(last + 1, last + 1 + len(numbers)))

    def test_a_run_by_its_run_id_is_one_call_also_after_a_restart(self, stand, client):
        procedure = client.run("gives.py", 1)
        run_id = procedure.run_id
        client.procedure(run_id).wait(timeout=30)
        on_record(client, procedure, "COMPLETE")
        stand.kill_all()
        stand.start()
        assert client.procedure(run_id).wait().result["main"] == [[1], {}]

    def test_a_history_that_is_lost_ends_a_wait_with_an_error(self, stand, client, tmp_path):
        procedure = running(client, tmp_path / "end")
        waiting = Later(procedure.wait)
        events = Later(lambda: list(procedure.events()))
        stand.kill_all()
        shutil.rmtree(stand.folder / "server" / "state")
        stand.start()
        assert isinstance(waiting.get(), UnknownProcedure)
        assert isinstance(events.get(), UnknownProcedure)
        assert client.run("good.py").wait(timeout=30).state == "COMPLETE"
