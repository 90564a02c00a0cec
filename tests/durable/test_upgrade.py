"""What 0.1.0 has left is read by this version, and by 0.1.0 again; a later version's history is left alone."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango
from support.durable import QUICK, PostgreSQL
from support.earlier import (
    DEVICES,
    DUMP,
    PROPERTIES,
    SCRIPTS,
    UNHEARD,
    EarlierServer,
    answers,
    source_of_0_1_0,
    unpack_state,
)
from support.processes import suspend
from support.tango_server import Database, is_alive
from support.waiting import wait_until

from ska_oet_device import __version__

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

ENDED = ("COMPLETE", "STOPPED", "FAILED")
LATER = "INSERT INTO schema_version VALUES (9, 9, '7.8.9', 0)"

Start = Callable[..., EarlierServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a server without a Tango database, of this version unless told otherwise."""
    roots = tmp_path / "scripts"
    roots.mkdir()
    for name, text in SCRIPTS.items():
        (roots / name).write_text(text.replace("SLEEP", "[]"), encoding="utf-8")
    with contextlib.ExitStack() as started:

        def make(
            state: Path, devices: list[str], source: Path | None = None, instance: str = "bare", **properties: str
        ) -> EarlierServer:
            quick = {name: str(value) for name, value in QUICK.items()}
            given = {**quick, **PROPERTIES, "ScriptRoots": str(roots), **properties}
            folder = tmp_path / f"{instance}-{len(list(tmp_path.iterdir()))}"
            server = EarlierServer(source, folder, state, devices, given, instance=instance)
            started.callback(server.end)
            return server

        yield make


def asked(proxy: tango.DeviceProxy, command: str, **wanted: Any) -> Any:
    return json.loads(proxy.command_inout(command, json.dumps(wanted)))


def events_of(proxy: tango.DeviceProxy) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := json.loads(proxy.LifecycleEvents(found[-1]["sequence"] if found else 0)):
        found += page
    return found


def completes(proxy: tango.DeviceProxy) -> int:
    uid = int(asked(proxy, "Run", script={"script_type": "filesystem", "script_uri": "file://good.py"})["id"])
    wait_until(lambda: json.loads(proxy.Summarise([uid]))[0]["state"] == "COMPLETE", 60, f"procedure {uid} completes")
    return uid


def is_on_soon(proxy: tango.DeviceProxy) -> None:
    """State follows what is asked for by a moment: it goes with the events."""
    wait_until(lambda: proxy.state() == tango.DevState.ON, 20, f"ON: {proxy.status()}")


def assert_tells(proxy: tango.DeviceProxy, told: dict[str, Any], *, outputs: bool = True) -> None:
    """What 0.1.0 told of procedures that had ended is told still, and so are its events and requests."""
    summaries = {summary["id"]: summary for summary in asked(proxy, "History", limit=1000)}
    ended = [summary for summary in told["summaries"] if summary["state"] in ENDED]
    assert len(ended) > 10
    for summary in ended:
        assert summaries[summary["id"]] == summary
    assert events_of(proxy)[: len(told["events"])] == told["events"]
    requests = asked(proxy, "Requests", limit=1000)
    assert requests[len(requests) - len(told["requests"]) :] == told["requests"]
    for uid, text in told["outputs"].items() if outputs else ():
        assert json.loads(proxy.Output(uid))["text"] == text


def assert_settled(proxy: tango.DeviceProxy, told: dict[str, Any]) -> None:
    """What lived when its server was killed is told to have ended with it."""
    left = [summary["id"] for summary in told["summaries"] if summary["state"] in ("RUNNING", "READY")]
    assert left
    for uid in left:
        wait_until(lambda uid=uid: json.loads(proxy.Summarise([uid]))[0]["state"] == "FAILED", 30, f"{uid} is FAILED")


