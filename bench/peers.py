"""What others take for the same: Sardana's Door and bluesky-queueserver, in the same run on the same machine.

They do less: a macro runs in a thread of the MacroServer, a plan in the one worker that
bluesky-queueserver has.  Neither is alone in a process that may crash or be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import tango

from .figures import Figure, Report, of_samples
from .floors import start_floor
from .stack import BIND, Stack, answers, free_port, wait_until

SECTION = "Peers, in the same run"
_STARTED, _DONE = "Sardana: RunMacro of an empty macro → RUNNING", "Sardana: RunMacro of an empty macro → ON"
_PLAN = "bluesky-queueserver: queue_item_execute of an empty plan → in the history"

_MACRO = """from sardana.macroserver.macro import macro


@macro()
def bench_nothing(self):
    pass
"""

_PLANS = """from bluesky import RunEngine
from bluesky.plan_stubs import null

RE = RunEngine({})


def nothing():
    yield from null()
"""

# Runs under the peers' interpreter: how a client of bluesky-queueserver waits for the end of a plan.
_PLAN_CLIENT = """
import json, sys, time
from bluesky_queueserver import ZMQCommSendThreads

client = ZMQCommSendThreads(zmq_server_address=sys.argv[1])
ask = lambda method, **params: client.send_message(method=method, params=params)
ask("environment_open")
deadline = time.monotonic() + 60
while (status := ask("status"))["manager_state"] != "idle" or not status["worker_environment_exists"]:
    if time.monotonic() > deadline:
        sys.exit("the environment does not open")
    time.sleep(0.1)
samples = []
for _ in range(int(sys.argv[2])):
    done = ask("status")["items_in_history"]
    began = time.perf_counter()
    item = {"item_type": "plan", "name": "nothing"}
    answer = ask("queue_item_execute", item=item, user="bench", user_group="primary")
    if not answer["success"]:
        sys.exit(answer["msg"])
    while ask("status")["items_in_history"] == done:
        time.sleep(0.001)
    samples.append(time.perf_counter() - began)
print(json.dumps(samples))
"""


def measure(report: Report, stack: Stack, venv: Path | None, rounds: int) -> None:
    """Measure the peers that are installed in `venv`, and say of the others that they are not."""
    programs = (venv or Path("no-such-folder")).resolve() / "bin"
    if (programs / "Sardana").exists():
        _sardana(report, stack, programs, rounds)
    else:
        report.add(Figure(SECTION, _DONE, "ms", None, note="not installed"))
    missing = [] if (programs / "start-re-manager").exists() else ["bluesky-queueserver"]
    missing += [] if shutil.which("redis-server") else ["redis-server, which it needs"]
    if missing:
        report.add(Figure(SECTION, _PLAN, "ms", None, note=f"not installed: {', '.join(missing)}"))
    else:
        _queueserver(report, stack, programs, max(5, rounds // 20))


@contextlib.contextmanager
def _program(arguments: list[str], folder: Path, **environment: str) -> Iterator[None]:
    """Run a program, and end it with whatever it has started."""
    with (folder / f"{Path(arguments[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(
            arguments, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _sardana(report: Report, stack: Stack, programs: Path, rounds: int) -> None:
    folder = stack.folder / "sardana"
    (folder / "macros").mkdir(parents=True)
    (folder / "macros" / "bench.py").write_text(_MACRO)
    database = stack.database.tango
    for kind, name in (("Pool", "bench/pool/1"), ("MacroServer", "bench/macroserver/1"), ("Door", "bench/door/1")):
        info = tango.DbDevInfo()
        info.name, info._class, info.server = name, kind, "Sardana/bench"
        database.add_device(info)
    properties = {"PoolNames": ["bench/pool/1"], "MacroPath": [str(folder / "macros")]}
    database.put_device_property("bench/macroserver/1", {**properties, "EnvironmentDb": [str(folder / "environment")]})
    database.put_device_property("bench/door/1", {"MacroServerName": ["bench/macroserver/1"]})
    with _program([str(programs / "Sardana"), "bench", *BIND], folder, TANGO_HOST=stack.database.host):
        url = f"tango://{stack.database.host}/bench/door/1"
        wait_until(lambda: answers(url), 60, "Sardana's Door answers")
        time.sleep(2)  # it goes on with its start for a while
        started, done = _macros(tango.DeviceProxy(url), rounds)
    report.add(of_samples(SECTION, _STARTED, started, floor=start_floor(report), note="in a thread of the server"))
    report.add(of_samples(SECTION, _DONE, done, floor=start_floor(report), note="in a thread of the server"))


def _macros(door: tango.DeviceProxy, rounds: int) -> tuple[list[float], list[float]]:
    condition = threading.Condition()
    arrived: dict[tango.DevState, float] = {}

    def note(data: tango.EventData) -> None:
        now = time.perf_counter()
        if not data.err:
            with condition:
                arrived.setdefault(data.attr_value.value, now)
                condition.notify_all()

    def wait(state: tango.DevState) -> float:
        with condition:
            if not condition.wait_for(lambda: state in arrived, 10):
                raise TimeoutError(f"Sardana's Door is not {state} within 10 s")
            return arrived[state]

    subscription = door.subscribe_event("State", tango.EventType.CHANGE_EVENT, note)
    started, done = [], []
    for _ in range(rounds):
        with condition:
            arrived.clear()
        began = time.perf_counter()
        door.command_inout("RunMacro", ["bench_nothing"])
        started.append(wait(tango.DevState.RUNNING) - began)
        done.append(wait(tango.DevState.ON) - began)
        time.sleep(0.05)
    door.unsubscribe_event(subscription)
    return started, done


def _queueserver(report: Report, stack: Stack, programs: Path, rounds: int) -> None:
    folder = stack.folder / "queueserver"
    folder.mkdir()
    (folder / "startup.py").write_text(_PLANS)
    (permissions,) = programs.parent.glob(
        "lib/python*/site-packages/bluesky_queueserver/profile_collection_sim/user_group_permissions.yaml"
    )
    database, control, information = free_port(), free_port(), free_port()
    redis = ["redis-server", "--port", str(database), "--bind", "127.0.0.1", "--save", ""]
    manager = [str(programs / "start-re-manager"), "--startup-script", "startup.py"]
    manager += ["--user-group-permissions", str(permissions), "--existing-plans-devices", "existing.yaml"]
    manager += ["--update-existing-plans-devices", "ENVIRONMENT_OPEN", "--redis-addr", f"127.0.0.1:{database}"]
    manager += ["--zmq-control-addr", f"tcp://127.0.0.1:{control}"]
    manager += ["--zmq-info-addr", f"tcp://127.0.0.1:{information}"]
    with _program(redis, folder), _program(manager, folder):
        time.sleep(3)
        client = [str(programs / "python"), "-c", _PLAN_CLIENT, f"tcp://127.0.0.1:{control}", str(rounds)]
        found = subprocess.run(client, capture_output=True, text=True, timeout=180, check=False)
    if found.returncode != 0:
        said = " ".join(found.stderr.split())[-200:]
        report.add(Figure(SECTION, _PLAN, "ms", None, note=f"it failed: {said}"))
        return
    report.add(of_samples(SECTION, _PLAN, json.loads(found.stdout), note="in its one worker; its status is polled"))
