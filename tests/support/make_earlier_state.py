"""Makes tests/durable/data: what a server of 0.1.0 has left, and what it has answered itself.

    git archive c187c4a src | tar -x -C build/0.1.0
    PYTHONPATH=tests unshare --net --uts .venv/bin/python -m support.make_earlier_state build/0.1.0/src

As root, on a machine with PostgreSQL.  Of the three servers that share a state folder one is killed while a script is
RUNNING, one with a device of a Tango database ends well, and one dies with something that it could tell to nobody.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import tango

from .durable import QUICK, PostgreSQL
from .earlier import ANSWERS, ARCHIVE, DATA, DEVICES, DUMP, ENDED_WELL, PROPERTIES, SCRIPTS, UNHEARD, EarlierServer
from .processes import suspend
from .tango_server import Database, is_alive
from .two_users import SLEEP, WITHOUT_KILL
from .waiting import wait_until

PLACE = Path("/var/tmp/oet-0.1.0")
HOST = "oet-host"
TERMINAL = ("COMPLETE", "STOPPED", "FAILED", "UNKNOWN")


def main() -> None:
    """Make everything anew."""
    source = Path(sys.argv[1]).absolute()
    subprocess.run(["hostname", HOST], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    DATA.mkdir(exist_ok=True)
    try:
        _write_scripts()
        answers = {"sqlite": _with_sqlite(source), "postgresql": _with_postgresql(source)}
        ANSWERS.write_bytes(gzip.compress(json.dumps(answers, sort_keys=True).encode(), mtime=0))
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)


def _write_scripts() -> None:
    folder = PLACE / "scripts"
    folder.mkdir()
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text.replace("SLEEP", repr(SLEEP)), encoding="utf-8")
    repository = PLACE / "repository"
    repository.mkdir()
    (repository / "observe.py").write_text(SCRIPTS["good.py"])
    git = ["git", "-C", str(repository), "-c", "user.name=O. Server", "-c", "user.email=o@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "A script"]):
        subprocess.run([*git, *command], check=True)


def _with_sqlite(source: Path) -> dict[str, Any]:
    state = PLACE / "state"
    state.mkdir()
    with contextlib.ExitStack() as started:
        killed = EarlierServer(source, PLACE / "killed", state, DEVICES, _properties(), prefix=WITHOUT_KILL)
        started.callback(killed.end)
        answers: dict[str, Any] = {}
        for device in DEVICES:
            _story(killed.proxy(device))
        answers[ENDED_WELL] = _of_a_tango_database(source, state)
        _leave_unheard(source, state)
        proxy = killed.proxy(DEVICES[0])
        running = _run(proxy, "waits.py")
        _wait_for(proxy, running, "RUNNING")
        ready = _prepare(proxy, "good.py")
        _wait_for(proxy, ready, "READY")
        started.callback(_kill, _leave_unknown(killed.proxy(DEVICES[1])))
        for device in DEVICES:
            answers[device] = _told(killed.proxy(device))
        time.sleep(1)  # the last of it is on the disk
        everything = killed.server.tree()
        for process in everything:
            process.kill()
        wait_until(lambda: not any(is_alive(process.pid) for process in everything), 20)
        with tarfile.open(ARCHIVE, "w:xz") as archive:
            archive.add(state, "state", filter=_kept)
    return answers


def _kept(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out the checkouts, which anybody can make again, and the logs' large middle."""
    return None if "/git" in item.name else item


def _properties() -> dict[str, str]:
    roots = {"ScriptRoots": str(PLACE / "scripts"), "GitRepositories": f"file://{PLACE}/"}
    return {**{name: str(value) for name, value in QUICK.items()}, **PROPERTIES, **roots}


def _story(proxy: tango.DeviceProxy) -> None:
    """Have everything happen that a history can tell."""
    _ends(proxy, _run(proxy, "good.py", "\u00e9\u20ac\U0001f600", dwell=0.5))
    _ends(proxy, _run(proxy, "raises.py"))
    _ends(proxy, _run(proxy, "good.py", "x" * 300_000))
    dropped = _prepare(proxy, "slow.py")
    proxy.Start(json.dumps({"process_uid": dropped, "force_start": True}))
    stopped = _run(proxy, "waits.py")
    _wait_for(proxy, stopped, "RUNNING")
    _wait_for(proxy, dropped, "READY")
    wait_until(lambda: _summary(proxy, dropped)["history"]["dropped_starts"], 20, "the start is dropped")
    proxy.Stop(json.dumps({"process_uid": stopped, "reason": "clouds \u2601", "user": "operator \u00fc"}))
    _ends(proxy, stopped)
    wait_until(lambda: _living(proxy) == [dropped], 20, "the abort script ends")
    proxy.Start(json.dumps({"process_uid": dropped, "fn_name": "named", "run_args": {"kwargs": {"a": [1, None]}}}))
    wait_until(lambda: _summary(proxy, dropped)["state"] == "READY", 20)
    proxy.Stop(json.dumps({"process_uid": dropped, "run_abort": False}))
    _ends(proxy, dropped)
    git = {"git_repo": f"file://{PLACE}/repository", "git_branch": "main"}
    script = {"script_type": "git", "script_uri": "git://observe.py", "git_args": git}
    _ends(proxy, json.loads(proxy.Run(json.dumps({"script": script})))["id"])
    code, uids = proxy.RunScript(json.dumps({"script": _script("good.py"), "user": "sequencer"}))
    assert code[0] == 2, uids  # QUEUED
    wait_until(lambda: proxy.CheckLongRunningCommandStatus(uids[0]) == "COMPLETED", 30, "the command completes")
    check = json.loads(proxy.Check(json.dumps({"script": _script("good.py")})))["check_id"]
    wait_until(lambda: json.loads(proxy.CheckReport(check))["complete"], 30, "the check is done")
    with contextlib.suppress(tango.DevFailed):
        proxy.Prepare("file://missing.py")
    for _ in range(8):
        uid = json.loads(proxy.Prepare("file://good.py"))["id"]
        _wait_for(proxy, uid, "READY")
        proxy.Start("")
        wait_until(lambda: not _living(proxy), 30)
    proxy.waitForQaReady = False
    proxy.selectedScript = "file://good.py"


