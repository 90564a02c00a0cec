"""What is rendered runs: the registration, the init container, the server and its probes, against real databases.

The paths of a container's mounts are those of folders here; the pod's address is 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango
from support.charts import objects, of_kind, render, why_not
from support.pods import STATE_MOUNT, Mounts, fixed_ports
from support.processes import suspend
from support.tango_server import SCRIPTS, Database, Oet, Server, program
from support.waiting import wait_until

from ska_oet_device.properties import PROPERTIES

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.long,
    pytest.mark.timeout(300),
]

DEVICE = "low-oet/subarray/07"


@pytest.fixture(params=["embedded", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty Tango database, of both kinds that there are: each has its own, which ends with the test."""
    return request.getfixturevalue("one_database" if request.param == "embedded" else "mariadb")


@pytest.fixture
def one_database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path)
    yield database
    database.stop()


class Pod:
    """A subarray's pod, and the Job that registers it, as the chart has them."""

    def __init__(self, database: Database, folder: Path, values: dict[str, Any]) -> None:
        self.database = database
        self.folder = folder
        self.ports = fixed_ports(3)
        self.values = {
            "tangoHost": database.host,
            "telescope": "low",
            "subarrays": [{"id": "07"}],
            "ports": dict(zip(("orb", "heartbeat", "event"), self.ports, strict=True)),
            **values,
        }
        self.render()

    def render(self, **more: Any) -> None:
        self.values |= more
        self.rendered = objects(render(self.values))
        self.mounts = Mounts(self.rendered, self.folder)
        spec = of_kind("StatefulSet", self.rendered)[0]["spec"]["template"]["spec"]
        (self.init,), (self.container,) = spec["initContainers"], spec["containers"]

    def register(self) -> tuple[int, str]:
        (container,) = of_kind("Job", self.rendered)[0]["spec"]["template"]["spec"]["containers"]
        return self.mounts.run(self.mounts.command(container), self.mounts.environment(container))

    def probe(self, name: str) -> tuple[int, str]:
        """Run a probe's command as a kubelet does; returns its status and output."""
        command = self.mounts.command(self.container[name]["exec"])
        return self.mounts.run(command, self.mounts.environment(self.container, **self.told))

    told: dict[str, str] = {}  # noqa: RUF012 - what Secrets hold

    @contextlib.contextmanager
    def serving(self, *, state: Path | None = None, run_by: Sequence[str] = (), **told: str) -> Iterator[Oet]:
        """Start the container's server.

        :param state: the folder in the place of the state volume; None: one of the test's user
        :param run_by: what runs it as another user
        """
        self.told = told
        environment = self.mounts.environment(self.container, **told)
        assert environment.pop("STATE_DIRECTORY") == STATE_MOUNT
        if state is not None:
            environment["STATE_DIRECTORY"] = str(state)
        command = [*run_by, program("OetDevice")]
        server = Server(self.container["args"], self.folder / "server", None, command, environment)
        try:
            oet = Oet(self.database, DEVICE, server)
            yield oet
            oet.close()
            assert server.stop() == 0
        finally:
            server.clean_up()


def odd_values(folder: Path) -> dict[str, tuple[Any, list[str]]]:
    """Return for each property a value as a site would write it, and the texts that the database is to have."""
    history = f"sqlite:///{folder}/history.sqlite3"
    scripts = folder / "more scripts"
    scripts.mkdir(parents=True)
    (scripts / "abort%.py").write_text("def main(): pass\n")
    abort = f"file://{folder}/more%20scripts/abort%25.py"
    tokens = folder / "a 'file' <&> \"of\" %tokens%"
    tokens.write_text("https://user:token@host\n")
    return {
        "ScriptRoots": ([str(SCRIPTS), str(scripts)], [str(SCRIPTS), str(scripts)]),
        "GitRepositories": ([], [""]),
        "SubarrayId": (2147483647, ["2147483647"]),
        "AbortScript": (abort, [abort]),
        "StopGracePeriod": (0.25, ["0.25"]),
        "LoadTimeout": (2000000, ["2000000"]),
        "InitTimeout": ("1e2", ["1e2"]),
        "EnvironmentTimeout": (" 60 ", [" 60 "]),
        "RunTimeout": (0, ["0"]),
        "MaxProcedures": (10000, ["10000"]),
        "HistoryLength": (100000, ["100000"]),
        "SpareWorkers": (1, ["1"]),
        "Preload": (["json", "xml.dom"], ["json", "xml.dom"]),
        "MaxMemory": (4096, ["4096"]),
        "MaxOutput": ("1.5 GiB", ["1.5 GiB"]),
        "AlarmOnFailure": (True, ["true"]),
        "StateWhileRunning": ("ON", ["ON"]),
        "OetCompatibility": (False, ["false"]),
        "HistoryUrl": (history, [history]),
        "HistoryDays": (0.5, ["0.5"]),
        "GitTokenFile": (str(tokens), [str(tokens)]),
        "EnvironmentDays": (36500, ["36500"]),
        "EnvironmentQuota": ("1000000 GB", ["1000000 GB"]),
        "StateDirectory": (str(folder), [str(folder)]),
    }


