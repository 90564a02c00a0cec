"""Where a client may be used: in many threads, in a device, in a script, and how it ends; and where not: in a fork."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tango
from support.late_events import without_late_events
from support.tango_server import Database
from support.waiting import wait_until

from ska_oet_device.client import AsyncOetClient, OetClient

from .conftest import BIND


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("oet-client"))


class Program:
    """A Python program in a process of its own; `client` is its client."""

    def __init__(self, device: str, text: str) -> None:
        begin = f"""
            import os, sys, threading, time
            from ska_oet_device.client import *
            client = OetClient({device!r})
        """
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-u", "-c", textwrap.dedent(begin) + textwrap.dedent(text)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> tuple[int, list[str], str]:
        """Return the exit status, the lines that it has printed since, and its errors."""
        try:
            out, errors = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, errors = self.process.communicate()
            pytest.fail(f"it goes on: {out}\n{errors}")
        return self.process.returncode, out.splitlines(), without_late_events(errors)


def _is_left_alone(proxy: tango.DeviceProxy) -> bool:
    before = _newest_request(proxy)
    time.sleep(1.5)  # in which somebody who polls would ask
    return _newest_request(proxy) == before


def _newest_request(proxy: tango.DeviceProxy) -> str:
    """Return what the device was asked last, as Tango keeps it, but for the asking for that."""
    return next(entry for entry in proxy.black_box(20) if "blackbox" not in entry)


class TestThreads:
    def test_many_threads_share_one_client(self, client):
        def prepare_and_stop(_: int) -> str:
            procedure = client.prepare("good.py")
            assert procedure.wait("READY", timeout=30).id == procedure.id
            procedure.stop("enough")
            return procedure.wait("STOPPED", timeout=30).reason or ""

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(prepare_and_stop, range(16))) == {"stopped on request: enough"}
        assert threads() == ["oet-client", "oet-client-vigil"]

    def test_many_clients_in_a_row_leave_nothing(self, device):
        for _ in range(100):
            with OetClient(device) as client:
                assert client._feed.wait_until_up(20)
        assert threads() == []

    def test_clients_that_are_dropped_leave_nothing(self, device):
        for _ in range(10):
            client = OetClient(device)
            client.prepare("good.py").stop()
            assert client._feed.wait_until_up(20)
        del client
        gc.collect()
        wait_until(lambda: not threads(), 10, "their threads have ended")

    def test_a_wait_of_another_thread_ends_when_the_client_is_closed(self, device):
        client = OetClient(device)
        procedure = client.prepare("good.py")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(procedure.wait, "STOPPED")
            wait_until(lambda: client._feed._listeners, 10, "it waits")
            client.close()
            assert type(waiting.exception(10)).__name__ == "ClosedError"

    def test_a_wait_asks_for_nothing_while_nothing_happens(self, device):
        with OetClient(device) as client, ThreadPoolExecutor(1) as pool:
            procedure = client.run("sleepy.py", 60)
            procedure.wait("RUNNING", timeout=20)
            waiting = pool.submit(procedure.wait, "STOPPED")
            wait_until(lambda: client._feed._listeners and not client._feed._looks, 20, "its last look is over")
            proxy = tango.DeviceProxy(device)
            # What was pushed before the connection was made it asks for once, when that is pushed again.
            wait_until(lambda: _is_left_alone(proxy), 15, "nobody asks")
            before = _newest_request(proxy)
            procedure.stop("enough")
            assert _newest_request(proxy) != before
            waiting.result(20)

    def test_an_interpreter_may_end_while_threads_wait(self, device):
        program = Program(
            device,
            """
            procedure = client.run("sleepy.py", 30)
            procedure.wait("RUNNING")
            for _ in range(3):
                threading.Thread(target=procedure.wait, daemon=True).start()
            while len(client._feed._listeners) < 3:
                time.sleep(0.01)
            print("ends")
            """,
        )
        assert program.end() == (0, ["ends"], "")

    def test_an_interpreter_may_end_with_an_error(self, device):
        program = Program(device, 'client.run("good.py").wait(); raise LookupError("so")')
        status, _, errors = program.end()
        assert (status, errors.splitlines()[-1]) == (1, "LookupError: so")

    def test_ctrl_c_ends_a_wait_at_once(self, device):
        program = Program(
            device,
            """
            procedure = client.run("sleepy.py", 30)
            procedure.wait("RUNNING")
            try:
                print("waits")
                procedure.wait()
            except KeyboardInterrupt:
                print(time.monotonic())
            """,
        )
        assert program.line() == "waits"
        began = time.monotonic()
        program.process.send_signal(signal.SIGINT)
        status, (interrupted,), errors = program.end()
        assert (status, errors) == (0, "")
        # Without it something happens every 10 s, with Tango's heartbeat; the clock is the machine's.
        assert float(interrupted) - began < 8


class TestFork:
    def test_a_fork_is_told_at_once_and_its_parent_unharmed(self, device):
        program = Program(
            device,
            """
            # Whoever tried to reach the device before it told would wait as long as this client does.
            client = OetClient(client.device, timeout=20)
            procedure = client.run("sleepy.py", 1)
            procedure.wait("RUNNING")
            events, output = procedure.events(), procedure.output(follow=True)
            next(events)

            def tried(use):
                began = time.monotonic()
                try:
                    use()
                except ForkedError as error:
                    return "ForkedError" if time.monotonic() - began < 8 and "spawn" in str(error) else str(error)
                return "nothing"

            if (child := os.fork()) == 0:
                uses = [
                    procedure.wait, procedure.summary, procedure.stop, procedure.start, lambda: procedure.state,
                    lambda: procedure.progress, lambda: next(events), lambda: next(output), client.procedures,
                    lambda: client.run("good.py"), lambda: client.prepare("good.py"), lambda: client.active,
                    lambda: next(client.follow()), lambda: list(client.history()), lambda: list(client.requests()),
                    lambda: client.check("good.py"), client.environments, client.health, client.stop,
                    lambda: next(procedure.events()), lambda: next(procedure.follow_progress()),
                ]
                told = [tried(use) for use in uses]
                client.close()
                print("child", len(told), set(told))
                os._exit(0)  # as multiprocessing does: Tango itself fails the end of a fork
            _, status = os.waitpid(child, 0)
            print("status", status)
            print(procedure.wait(timeout=20).state)
            print([event.state.value for event in events][-1])
            """,
        )
        assert program.end() == (0, ["child 21 {'ForkedError'}", "status 0", "COMPLETE", "COMPLETE"], "")


class TestScript:
    def test_a_script_is_a_client_of_its_own_device(self, client):
        found = client.run("sequences.py").wait(timeout=30).result
        assert client.device.endswith(found["device"])
        assert "was not started" in found["run"]
        assert "cannot be started before it ends" in found["start"]
        assert found["state"] == "RUNNING"
        assert "is this script: it would wait for itself" in found["wait"]
        assert "not needed" in found["stop"]


class TestDevice:
    @pytest.fixture(params=["Sequencer", "AsyncSequencer"])
    def sequencer(
        self, request: pytest.FixtureRequest, device: str, database: Database, tmp_path: Path
    ) -> Iterator[tango.DeviceProxy]:
        info = tango.DbDevInfo()
        info.name, info._class = f"test/{request.param.lower()}/1", request.param
        info.server = f"{request.param}/1"
        database.tango.add_device(info)
        log = tmp_path / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("sequencers.py")), request.param, device, *BIND],
                env={**os.environ, "TANGO_HOST": database.host},
                stdout=file,
                stderr=file,
            )
        url = f"tango://{database.host}/{info.name}"
        try:
            wait_until(lambda: _answers(url), 30, f"the sequencer answers: {log.read_text()}")
            proxy = tango.DeviceProxy(url)
            proxy.set_timeout_millis(20_000)
            yield proxy
        finally:
            process.terminate()
            try:
                status = process.wait(15)
            finally:
                process.kill()
                process.wait()
        assert status == 0, log.read_text()

    def test_its_commands_run_scripts_and_wait_for_them(self, sequencer: tango.DeviceProxy) -> None:
        for _ in range(2):
            assert sequencer.Observe("gives.py") == str({"init": [[], {}], "main": [[7], {}]})


def _answers(url: str) -> bool:
    try:
        tango.DeviceProxy(url).ping()
    except tango.DevFailed:
        return False
    return True


class TestEventLoops:
    def test_one_client_serves_several_loops_one_after_another(self, device):
        client = AsyncOetClient(device)

        async def observe() -> Any:
            return (await (await client.run("gives.py", 1)).wait(timeout=20)).result["main"]

        assert [asyncio.run(observe()) for _ in range(3)] == [[[1], {}]] * 3
        asyncio.run(client.close())

    def test_a_wait_that_is_cancelled_leaves_nothing_behind(self, device):
        async def observe() -> None:
            async with AsyncOetClient(device) as client:
                procedure = await client.prepare("good.py")
                waiting = asyncio.create_task(procedure.wait("STOPPED"))
                while not client._feed._listeners:
                    await asyncio.sleep(0.01)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert len(client._feed._listeners) == 0
                assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()

        asyncio.run(observe())

    def test_many_waits_go_on_side_by_side(self, device):
        async def observe() -> list[str]:
            async with AsyncOetClient(device) as client:
                procedures = [await client.prepare("good.py") for _ in range(5)]
                waits = [asyncio.create_task(each.wait("STOPPED", timeout=20)) for each in procedures]
                for each in procedures:
                    await each.wait("READY", timeout=20)
                    await each.stop()
                return [(await wait).state for wait in waits]

        assert asyncio.run(observe()) == ["STOPPED"] * 5