def _of_a_tango_database(source: Path, state: Path) -> dict[str, Any]:
    """Have a device of a Tango database in the same file, whose server ends well; returns what it has told."""
    with contextlib.ExitStack() as started:
        database = Database(PLACE, lasting=True)
        started.callback(database.stop)
        name = ENDED_WELL.partition("/")[2]
        database.add_server("well", {name: _properties()})
        server = EarlierServer(source, PLACE / "well", state, [name], {}, tango_host=database.host, instance="well")
        started.callback(server.end)
        proxy = server.proxy(name)
        _ends(proxy, _run(proxy, "good.py", 1))
        _ends(proxy, _run(proxy, "raises.py"))
        proxy.selectedScript = "file://raises.py"
        proxy.scriptArguments = '{"kwargs": {"a": 1}}'
        told = {"key": f"{database.host}/{name}", **_told(proxy)}
        assert server.server.stop() == 0
    return told


def _leave_unheard(source: Path, state: Path) -> None:
    """Have a server end while its device server hangs: what main could tell to nobody is in a file."""
    server = EarlierServer(source, PLACE / "unheard", state, [UNHEARD], _properties(), instance="unheard")
    try:
        proxy = server.proxy(UNHEARD)
        _ends(proxy, _run(proxy, "good.py"))
        uid = _run(proxy, "waits.py")
        _wait_for(proxy, uid, "RUNNING")
        time.sleep(1)
        suspend(server.server.device_server().pid)
        server.server.process.send_signal(signal.SIGTERM)
        server.server.wait(60)
        assert list(state.glob("unheard-*.json"))
    finally:
        server.end()


def _leave_unknown(proxy: tango.DeviceProxy) -> int:
    """Have a procedure become UNKNOWN: its process is another user's, and cannot be killed; returns its id."""
    uid = _run(proxy, "becomes_another.py")
    _wait_for(proxy, uid, "RUNNING")
    pid = int(_summary(proxy, uid)["os_pid"])
    wait_until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"), 20)
    proxy.Stop(json.dumps({"process_uid": uid, "run_abort": False}))
    _wait_for(proxy, uid, "UNKNOWN")
    return pid


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _with_postgresql(source: Path) -> dict[str, Any]:
    postgresql = PostgreSQL()
    try:
        postgresql.start()
        state = PLACE / "state-of-postgresql"
        state.mkdir()
        properties = {**_properties(), "HistoryUrl": postgresql.url}
        server = EarlierServer(source, PLACE / "postgresql", state, DEVICES[:1], properties)
        try:
            proxy = server.proxy(DEVICES[0])
            _story(proxy)
            _wait_for(proxy, _run(proxy, "waits.py"), "RUNNING")
            answers = {DEVICES[0]: _told(proxy)}
            time.sleep(1)
        finally:
            server.end()
        DUMP.write_bytes(gzip.compress(postgresql.dump().encode(), mtime=0))
    finally:
        postgresql.remove()
    return answers


def _told(proxy: tango.DeviceProxy) -> dict[str, Any]:
    """Return what a device answers."""
    events: list[dict[str, Any]] = []
    while page := json.loads(proxy.LifecycleEvents(events[-1]["sequence"] if events else 0)):
        events += page
    return {
        "summaries": json.loads(proxy.History('{"limit": 1000}')),
        "events": events,
        "requests": json.loads(proxy.Requests('{"limit": 1000}')),
        "outputs": {s["id"]: json.loads(proxy.Output(str(s["id"])))["text"] for s in _summaries(proxy)},
        "waitForQaReady": bool(proxy.waitForQaReady),
        "selectedScript": proxy.selectedScript,
        "scriptArguments": proxy.scriptArguments,
    }


def _script(name: str) -> dict[str, str]:
    return {"script_type": "filesystem", "script_uri": f"file://{name}"}


def _run(proxy: tango.DeviceProxy, name: str, *args: Any, **kwargs: Any) -> int:
    request = {"script": _script(name), "run_args": {"args": args, "kwargs": kwargs}, "user": "tester"}
    return int(json.loads(proxy.Run(json.dumps(request)))["id"])


def _prepare(proxy: tango.DeviceProxy, name: str) -> int:
    return int(json.loads(proxy.Prepare(json.dumps({"script": _script(name)})))["id"])


def _summaries(proxy: tango.DeviceProxy) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(proxy.Summarise([]))
    return found


def _living(proxy: tango.DeviceProxy) -> list[int]:
    return [summary["id"] for summary in _summaries(proxy) if summary["state"] not in TERMINAL]


def _summary(proxy: tango.DeviceProxy, uid: int) -> dict[str, Any]:
    (found,) = json.loads(proxy.Summarise([uid]))
    return dict(found)


def _wait_for(proxy: tango.DeviceProxy, uid: int, *states: str) -> None:
    wait_until(lambda: _summary(proxy, uid)["state"] in states, 60, f"procedure {uid} is {states}")


def _ends(proxy: tango.DeviceProxy, uid: int) -> None:
    _wait_for(proxy, uid, *TERMINAL)


if __name__ == "__main__":
    main()