def read_back(database: Database, names: Any) -> dict[str, list[str]]:
    return {name: list(value) for name, value in database.tango.get_device_property(DEVICE, list(names)).items()}


def test_every_property_arrives_in_the_device_as_it_stands_in_the_values(database, tmp_path):
    state = tmp_path / "state"
    odd = odd_values(state)
    assert odd.keys() == {item.name for item in PROPERTIES}
    own = {"StopGracePeriod": odd["StopGracePeriod"][0]}
    everyones = {**{name: value for name, (value, _) in odd.items()}, "StopGracePeriod": 99}
    values = {
        "properties": everyones,
        "subarrays": [{"id": "07", "properties": own}],
        "state": {"acceptLoss": True},
    }
    pod = Pod(database, tmp_path / "pod", values)
    waiting = pod.mounts.start(pod.mounts.command(pod.init), pod.mounts.environment(pod.init))
    try:
        assert waiting.stdout is not None
        assert f"waiting until {DEVICE} is registered in OetDevice/07" in waiting.stdout.readline()
        status, output = pod.register()
        assert status == 0, output
        assert f"{DEVICE} is not up, and will read its properties when it starts" in output
        assert waiting.wait(60) == 0, "it sees the registration"
    finally:
        waiting.kill()
        waiting.wait()
        waiting.stdout.close()
    assert read_back(database, odd) == {name: texts for name, (_, texts) in odd.items()}
    with pod.serving() as oet:
        assert {name: list(oet.proxy.get_property(name)[name]) for name in odd} == {
            name: texts for name, (_, texts) in odd.items()
        }
        assert oet.proxy.state() == tango.DevState.ON, f"nothing is wrong with any of them: {oet.proxy.status()}"
        uid = oet.running("sleepy.py")
        assert oet.proxy.state() == tango.DevState.ON, "as StateWhileRunning has it"
        oet.stop(uid)
        oet.recorder.wait_for_end(uid)
        status, output = pod.register()
        assert status == 0, output
        assert f"{DEVICE} has read its properties" in output
    assert (state / "history.sqlite3").exists()


def test_an_upgrade_changes_properties_of_a_device_on_which_a_script_runs_on(one_database, tmp_path):
    secret = f"sqlite:///{tmp_path}/secret.sqlite3"
    values = {
        "history": {"existingSecret": {"name": "history"}},
        "properties": {"ScriptRoots": [str(SCRIPTS)], "MaxProcedures": 3, "SpareWorkers": 0},
    }
    pod = Pod(one_database, tmp_path / "pod", values)
    assert pod.register()[0] == 0
    with pod.serving(OET_HISTORY_URL=secret) as oet:
        uid = oet.running("sleepy.py")
        pod.render(properties={**values["properties"], "MaxProcedures": 1})
        status, output = pod.register()
        assert status == 0, output
        assert oet.state(uid) == "RUNNING"
        with pytest.raises(tango.DevFailed, match="MaxProcedures is 1"):
            oet.prepare("good.py")
        oet.stop(uid)
        oet.recorder.wait_for_end(uid)
    assert (tmp_path / "secret.sqlite3").exists(), "the URL from the Secret is where the history is"


def listening(server: Server) -> set[tuple[str, int]]:
    """Return where the device server process listens."""
    found = server.device_server().net_connections("tcp")
    return {(each.laddr.ip, each.laddr.port) for each in found if each.status == psutil.CONN_LISTEN}


