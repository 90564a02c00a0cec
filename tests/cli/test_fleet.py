"""`oet fleet`: all devices of a database, of which some hang, some never ran, and one is of an early version."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import tango
from support import early_device
from support.databases import make_database
from support.late_events import without_late_events
from support.processes import stopped
from support.shell import OetCommand
from support.spares import spares_at_rest
from support.tango_server import SCRIPTS, Database, Oet, Server, program
from support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

BIND = ["-ORBendPoint", "giop:tcp:127.0.0.1:0"]
SOME = ("mid-oet/fleet/1", "mid-oet/fleet/2", "mid-oet/fleet/10")
OTHERS = ("low-oet/fleet/1", "low-oet/fleet/2")
EARLY = "mid-oet/early/1"
NEVER = "mid-oet/never/1"
KEYS = (
    *("device", "presence", "health", "state", "reason", "procedure", "procedure_state", "since", "script"),
    *("progress", "activity", "version", "server", "host", "started"),
)
PATIENT = ("--timeout", "20")  # seconds: a loaded machine is slow


@dataclass
class Site:
    """A database, and the servers of its devices."""

    database: Database
    servers: dict[str, Server]
    oet: Oet

    @property
    def command(self) -> OetCommand:
        return OetCommand(self.database.host)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two servers of ours with several devices, one of an early version, and a device that never ran."""
    folder = tmp_path_factory.mktemp("fleet")
    database = make_database(folder, lasting=True)
    servers: dict[str, Server] = {}
    try:
        properties = {"ScriptRoots": [SCRIPTS], "StopGracePeriod": 0.5}
        for instance, names in (("some", SOME), ("others", OTHERS)):
            database.add_server(instance, dict.fromkeys(names, properties))
            servers[instance] = Server([instance, *BIND], folder / instance, database.host)
        database.add_server("never", {NEVER: {}})
        database.add_server("early", {EARLY: {}})
        early = [sys.executable, str(early_device.__file__)]
        # Its class is OetDevice, and so is the program's name in the database.
        link = folder / "OetDevice"
        link.symlink_to(early[1])
        servers["early"] = Server(["early", *BIND], folder / "early", database.host, [early[0], str(link)])
        oet = Oet(database, SOME[0], servers["some"])
        for name in (*SOME, *OTHERS, EARLY):
            wait_until(lambda name=name: _answers(database, name), 60, f"{name} answers")
        yield Site(database, servers, oet)
        oet.close()
    finally:
        for server in servers.values():
            server.clean_up()
        database.stop()


def _answers(database: Database, name: str) -> bool:
    with contextlib.suppress(tango.DevFailed):
        return bool(tango.DeviceProxy(f"tango://{database.host}/{name}").state() != tango.DevState.INIT)
    return False


# -- as they are now


def test_all_devices_are_shown_in_the_natural_order_of_their_names_and_one_that_does_not_run_is_a_failure(site):
    done = site.command("fleet", *PATIENT)
    head, *rows = done.out.split("\n\n")[0].splitlines()
    assert head.split() == ["DEVICE", "HEALTH", "STATE", "PROCEDURE", "PROGRESS", "SINCE", "SCRIPT", "VERSION",
                            "SERVER", "HOST", "REMARK"]  # fmt: skip
    assert [row.split()[0] for row in rows] == [*OTHERS, EARLY, *SOME, NEVER]
    assert done.out.splitlines()[-1] == "7 devices: 5 OK, 1 DEGRADED, 1 NOT RUNNING"
    assert (done.status, done.err) == (1, f"oet: 1 of 7 devices are not well: {NEVER} (NOT RUNNING)\n")
    assert "was never started" in rows[-1]


def test_devices_are_named_by_patterns_and_all_that_is_well_is_status_0(site):
    for words, names in (
        (["MID-oet/fleet/*"], SOME),
        ([OTHERS[0], EARLY], (OTHERS[0], EARLY)),
        (["low*", f"--device={EARLY}"], (*OTHERS, EARLY)),
    ):
        done = site.command("fleet", "--json", *words, *PATIENT)
        assert (done.status, [each["device"] for each in done.objects]) == (0, list(names))