def test_a_state_folder_of_0_1_0_is_gone_on_with_and_0_1_0_can_go_on_with_that(start, tmp_path):
    state = unpack_state(tmp_path)
    told = answers("sqlite")
    (unheard,) = state.glob("unheard-*.json")
    message = json.loads(unheard.read_text())[0][1]
    server, other = start(state, DEVICES), start(state, [UNHEARD], instance="unheard")
    uids = {}
    for device in DEVICES:
        proxy = server.proxy(device)
        assert proxy.versionId == __version__
        assert_tells(proxy, told[device])
        assert proxy.selectedScript == told[device]["selectedScript"]
        uids[device] = completes(proxy)
        assert uids[device] == told[device]["summaries"][0]["id"] + 1
        is_on_soon(proxy)
    assert_settled(server.proxy(DEVICES[0]), told[DEVICES[0]])
    unknown = next(summary for summary in told[DEVICES[1]]["summaries"] if summary["state"] == "UNKNOWN")
    wait_until(lambda: json.loads(server.proxy(DEVICES[1]).Summarise([unknown["id"]]))[0]["state"] != "UNKNOWN", 30)
    assert_tells_unheard(other.proxy(UNHEARD), unheard, message)
    assert server.server.stop() == 0
    other.end()

    earlier = start(state, DEVICES, source_of_0_1_0(tmp_path / "0.1.0"))
    for device in DEVICES:
        proxy = earlier.proxy(device)
        assert proxy.versionId == "0.1.0"
        assert_tells(proxy, told[device])
        assert json.loads(proxy.Summarise([uids[device]]))[0]["state"] == "COMPLETE"
        assert completes(proxy) == uids[device] + 1
    assert earlier.server.stop() == 0


def assert_tells_unheard(proxy: tango.DeviceProxy, file: Path, message: list[Any]) -> None:
    """What a main of 0.1.0 could tell to nobody is told, and its file is done with."""
    wait_until(lambda: json.loads(proxy.Summarise([message[0]]))[0]["state"] == "STOPPED", 30, "its end is told")
    (stopped,) = [event for event in events_of(proxy) if event["state"] == "STOPPED"]
    assert (stopped["process_uid"], stopped["time"], stopped["reason"]) == (message[0], message[3], message[4])
    wait_until(lambda: not file.exists(), 20, "the file is done with")


def test_a_history_of_0_1_0_in_postgresql_is_gone_on_with_beside_a_server_of_0_1_0(
    start, tmp_path, postgresql: PostgreSQL
):
    postgresql.load(gzip.decompress(DUMP.read_bytes()).decode())
    told = answers("postgresql")[DEVICES[0]]
    other = "mid-oet/subarray/05"
    source = source_of_0_1_0(tmp_path / "0.1.0")
    earlier = start(tmp_path / "first", [other], source, HistoryUrl=postgresql.url)
    first = earlier.proxy(other)
    completes(first)
    second = start(tmp_path / "second", [DEVICES[0]], HistoryUrl=postgresql.url).proxy(DEVICES[0])
    assert_tells(second, told, outputs=False)  # these are on the host of the server that was killed
    assert_settled(second, told)
    assert [completes(second), completes(first)] == [told["summaries"][0]["id"] + 1, 2]
    is_on_soon(first)
    is_on_soon(second)
    earlier.server.stop()
    restarted = start(tmp_path / "first", [other], source, HistoryUrl=postgresql.url).proxy(other)
    assert completes(restarted) == 3
    wanted = {f"nodb/{other}": 3, f"nodb/{DEVICES[0]}": told["summaries"][0]["id"] + 1}
    ended = "SELECT device, max(id) FROM procedure WHERE state = 8 GROUP BY device"
    # Clients are told without it where a commit takes more than a second.
    wait_until(lambda: dict(postgresql.execute(ended)) == wanted, 60, "what both have written is there")


def test_scripts_that_a_killed_0_1_0_has_left_are_reaped_and_what_the_database_has_not_taken_is_kept(tmp_path):
    source = source_of_0_1_0(tmp_path / "0.1.0")
    (tmp_path / "leaves.py").write_text(
        "import subprocess, time\n\ndef main():\n"
        "    print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)\n    time.sleep(600)\n"
    )
    name = "mid-oet/upgrade/01"
    database = Database(tmp_path, lasting=True)
    servers: list[EarlierServer] = []

    def started(version: Path | None) -> tango.DeviceProxy:
        server = EarlierServer(
            version, tmp_path / "server", tmp_path / "state", [name], {}, tango_host=database.host, instance="upgrade"
        )
        servers.append(server)
        return server.proxy(name)

    try:
        database.add_server("upgrade", {name: {"ScriptRoots": [tmp_path], **QUICK}})
        proxy = started(source)
        uid = json.loads(proxy.Run("file://leaves.py"))["id"]
        wait_until(lambda: json.loads(proxy.Output(str(uid)))["text"], 30, "it has started a process")
        left = psutil.Process(int(json.loads(proxy.Output(str(uid)))["text"]))
        database.stop()
        with contextlib.suppress(tango.DevFailed):
            proxy.waitForQaReady = False
        wait_until(lambda: list((tmp_path / "state").rglob("unkept.json")), 30, "what was written is kept aside")
        suspend(servers[0].server.device_server().pid)  # which would reap, when main is gone, what the script has left
        main_and_others = servers[0].server.tree()
        for process in [each for each in main_and_others if each.pid != left.pid]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        servers[0].server.wait()
        assert is_alive(left.pid)
        database.kill_and_start_again()
        proxy = started(None)
        wait_until(lambda: json.loads(proxy.Summarise([uid]))[0]["state"] == "FAILED", 30, "its end is told")
        wait_until(lambda: not is_alive(left.pid), 20, "what it has left is reaped")
        assert left.pid in json.loads(proxy.Summarise([uid]))[0]["history"]["exit"]["reaped"]
        assert proxy.waitForQaReady is False
        assert servers[-1].server.stop() == 0
    finally:
        for server in servers:
            server.end()
        database.stop()