def test_a_server_listens_at_the_pods_address_and_ports_alone_and_again_when_it_was_killed(one_database, tmp_path):
    pod = Pod(one_database, tmp_path / "pod", {"properties": {"ScriptRoots": [str(SCRIPTS)], "SpareWorkers": 0}})
    assert pod.register()[0] == 0
    with pod.serving() as oet:
        uid = oet.running("sleepy.py")
        wanted = {("127.0.0.1", port) for port in pod.ports}
        assert listening(oet.server) == wanted
        first = oet.server.device_server()
        first.kill()
        wait_until(lambda: not first.is_running(), 30, "it is gone")
        oet.reconnect()
        assert listening(oet.server) == wanted
        assert oet.state(uid) == "RUNNING"
        oet.stop(uid)
        oet.recorder.wait_for_end(uid)


def test_clients_outside_are_told_the_address_of_the_load_balancer_for_commands_and_events(one_database, tmp_path):
    """A load balancer of one's own cannot be had: the name localhost leads to the pod here."""
    subarray = {"id": "07", "loadBalancer": {"address": "localhost"}}
    pod = Pod(one_database, tmp_path / "pod", {"loadBalancer": {"enabled": True}, "subarrays": [subarray]})
    services = of_kind("Service", pod.rendered)
    assert [each["spec"]["type"] for each in services] == ["ClusterIP", "LoadBalancer"]
    assert [port["port"] for port in services[1]["spec"]["ports"]] == pod.ports
    assert pod.register()[0] == 0
    with pod.serving() as oet:
        oet.recorder.wait_for("State", lambda value: value == tango.DevState.ON)
        assert b"localhost" in bytes.fromhex(one_database.tango.get_device_info(DEVICE).ior.removeprefix("IOR:"))
        admin = tango.DeviceProxy(f"tango://{one_database.host}/dserver/OetDevice/07")
        _, endpoints = admin.command_inout("ZmqEventSubscriptionChange", ["info"])
        assert f"Alternate event: tcp://localhost:{pod.ports[2]}" in endpoints
        assert f"Alternate heartbeat: tcp://localhost:{pod.ports[1]}" in endpoints