def test_a_pattern_that_fits_nothing_is_a_mistake_and_no_fleet_without_fault(site):
    done = site.command("fleet", "mid-oet/flet/*", *PATIENT)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("oet: no OetDevice fits mid-oet/flet/*; there are low-oet/fleet/1, ")
    assert site.command("fleet", "--follow", "mid-oet/flet/*", *PATIENT).status == 2


def test_a_device_of_an_early_version_is_shown_as_far_as_it_goes(site):
    (early,) = site.command("fleet", "--json", EARLY, *PATIENT).objects
    assert (early["presence"], early["state"], early["health"]) == ("ANSWERS", "ON", "DEGRADED")
    assert (early["version"], early["procedure"], early["script"]) == (None, None, "")


def test_what_a_script_does_is_told_with_its_progress_and_since_when(site):
    uid = site.oet.running("progress.py", seconds=600)
    site.oet.recorder.wait_for("activeProgress", lambda value: value == 42.5)
    try:
        (found,) = site.command("fleet", "--json", SOME[0], *PATIENT).objects
        assert tuple(found) == KEYS
        (state, since) = site.oet.summary(uid)["history"]["process_states"][-1]
        assert (found["procedure"], found["procedure_state"], found["since"]) == (uid, state, since)
        assert found["script"].startswith("file://")
        assert (found["progress"], found["activity"]) == (42.5, "pointing the dishes")
        assert (found["state"], found["server"]) == ("RUNNING", "OetDevice/some")
        done = site.command("fleet", *SOME, *PATIENT)
        assert done.out.splitlines()[-1] == "3 devices: 3 OK; 1 RUNNING a script"
    finally:
        site.oet.tidy()


def test_a_device_that_is_not_ok_is_read_and_says_why(site):
    with site.oet.properties(Preload=["no_such_module_at_all"]):
        site.oet.recorder.wait_for("healthState", lambda value: value == 1)
        (found,) = site.command("fleet", "--json", SOME[0], *PATIENT).objects
        assert found["health"] == "DEGRADED"
        assert "no_such_module_at_all" in found["reason"]
    wait_until(lambda: site.oet.proxy.healthState == 0, 30, "it is OK again")


def test_nothing_is_forked_for_devices_that_are_ok(site):
    spares = spares_at_rest(site.servers["others"])
    for _ in range(3):
        assert site.command("fleet", *OTHERS, *PATIENT).status == 0
    assert sorted(each.pid for each in site.servers["others"].spares()) == spares


def test_devices_that_hang_delay_no_other_and_are_failures(site):
    others = site.servers["others"]
    with stopped(others.pid), stopped(others.device_server().pid):  # main would kill one that hangs
        done = site.command("fleet", "--json", "*/fleet/*", "--timeout", "5")
    found = {each["device"]: each for each in done.objects}
    assert [found[name]["presence"] for name in (*SOME, *OTHERS)] == ["ANSWERS"] * 3 + ["NO_ANSWER"] * 2
    told = re.fullmatch(r"hangs: (process \d+ on \S+ gives )?no answer within 5 s", found[OTHERS[0]]["reason"])
    assert told is not None
    # Where this machine is slow the device is given up before it is told which process hangs.
    assert found[OTHERS[0]]["server"] == ("OetDevice/others" if told[1] else "")
    assert (done.status, json.loads(done.err)["error"]) == (1, "fleet")
    wait_until(lambda: site.command("fleet", *OTHERS, *PATIENT).status == 0, 60, "the server is well")


def test_only_those_that_are_not_well_are_shown_if_wished(site):
    done = site.command("fleet", "--failed", "--json", *PATIENT)
    assert (done.status, [each["device"] for each in done.objects]) == (1, [NEVER])
    done = site.command("fleet", "--failed", *OTHERS, *PATIENT)
    assert (done.status, done.out) == (0, "2 devices: 2 OK\n")
    assert site.command("fleet", "--failed", "--follow").status == 2


@pytest.mark.parametrize("columns", [120, 60])
def test_a_narrow_terminal_loses_columns_and_no_device(site, columns):
    with site.command.terminal("fleet", *SOME, *PATIENT, columns=columns) as terminal:
        assert terminal.wait() == 0
    lines = [line for line in terminal.shown.splitlines() if line.strip()]
    assert all(len(line.rstrip()) <= columns for line in lines)
    assert [line.split()[0] for line in lines[1:4]] == list(SOME)
    assert ("HOST" in lines[0]) == (columns == 120)


