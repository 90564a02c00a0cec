"""healthState and Status tell whether this server can do its job."""

import contextlib
import os
import re
import subprocess
import time

import pytest
from support.databases import make_database
from support.processes import stopped
from support.tango_server import EventRecorder, Oet, program
from support.waiting import wait_until

SLOW = 10.0  # seconds that a busy machine may take more, also for the start of Python; who hangs does so for longer


def test_a_healthy_server_says_so(oet):
    assert oet.proxy.healthState.name == "OK"
    assert oet.proxy.Status().startswith("Ready: ")


def test_a_module_of_preload_that_cannot_be_imported_degrades_but_scripts_still_run(oet):
    with oet.properties(Preload=["no_such_module_at_all", "colorsys"]):
        oet.recorder.wait_for("healthState", lambda value: value == 1)
        status = oet.recorder.wait_for("Status", lambda status: "no_such_module_at_all" in status).value
        assert "cannot be imported" in status
        assert oet.proxy.healthState.name == "DEGRADED"
        assert oet.proxy.State().name == "ON"
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    oet.recorder.wait_for("healthState", lambda value: value == 0)
    wait_until(lambda: "no_such_module_at_all" not in oet.proxy.Status(), 10, "Status is clean again")


def test_a_module_of_preload_is_imported_before_the_script_asks(oet, scratch):
    (scratch / "finds_preloaded.py").write_text(
        "import sys\n\ndef main():\n    assert 'colorsys' in sys.modules, 'it was not preloaded'\n"
    )
    with oet.properties(Preload=["colorsys"]):
        uid = oet.run("finds_preloaded.py")
        end = oet.recorder.wait_for_end(uid, 20)
        assert (end["state"], end["reason"]) == ("COMPLETE", "completed")


def test_a_module_that_starts_a_thread_is_told_of_and_done_without(own_server, tmp_path):
    (tmp_path / "threaded_module.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    )
    oet = own_server(environment={"PYTHONPATH": str(tmp_path)}, Preload=["threaded_module"])
    wait_until(lambda: "starts a thread" in oet.proxy.Status(), 20, "Status tells of it")
    assert oet.proxy.healthState.name == "DEGRADED"
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"


def test_health_is_pushed_to_newcomers(oet):
    newcomer = EventRecorder(oet.proxy, ("healthState",))
    try:
        assert newcomer.values("healthState") == [0]
    finally:
        newcomer.close()


def test_an_abort_script_that_is_no_uri_is_told_of(oet):
    with oet.properties(AbortScript="abort.py"):
        assert "Property AbortScript: 'abort.py' is not the URI of a script" in oet.proxy.Status()
    assert "AbortScript" not in oet.proxy.Status()


# -- the shell command


def _health(oet: Oet, *arguments: str, host: str = "") -> tuple[int, str, float]:
    """Run `oet health`; returns exit status, what it said, and seconds."""
    if not any(each.startswith("--timeout") for each in arguments):
        arguments = (*arguments, "--timeout", "30")  # for the start of Python, too
    began = time.monotonic()
    done = subprocess.run(
        [program("oet"), "health", *arguments],
        env={**os.environ, "TANGO_HOST": host or oet.database.host},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - began


def _health_in_time(oet: Oet, timeout: str, host: str = "") -> tuple[int, str]:
    """Run `oet health`, and see that it does not hang; whether it heeds its own limit or Tango's, its text tells."""
    status, text, took = _health(oet, oet.name, "--timeout", timeout, host=host)
    assert took < float(timeout) + SLOW, text
    return status, text


def test_the_command_says_ok_in_a_line(oet):
    status, text, _ = _health(oet, oet.name)
    assert (status, text) == (0, f"OK {oet.name}: Ready: no procedure is alive.\n")


@pytest.mark.long
def test_the_command_takes_little_more_than_the_import_of_tango(oet):
    """0.3 s on a machine that does nothing else; here others may be at work, so both are measured."""

    def seconds_of_import() -> float:
        began = time.monotonic()
        subprocess.run([program("python"), "-c", "import tango, os; os._exit(0)"], check=True)
        return time.monotonic() - began

    _health(oet, oet.name)
    runs = [(_health(oet, oet.name)[2], seconds_of_import()) for _ in range(8)]
    assert min(run for run, _ in runs) < 1.5 * min(imported for _, imported in runs) + 0.3


def test_the_command_names_what_degrades(oet):
    with oet.properties(Preload=["no_such_module_at_all"]):
        oet.recorder.wait_for("healthState", lambda value: value == 1)
        status, text, _ = _health(oet, oet.name)
        assert (status, text.split()[0]) == (0, "DEGRADED")
        assert "no_such_module_at_all" in text


@pytest.mark.parametrize("seconds", ["0.6", "1.5"])
def test_the_command_answers_in_time_when_the_device_server_is_stopped(own_server, seconds):
    oet = own_server()
    with stopped(oet.server.device_server().pid):
        status, text = _health_in_time(oet, seconds)
        assert status == 1
        assert re.match(rf"FAILED {oet.name}: no answer from .* within {seconds} s$", text.strip())


@pytest.mark.long
def test_the_command_waits_for_a_device_server_that_is_started_again_and_tells_what_was_wrong(own_server):
    oet = own_server()
    assert _health(oet, oet.name, "--timeout", "20")[0] == 0
    crashed = oet.server.device_server()
    with stopped(oet.server.pid):  # which would start it again
        crashed.kill()
        status, text, _ = _health(oet, oet.name, "--timeout", "5")
        assert status == 1
        assert text.startswith(f"FAILED {oet.name}: ")
        assert "delayed" not in text
        command = [program("oet"), "health", oet.name, "--timeout", "60"]
        waiting = subprocess.Popen(
            command, env={**os.environ, "TANGO_HOST": oet.database.host}, stdout=subprocess.PIPE, text=True
        )
        assert not _has_ended(waiting, 3)
    assert waiting.communicate(timeout=60)[0].startswith(f"OK {oet.name}: ")


def _has_ended(process: subprocess.Popen[str], seconds: float) -> bool:
    """Say whether it ends within some seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is not None


def test_the_command_says_why_when_main_is_stopped(own_server):
    oet = own_server()
    with stopped(oet.server.pid):
        wait_until(lambda: "main process" in oet.proxy.Status(), 20, "the device has noticed")
        status, text, _ = _health(oet, oet.name)
        assert (status, text.split()[0]) == (1, "FAILED")
        assert "main process" in text


def test_the_command_answers_in_time_when_the_database_is_stopped_or_away(oet, tmp_path):
    database = make_database(tmp_path)
    try:
        with stopped(database.pid):
            status, text = _health_in_time(oet, "5", database.host)  # in which Tango has been imported
            assert status == 1
            assert f"no answer from the Tango database {database.host}" in text
    finally:
        database.stop()
    status, text = _health_in_time(oet, "10", database.host)
    assert status == 1
    assert f"FAILED {oet.name}: Failed to connect to database on host 127.0.0.1 with port" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("name", ["no/such/device", "garbage", "a b/c|d/\u20ac"])
def test_the_command_says_that_there_is_no_such_device(oet, name):
    status, text, _ = _health(oet, name)
    assert status == 1
    assert text.startswith(f"FAILED {name}: ")
    assert "not defined in the database" in text


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "soon", "1e9"])
def test_the_command_refuses_a_time_that_is_none(oet, timeout):
    status, text, _ = _health(oet, oet.name, f"--timeout={timeout}")
    assert status == 2
    assert f"'{timeout}' must be a number of seconds, more than 0" in text