def test_the_time_that_a_pod_has_to_end_is_enough_for_a_script_that_does_not_want_to(one_database, tmp_path):
    properties = {"ScriptRoots": [str(SCRIPTS)], "SpareWorkers": 0, "StopGracePeriod": 1.5}
    pod = Pod(one_database, tmp_path / "pod", {"properties": properties})
    period = of_kind("StatefulSet", pod.rendered)[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert pod.register()[0] == 0
    with pod.serving() as oet:
        oet.running("deaf.py")
        oet.close()
        assert oet.server.stop(seconds=period) == 0, "a kubelet would have killed it"


@pytest.mark.parametrize("clusters", [{}, {"runAsUser": 1000680000, "runAsGroup": 0, "fsGroup": 1000680000}])
def test_the_pods_user_serves_from_a_volume_that_is_its_groups_alone(one_database, tmp_path, clusters):
    """As a kubelet mounts a claim: root's, the group's to write, with lost+found in it.  The user may have no name."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("NOT TESTED: only root, with setpriv, can run a server as the pod's user")
    folder = tmp_path / "pod"
    values = {"properties": {"ScriptRoots": [str(SCRIPTS)]}}
    pod = Pod(one_database, folder, {**values, "podSecurityContext": dict.fromkeys(clusters)})
    context = {**of_kind("StatefulSet", pod.rendered)[0]["spec"]["template"]["spec"]["securityContext"], **clusters}
    for path in (folder / "state", pod.mounts.folder / "home", pod.mounts.folder / "tmp", folder / "server"):
        path.mkdir(exist_ok=True)
        os.chown(path, 0, context["fsGroup"])
        path.chmod(0o2775)
    (folder / "state" / "lost+found").mkdir(mode=0o700)
    # The interpreter of the tests may be root's alone: it may be read.
    readable = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
    who = [f"--reuid={context['runAsUser']}", f"--regid={context['runAsGroup']}", f"--groups={context['fsGroup']}"]
    assert pod.register()[0] == 0
    with pod.serving(state=folder / "state", run_by=["setpriv", *who, *readable]) as oet:
        uid = oet.run("good.py")
        assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        assert oet.proxy.state() == tango.DevState.ON, oet.proxy.status()
    history = (folder / "state" / "history.sqlite3").stat()
    assert (history.st_uid, history.st_mode & 0o777) == (context["runAsUser"], 0o600)


def test_probes_kill_nobody_while_the_database_is_away_and_notice_a_device_that_hangs(one_database, tmp_path):
    # Only that of liveness imports no Tango, which takes long on a busy machine: startup notes where the device is.
    seconds = {"startup": 30, "readiness": 30, "liveness": 8}
    limits = {name: {"timeoutSeconds": each} for name, each in seconds.items()}
    pod = Pod(one_database, tmp_path / "pod", {"probes": limits, "properties": {"SpareWorkers": 0}})
    assert pod.register()[0] == 0
    assert pod.probe("startupProbe")[0] == 1, "it is registered, and not up"
    with pod.serving() as oet:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            status, output = pod.probe(name)
            assert status == 0, (name, output)
        stopped = [*oet.server.device_servers(), psutil.Process(oet.server.pid)]
        for process in reversed(stopped):  # main first, which would kill one that hangs
            suspend(process.pid)
        try:
            assert pod.probe("livenessProbe")[0] == 1, "the database answers, the device does not"
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)
        one_database.stop()
        for name in ("startupProbe", "livenessProbe"):
            status, output = pod.probe(name)
            assert status == 0, (name, output)


def test_the_liveness_probe_lets_a_server_be_that_waits_for_the_database_to_start_anew(tmp_path):
    database = Database(tmp_path, lasting=True)
    try:
        pod = Pod(database, tmp_path / "pod", {"properties": {"ScriptRoots": [str(SCRIPTS)], "SpareWorkers": 0}})
        assert pod.register()[0] == 0
        with pod.serving() as oet:
            uid = oet.running("sleepy.py")
            script = psutil.Process(oet.pid(uid))
            database.stop()
            oet.server.device_server().kill()
            assert pod.probe("livenessProbe")[0] == 0
            assert script.is_running()
            database.kill_and_start_again()
            oet.reconnect()
            assert pod.probe("livenessProbe")[0] == 0
            assert oet.state(uid) == "RUNNING"
            oet.stop(uid)
            oet.recorder.wait_for_end(uid)
    finally:
        database.stop()


@pytest.mark.parametrize("ends", ["SIGTERM", "registered elsewhere"])
def test_the_init_container_waits_until_it_is_told_to_end(one_database, tmp_path, ends):
    pod = Pod(one_database, tmp_path / "pod", {})
    if ends == "registered elsewhere":
        one_database.add_server("08", {DEVICE: {}})
    waiting = pod.mounts.start(pod.mounts.command(pod.init), pod.mounts.environment(pod.init))
    try:
        assert waiting.stdout is not None
        line = waiting.stdout.readline()
        assert ("is registered in OetDevice/08, not in OetDevice/07" in line) == (ends != "SIGTERM"), line
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(30) == 128 + signal.SIGTERM
    finally:
        waiting.kill()
        waiting.wait()
        waiting.stdout.close()


def test_a_registration_waits_for_the_database_and_ends_badly_when_nothing_could_be_written(tmp_path):
    database = Database(tmp_path, lasting=True)
    try:
        pod = Pod(database, tmp_path / "pod", {})
        database.stop()
        (container,) = of_kind("Job", pod.rendered)[0]["spec"]["template"]["spec"]["containers"]
        job = pod.mounts.start(pod.mounts.command(container), pod.mounts.environment(container))
        try:
            assert job.stdout is not None
            assert "the Tango database does not answer yet" in job.stdout.readline()
            database.kill_and_start_again()
            assert job.wait(60) == 0, job.stdout.read()
        finally:
            job.kill()
            job.wait()
            job.stdout.close()
        file = pod.mounts.programs / "dsconfig.json"
        content = json.loads(file.read_text())
        content["servers"]["OetDevice"]["07"]["OetDevice"] = {"no device": {"properties": {"MaxProcedures": 5}}}
        file.write_text(json.dumps(content))
        status, output = pod.register()
        assert status != 0, output
    finally:
        database.stop()
