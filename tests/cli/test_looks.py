"""`oet list`, `describe`, `history`, `requests`, `check`, `health`: commands that look once."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest
from support.tango_server import program
from support.waiting import wait_until

PATIENT = ("--timeout", "30")  # seconds, in which a loaded machine starts the program, too
SCRIPTS = {
    "raises_markup.py": r"""
def main():
    raise ValueError("[bold red]no[/] such thing [/nothing]\x1b[2J\nin two lines")
""",
}


@pytest.fixture(scope="module", autouse=True)
def _scripts(scratch):
    for name, text in SCRIPTS.items():
        (scratch / name).write_text(text)


@pytest.fixture(scope="module")
def failed(device):
    """A procedure that has failed, with markup and control characters in its reason."""
    uid = device.run("raises_markup.py")
    device.recorder.wait_for_end(uid)
    return uid


def test_list_shows_a_procedure_a_line_with_its_whole_reason(oet, device, failed):
    done = oet("list", check=True)
    head, *rows = done.out.splitlines()
    assert head.split() == ["ID", "STATE", "SINCE", "SCRIPT", "BY", "REASON"]
    assert len(rows) == len(device.summaries())
    (row,) = [row for row in rows if row.split()[0] == str(failed)]
    assert row.endswith("ValueError: [bold red]no[/] such thing [/nothing]; in two lines")
    assert "\x1b" not in done.out


def test_list_in_json_is_the_summaries(oet, device, failed):
    assert oet("list", "--json", check=True).objects == device.summaries()


def test_describe_shows_all_that_is_known(oet, device, failed):
    uid = device.ready("good.py")
    device.call(uid, fn="calibrate", source="3C 286")
    device.stop(uid, reason="clouds", user="anna")
    device.recorder.wait_for_end(uid)
    run_id = device.summary(uid)["run_id"]
    text = oet("describe", run_id, check=True).out
    for expected in (f"procedure:   {uid}", f"run id:      {run_id}", 'calibrate(source="3C 286")', "sha256: ",
                     "state:       STOPPED", "reason:      stopped on request: clouds", "Stop by anna ("):  # fmt: skip
        assert expected in text
    text = oet("describe", str(failed), check=True).out
    assert "traceback:\n  Traceback (most recent call last):\n" in text
    assert "\x1b" not in text
    assert oet("describe", str(uid), "--json", check=True).objects == [device.summary(uid)]


def test_describe_tells_what_was_filled_in_and_why_starts_were_dropped(oet, device):
    busy = device.running("sleepy.py")
    uid = device.run("good.py")
    wait_until(lambda: device.summary(uid)["history"]["dropped_starts"])
    text = oet("describe", str(uid), check=True).out
    assert re.search(r"^calls: +\S+ \S+  init\(subarray_id=1 filled in\)$", text, re.MULTILINE), text
    assert re.search(rf"^ +\S+ \S+  READY  start dropped: .*procedure {busy} ", text, re.MULTILINE), text
    assert text.count("start dropped") == 1
    assert "{" not in text
    with oet.terminal("describe", str(uid), columns=40) as terminal:
        assert terminal.wait() == 0
    lines = terminal.shown.splitlines()
    assert all(len(line) <= 40 for line in lines), lines
    assert "".join(text.split()) == "".join(terminal.shown.split()), "nothing is left out"
    device.tidy()


def test_a_procedure_is_by_who_asked_for_it_first(oet, device):
    uid = oet("--as", "dora", "prepare", "good.py", "--json", check=True).objects[0]["id"]
    oet("--as", "carla", "stop", str(uid), check=True)
    (row,) = [line.split() for line in oet("list", check=True).out.splitlines() if line.split()[0] == str(uid)]
    assert row[5] == "dora"
    device.recorder.wait_for_end(uid)


def test_a_device_of_another_class_is_told_as_such(oet, device):
    for command in ("list", "events", "output -f 1"):
        done = oet(*command.split(), "-d", "sys/database/2")
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1), done
        assert done.err.startswith("oet: sys/database/2 is a DataBase, not an OetDevice")


@pytest.mark.long
def test_times_are_local_or_utc(oet, failed):
    local = oet("describe", str(failed), check=True, TZ="UTC-3").out
    utc = oet("describe", str(failed), "--utc", check=True, TZ="UTC-3").out
    here, there = (
        time.mktime(time.strptime(re.search(r"states: +(\S+ [\d:]+)", text)[1], "%Y-%m-%d %H:%M:%S"))
        for text in (local, utc)
    )
    assert (here - there, re.search(r"states: +\S+ [\d:]+Z", utc) is not None) == (3 * 3600, True)


@pytest.mark.long
def test_history_finds_by_state_text_script_user_and_time(oet, device, failed):
    found = oet("history", "--state", "failed", "--text", "such thing", "--since", "1h", "--script", "markup", "--json")
    assert [each["id"] for each in found.objects] == [failed]
    assert oet("history", "--since", "now", "--json", check=True).out == ""
    assert oet("history", "--until", "yesterday", "--json", check=True).out == ""
    oet("--as", "bert", "prepare", "good.py", check=True)
    by_bert = ("history", "--user", "bert", "--json")
    (named,) = wait_until(lambda: oet(*by_bert, check=True).objects, 60, "the history has it")
    assert [row.split()[0] for row in oet("history", "-n", "1", check=True).out.splitlines()] == [
        "ID",
        str(named["id"]),
    ]
    device.tidy()


def test_requests_tell_who_asked_and_what_was_answered(oet, device):
    oet("--as", "bert", "run", "no_such.py")

    def refused() -> list[dict[str, object]]:
        newest = oet("requests", "-n", "1", "--json", check=True).objects
        return [each for each in newest if "OET_ScriptNotFound" in each["answer"]]

    (first,) = wait_until(refused, 60, "the audit has it")
    assert (first["command"], first["user"]) == ("Run", "bert")
    assert list(first) == list(json.loads(device.proxy.Requests(""))[0])
    assert "bert (oet pid " in oet("requests", "-n", "1", check=True).out


def test_there_may_be_no_environments(oet):
    assert oet("environments", check=True).out.split() == [
        "ENVIRONMENT", "STATE", "SIZE", "LAST", "USED", "IN", "USE", "DESCRIPTION",
    ]  # fmt: skip
    assert oet("environments", "--json", check=True).out == ""


def test_health_is_among_the_commands_and_knows_the_device(oet, device):
    assert re.search(r"^  health +Say how healthy", oet("--help", check=True).out, re.MULTILINE)
    assert oet("health", *PATIENT).out.startswith(f"OK {device.name}: Ready")
    assert oet("-d", device.name, "health", *PATIENT).out.startswith(f"OK {device.name}: ")
    told = oet("--json", "health", *PATIENT).objects[0]
    assert (told["device"], told["health"]) == (device.name, "OK")


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("health --timeout 30", ("typer", "rich", "ska_oet_device.client", "pydantic", "asyncio")),
        ("list", ("sqlalchemy", "git", "opentelemetry", "ska_oet_device.procedure.ui", "ska_oet_device.engine")),
    ],
    ids=["health", "list"],
)
def test_a_command_loads_nothing_that_it_does_not_need(oet, device, command, unwanted):
    code = (
        f"import sys, os\nfrom ska_oet_device.cli import main\nsys.argv[1:] = {command.split()!r}\nleave = os._exit\n"
        f"def tell(status):\n    unwanted = {unwanted!r}\n"
        "    print(sorted(set(unwanted) & set(sys.modules)), status, flush=True)\n    leave(0)\n"
        "os._exit = tell\nmain()\n"
    )
    done = subprocess.run([program("python"), "-c", code], env=oet.environment(), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] 0", done


CHECKS = {
    "ok": (
        ["good.py", "--fn", "calibrate", "-k", "source=x"],
        0,
        "good.py: ok\n  A script as it should be: init, main, and other functions.\n"
        "  init(subarray_id=1)\n      Prepare.\n",
    ),
    "not there": (["nix.py"], 1, "nix.py: not ok: found: no file for file://nix.py"),
    "one of two": (["good.py", "raises_at_import.py"], 1, "raises_at_import.py: not ok: imports: LookupError"),
    "an argument too many": (["progress.py", "--fn", "silent", "-a", "1", "-a", "2"], 1, "not ok: arguments: "),
}


@pytest.mark.parametrize("name", CHECKS)
def test_check_says_how_scripts_would_fare(oet, device, name):
    arguments, status, text = CHECKS[name]
    before = device.summaries()
    done = oet("check", *arguments)
    assert (done.status, text in done.out, done.err.count("\n")) == (status, True, status), done
    assert device.summaries() == before


def test_check_in_json_is_the_reports_in_the_order_that_was_asked_for(oet):
    done = oet("check", "--json", "good.py", "raises_at_import.py", "sleepy.py")
    assert (done.status, [each["ok"] for each in done.objects]) == (1, [True, False, True])
    assert json.loads(done.err)["error"] == "check"