def test_a_database_that_hangs_is_away_or_is_not_named_is_told_in_time(site, tmp_path):
    database = make_database(tmp_path)
    try:
        with stopped(database.pid):
            for words in ([], ["--follow"]):
                done = site.command("fleet", *words, "--timeout", "1", TANGO_HOST=database.host)
                assert (done.status, done.out) == (5, "")
                assert f"the Tango database {database.host} does not answer: not within 1 s" in done.err
    finally:
        database.stop()
    done = site.command("fleet", TANGO_HOST=database.host)
    assert (done.status, done.err.count("\n")) == (5, 1)
    assert f"the Tango database {database.host} does not answer: " in done.err
    assert site.command("fleet", "--timeout", "0").status == 2


@pytest.mark.parametrize("words", ["fleet >&-", "fleet --follow >&-", "fleet >/dev/full", "fleet --json >/dev/full"])
def test_a_standard_output_that_cannot_be_written_is_told(site, words):
    done = subprocess.run(
        ["bash", "-c", f"{program('oet')} {words}"],
        env=site.command.environment(), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 74
    assert "standard output cannot be written" in done.stderr


def test_names_of_devices_are_offered(site):
    asked = {"COMP_WORDS": "oet fleet low", "COMP_CWORD": "2", "_OET_COMPLETE": "complete_bash"}
    wait_until(lambda: site.command(**asked).out.split() == list(OTHERS), 60, "on a busy machine at last")


# -- live


class Live:
    """`oet fleet --follow --json`, and the objects that it writes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.told: list[dict[str, object]] = []

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def until(self, seconds: float = 60, **wanted: object) -> dict[str, object]:
        """Wait until an object is told that has these values; what was told before does not count."""

        def found() -> dict[str, object] | None:
            while not self._lines.empty():
                self.told.append(json.loads(self._lines.get()))
                if wanted.items() <= self.told[-1].items():
                    return self.told[-1]
            return None

        return wait_until(found, seconds, f"{wanted} is told; the last was {self.told[-1:]}")

    def all_of(self, *names: str) -> None:
        wait_until(lambda: self._heard() >= set(names), 60, f"{names} are told")

    def _heard(self) -> set[object]:
        while not self._lines.empty():
            self.told.append(json.loads(self._lines.get()))
        return {each["device"] for each in self.told}

    def end(self) -> tuple[int, str]:
        """End it by Ctrl-C; returns its exit status, and what it wrote to standard error."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(30)
        self._thread.join(10)
        assert self.process.stderr is not None
        return status, without_late_events(self.process.stderr.read())


@contextlib.contextmanager
def live(site: Site, *words: str) -> Iterator[Live]:
    with site.command.begun("fleet", "--follow", "--json", *PATIENT, *words) as process:
        yield Live(process)


def test_what_happens_is_told_as_it_happens_and_nothing_else(site):
    with live(site, "*/fleet/*") as told:
        told.all_of(*SOME, *OTHERS)
        began = len(told.told)
        uid = site.oet.run("good.py")
        told.until(device=SOME[0], procedure=uid, procedure_state="COMPLETE")
        site.oet.tidy()
        assert {each["device"] for each in told.told[began:]} <= {SOME[0]}
        assert all(one != other for one, other in zip(told.told[began:], told.told[began + 1 :], strict=False))
        assert told.end() == (130, "")


def test_a_device_server_that_is_killed_is_told_and_so_is_the_next_one(site):
    with live(site, *OTHERS) as told:
        told.all_of(*OTHERS)
        site.servers["others"].device_server().kill()
        told.until(device=OTHERS[1], presence="NO_ANSWER")
        told.until(device=OTHERS[1], presence="ANSWERS", health="OK")
        assert told.end() == (130, "")


def test_a_device_server_that_hangs_is_told_though_it_says_nothing(site):
    others = site.servers["others"]
    with live(site, OTHERS[0], "--timeout", "5") as told:
        told.all_of(OTHERS[0])
        with stopped(others.pid):  # which would start it again
            with stopped(others.device_server().pid):
                told.until(device=OTHERS[0], presence="NO_ANSWER")
            told.until(device=OTHERS[0], presence="ANSWERS")
        told.end()
    wait_until(lambda: _answers(site.database, OTHERS[0]), 60, "the server is well")


def test_devices_that_are_added_and_taken_away_are_told(site):
    name = "mid-oet/later/1"
    with live(site, "mid-oet/later/*", NEVER) as told:
        told.until(device=NEVER, presence="NOT_RUNNING")
        site.database.add_server("later", {name: {}})
        try:
            told.until(device=name, presence="NOT_RUNNING", server="OetDevice/later")
        finally:
            site.database.tango.delete_server("OetDevice/later")
        told.until(device=name, presence="REMOVED")
        told.end()


def test_a_database_that_goes_away_and_comes_back_is_told_and_devices_are_heard_meanwhile(site):
    with live(site, SOME[0], "mid-oet/new/*", "--timeout", "10") as told:
        told.all_of(SOME[0])
        heard = site.oet.ready("good.py")
        told.until(device=SOME[0], procedure=heard)
        with stopped(site.database.pid):
            assert told.process.stderr is not None
            assert "does not answer: not within 10 s; which devices come and go is not seen" in (
                told.process.stderr.readline()
            )
            uid = site.oet.proxy.Run("file://good.py") and site.oet.summaries()[-1]["id"]
            told.until(device=SOME[0], procedure=uid, procedure_state="COMPLETE")
        site.database.add_server("new", {"mid-oet/new/1": {}})
        try:
            told.until(device="mid-oet/new/1", presence="NOT_RUNNING")
        finally:
            site.database.tango.delete_server("OetDevice/new")
        told.end()
    site.oet.tidy()


def test_on_a_terminal_it_is_a_table_that_is_written_in_place(site):
    with site.command.terminal("fleet", "-f", *OTHERS, *PATIENT, columns=100) as terminal:
        terminal.until(lambda shown: "2 devices: 2 OK" in shown, 60)
        others = Oet(site.database, OTHERS[0], site.servers["others"])
        try:
            others.ready("good.py")
            terminal.until(lambda shown: "READY" in shown, 60)
            others.tidy()
        finally:
            others.close()
        terminal.until(lambda shown: "STOPPED" in shown, 60)
        terminal.interrupt()
        assert terminal.wait() == 130
    assert terminal.shown.count("DEVICE") == 1


def test_what_a_script_reports_is_told_until_its_end(site):
    with live(site, SOME[0]) as told:
        told.all_of(SOME[0])
        uid = site.oet.running("progress.py", seconds=600)
        told.until(device=SOME[0], procedure=uid, progress=42.5, activity="pointing the dishes")
        site.oet.tidy()
        told.until(device=SOME[0], procedure=uid, procedure_state="STOPPED", progress=None, activity="")
        told.end()


def test_a_program_that_follows_the_fleet_ends_in_order_in_the_midst_of_events(site, tmp_path):
    script = tmp_path / "reports.py"
    script.write_text(
        "import time\nfrom ska_oet_device.scripting import report_progress\n"
        "def main():\n    for i in range(10**9):\n        report_progress(i % 100, str(i))\n        time.sleep(0.003)\n"
    )
    following = (
        "import sys, queue\nfrom ska_oet_device.client import FleetFeed\n"
        "got = queue.SimpleQueue()\nfeed = FleetFeed(got.put, timeout=20)\nfeed.begin()\n"
        "while getattr(got.get(timeout=60), 'progress', None) is None: pass\n"
        "for _ in range(200): got.get(timeout=60)\nsys.argv[1:] and feed.close()\n"
    )
    proxies = [tango.DeviceProxy(f"tango://{site.database.host}/{name}") for name in SOME]
    for name, proxy in zip(SOME, proxies, strict=True):
        site.database.put_properties(name, {"ScriptRoots": [str(tmp_path)]})
        proxy.Init()
        proxy.Run("file://reports.py")
    try:
        for words in ((), ("close",)) * 4:
            done = subprocess.run(
                [sys.executable, "-c", following, *words],
                env={**os.environ, "TANGO_HOST": site.database.host},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert (done.returncode, without_late_events(done.stderr)) == (0, "")
    finally:
        for name, proxy in zip(SOME, proxies, strict=True):
            proxy.Stop("")
            site.database.put_properties(name, {"ScriptRoots": [SCRIPTS]})
            proxy.Init()
        site.oet.tidy()