class TestLaterVersion:
    def test_its_history_is_refused_at_the_start_and_left_as_it_is(self, start, tmp_path):
        state = tmp_path / "state"
        server = start(state, [DEVICES[0]])
        completes(server.proxy(DEVICES[0]))
        assert server.server.stop() == 0
        file = state / "history.sqlite3"
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(LATER)
        before = file.read_bytes()
        refused = start(state, [DEVICES[0]])
        assert refused.server.wait(60) == 1
        lines = refused.server.log_text().splitlines()
        said = [line for line in lines if "the device server could not start" in line]
        assert f"the history {file} has schema 9 of ska-oet-device 7.8.9" in said[0]
        assert f"ska-oet-device {__version__} (schema 2) must not write: start 7.8.9 or later" in said[0]
        assert lines.index(said[0]) >= len(lines) - 3
        assert file.read_bytes() == before
        assert {path.name.partition("sqlite3")[2] for path in state.glob("history*")} <= {"", "-wal", "-shm"}
        assert sum(path.stat().st_size for path in state.glob("history*-wal")) == 0

    def test_that_comes_under_a_running_server_is_an_alarm_and_nothing_is_lost(self, start, tmp_path, postgresql):
        server = start(tmp_path / "state", [DEVICES[0]], HistoryUrl=postgresql.url)
        proxy = server.proxy(DEVICES[0])
        first = completes(proxy)
        postgresql.kill()
        postgresql.start()
        postgresql.execute(LATER)
        second = completes(proxy)
        wait_until(lambda: proxy.state() == tango.DevState.ALARM, 30, "State is ALARM")
        wait_until(lambda: "has schema 9 of ska-oet-device 7.8.9" in proxy.status(), 30, "Status says why")
        third = completes(proxy)
        assert postgresql.execute("SELECT id FROM procedure") == [(first,)]
        postgresql.execute("DELETE FROM schema_version WHERE number = 9")
        wait_until(lambda: proxy.state() == tango.DevState.ON, 30, "State is ON")
        found = postgresql.execute("SELECT id, state FROM procedure ORDER BY id")
        assert found == [(first, 8), (second, 8), (third, 8)]
        events = events_of(proxy)
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))


# Read by each interpreter as it starts: main's patience is short, and the migration is longer than that.
SLOW_MIGRATION = """
import dataclasses, sys, time
if "ska_oet_device" in sys.orig_argv:
    from ska_oet_device.procedure.supervision import _device_server
    _device_server._START_PATIENCE = 10.0
if "ska_oet_device.procedure.ui" in sys.orig_argv:
    from ska_oet_device.procedure.history import _migrations
    first, second = _migrations.MIGRATIONS
    def apply(connection):
        second.apply(connection)
        time.sleep(15)
    _migrations.MIGRATIONS = (first, dataclasses.replace(second, apply=apply))
    _migrations._TOLD_EVERY = 1.0
"""


def test_a_migration_that_takes_longer_than_main_waits_for_a_start_is_waited_for(start, tmp_path):
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW_MIGRATION)
    state, device = tmp_path / "state", DEVICES[0]
    server = start(state, [device])
    uid = completes(server.proxy(device))
    assert server.server.stop() == 0
    with contextlib.closing(sqlite3.connect(state / "history.sqlite3")) as connection:
        connection.execute("DELETE FROM schema_version WHERE number = 2")
        connection.commit()
    server = start(state, [device], tmp_path / "slow")
    proxy = server.proxy(device)
    told = re.compile(r"has schema 2 now, after (\d+\.\d) s")
    (took,) = wait_until(lambda: told.findall(server.server.log_text()), 20, "its log says how long it took")
    assert float(took) >= 15
    log = server.server.log_text()
    assert log.count("is migrated to schema 2") == log.count("the device server is started") == 1
    assert completes(proxy) == uid + 1
