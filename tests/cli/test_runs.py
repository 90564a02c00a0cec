"""`oet run`, `prepare`, `start` and `stop`: what is asked of the device, what is said, and the exit status."""

from __future__ import annotations

import json
import re

import pytest

SCRIPTS = {
    "echo.py": """
def init(*args, **kwargs):
    global given
    given = [args, kwargs]

def main(*args, **kwargs):
    return [args, kwargs, given]

def part(value=0):
    print("part", value)
    return value
""",
    "stops_itself.py": """
from ska_oet_device import scripting

def main():
    scripting.stop("clouds")
""",
}


@pytest.fixture(scope="module", autouse=True)
def _scripts(scratch):
    for name, text in SCRIPTS.items():
        (scratch / name).write_text(text)


def test_run_says_id_and_run_id_and_does_not_wait(oet, tidy):
    done = oet("run", "sleepy.py", check=True)
    (uid, run_id) = re.fullmatch(r"Procedure (\d+) of .*: file://sleepy.py, run id (\S+)\n", done.out).groups()
    summary = tidy.summary(int(uid))
    assert (summary["run_id"], done.err) == (run_id, "")
    tidy.recorder.wait_for_state(int(uid), "RUNNING")


def test_values_are_json_where_they_are_json_and_else_texts(oet, tidy):
    values = ("3", "x", '"3"', "null", "[1, {}]", "-3", "NaN", "1.5", "", "true", "True", "a{", " 7 ")
    asked = [f"--arg={value}" for value in values]
    done = oet("run", "echo.py", "-f", "--json", *asked, "--kwarg", "a=b=c", "-k", "n=", "--init", "2",
               "--init-kwarg", "deep={\"x\": [null]}", check=True)  # fmt: skip
    expected = [3, "x", "3", None, [1, {}], -3, "NaN", 1.5, "", True, "True", "a{", 7]
    assert done.objects[-1]["history"]["exit"]["result"] == [
        expected, {"a": "b=c", "n": ""}, [[2], {"deep": {"x": [None]}}],
    ]  # fmt: skip


STATUSES = {
    "completes": (["good.py"], 0, ""),
    "fails": (["raises.py", "--arg", "nobody"], 1, "is FAILED: ValueError: no such receiver: nobody"),
    "fails at import": (["raises_at_import.py"], 1, "is FAILED: "),
    "stops itself": (["stops_itself.py"], 4, "is STOPPED: stopped by the script: clouds"),
    "is not there": (["no_such_file.py"], 3, "[OET_ScriptNotFound]"),
    "has no such function": (["good.py", "--fn", "nix"], 1, "is FAILED: "),
    "has a function that returns": (["good.py", "--fn", "calibrate"], 0, ""),
}


@pytest.mark.parametrize("name", STATUSES)
def test_the_exit_status_of_a_run_that_is_followed_is_its_outcomes(oet, tidy, name):
    arguments, status, text = STATUSES[name]
    done = oet("run", "--follow", *arguments)
    assert (done.status, text in done.err, done.err.count("\n")) == (status, True, 1 if status else 0), done
    assert "Traceback" not in done.err


def test_who_follows_a_procedure_that_is_stopped_ends_with_4_and_the_reason(oet, tidy):
    with oet.begun("run", "-f", "sleepy.py") as run:
        for line in run.stdout:
            if "RUNNING" in line:
                break
        done = oet("stop", "--reason", "clouds [bold]over[/] the array", check=True)
        out, err = run.communicate(timeout=30)
    assert re.fullmatch(r"Stop of procedure \d+ is under way\.\n", done.out)
    assert (run.returncode, out.splitlines()[-1].split()[1]) == (4, "STOPPED")
    assert "is STOPPED: stopped on request: clouds [bold]over[/] the array" in err


def test_a_start_that_is_dropped_ends_with_3_and_the_reason(oet, tidy):
    busy = tidy.running("sleepy.py")
    done = oet("run", "-f", "good.py")
    assert (done.status, done.err.count("\n")) == (3, 1)
    assert re.match(rf"oet: procedure \d+ was not started, and is READY still: .*procedure {busy} ", done.err)


def test_a_start_that_is_refused_ends_with_3_and_the_reason(oet, tidy):
    uid = tidy.ready("good.py")
    busy = tidy.running("sleepy.py")
    done = oet("start", str(uid))
    assert (done.status, f"procedure {busy} is RUNNING" in done.err, "[OET_Busy]" in done.err) == (3, True, True)


def test_prepare_and_start_without_an_id_belong_together(oet, tidy):
    prepared = oet("prepare", "echo.py", "--init", "1", "--json", check=True).objects
    done = oet("start", "--arg", "2", "-f", "--json", check=True)
    assert done.objects[-1]["id"] == prepared[0]["id"]
    assert done.objects[-1]["history"]["exit"]["result"] == [[2], {}, [[1], {}]]


@pytest.mark.long
def test_a_procedure_may_be_named_by_its_run_id(oet, tidy):
    run_id = oet("prepare", "echo.py", "--json", check=True).objects[0]["run_id"]
    done = oet("start", run_id, "--fn", "part", "--kwarg", "value=8", "-f", check=True)
    assert "part 8" in done.out
    assert oet("start", run_id, "-f", check=True).out.splitlines()[-1].endswith("COMPLETE")


def test_stop_without_an_id_is_refused_while_nothing_lives(oet, tidy):
    done = oet("stop")
    assert (done.status, done.out) == (3, "")
    assert done.err == "oet: no procedure is alive: there is none to stop [OET_InvalidState]\n"


def test_stop_of_what_has_ended_says_how_it_had_ended(oet, tidy):
    uid = tidy.run("raises.py", "nobody")
    tidy.recorder.wait_for_end(uid)
    done = oet("stop", str(uid), check=True)
    said = rf"Procedure {uid} had ended already, at [-\d]+ [\d:]+: it is FAILED: ValueError: no such receiver: nobody\n"
    assert re.fullmatch(said, done.out), done
    assert oet("stop", str(uid), "--json", check=True).objects == [{"stopped": uid, "ended": "FAILED", "abort": []}]


@pytest.mark.long
def test_stop_names_the_abort_script(oet, tidy):
    with tidy.properties(AbortScript="file://good.py"):
        uid = tidy.running("sleepy.py")
        done = oet("stop", str(uid), check=True)
        abort = re.search(r"The abort script is procedure (\d+): file://good.py\n", done.out)[1]
        tidy.recorder.wait_for_end(int(abort))
        second = tidy.running("sleepy.py")
        told = oet("stop", "--json", check=True).objects[0]
        assert (told["stopped"], len(told["abort"])) == (second, 1)
        tidy.recorder.wait_for_end(told["abort"][0]["id"])
        third = tidy.running("sleepy.py")
        said = re.fullmatch(
            rf"Stop of procedure {third} is under way\.\nThe abort script is procedure (\d+): file://good.py\n",
            oet("stop", check=True).out,
        )
        tidy.recorder.wait_for_end(int(said[1]))
        last = tidy.running("sleepy.py")
        done = oet("stop", "--no-abort", "--json", check=True)
        assert done.objects == [{"stopped": last, "ended": None, "abort": []}]


@pytest.mark.long
def test_who_asked_is_the_login_name_or_who_is_named(oet, tidy):
    asked = oet("--as", "night shift", "prepare", "good.py", "--json", check=True).objects[0]
    assert asked["requested_by"][0]["user"] == "night shift"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run"], "Missing argument 'SCRIPT'"),
        (["run", "good.py", "--foo"], "No such option: --foo"),
        (["run", "good.py", "--kwarg", "novalue"], "--kwarg 'novalue' is not NAME=VALUE"),
        (["run", "good.py", "-k", "a=1", "-k", "a=2"], "--kwarg 'a' is given twice"),
        (["run", "good.py", "-a", "[1, 2"], "--arg '[1, 2' is no JSON: Expecting ',' delimiter at character 6"),
        (["check", "good.py", "--init-kwarg", "a={b}"], "--init-kwarg a='{b}' is no JSON: "),
        (["history", "-n", "x"], "'--limit' / '-n': must be a whole number, 0 or more (given: 'x')"),
        (["events", "-n=-1"], "must be a whole number, 0 or more (given: "),
        (["run", "good.py", "--branch", "main"], "belong to --git URL"),
        (["run", ""], "the script has no name"),
        (["stop", ""], "a procedure has an id, or a run id"),
        (["history", "--since", "soon"], "'soon' is no time"),
        (["history", "--state", "happy"], "--state 'happy' is none of CREATING"),
        (["fly"], "No such command 'fly'"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_arguments_that_do_not_fit_end_with_2_and_a_line(oet, arguments, text):
    done = oet(*arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1), done
    assert text in done.err


def test_a_server_that_is_away_ends_with_5_and_a_line(oet, device):
    done = oet("list", TANGO_HOST="127.0.0.1:1")
    assert (done.status, done.out, done.err.count("\n")) == (5, "", 1)
    assert "127.0.0.1" in done.err


def test_errors_are_json_where_json_is_asked_for(oet):
    for arguments, status, error in (
        (["output", "--json", "9999"], 3, "OET_UnknownProcedure"),
        (["--json", "run"], 2, "usage"),
        (["run", "raises.py", "-f", "--json"], 1, "FAILED"),
    ):
        done = oet(*arguments)
        told = json.loads(done.err)
        assert (done.status, told["status"], told["error"], sorted(told)) == (
            status, status, error, ["error", "status", "text"],
        )  # fmt: skip
        assert done.objects is not None


def test_a_run_in_json_is_summary_events_progress_output_and_summary(oet, tidy):
    objects = oet("run", "-f", "--json", "prints_a_line.py", check=True).objects
    assert objects[0]["script"]["script_uri"] == "file://prints_a_line.py"
    tidy.recorder.wait_for_end(objects[0]["id"])  # which it may hear later than the command did
    assert [each["state"] for each in objects if "sequence" in each] == tidy.recorder.states(objects[0]["id"])
    assert "".join(each.get("output", "") for each in objects) == "a line\n"
    assert objects[-1] == tidy.summary(objects[0]["id"])


def test_sigterm_leaves_the_script_running(oet, tidy):
    with oet.begun("run", "-f", "sleepy.py") as run:
        for line in run.stdout:
            if "RUNNING" in line:
                break
        run.terminate()
        _, err = run.communicate(timeout=30)
    assert run.returncode == 143
    uid = re.match(r"oet: procedure (\d+) goes on; `oet output -f \1` shows", err)[1]
    assert tidy.state(int(uid)) == "RUNNING"


@pytest.mark.long
def test_progress_is_told_through_a_pipe_too(oet, tidy):
    with oet.begun("run", "-f", "progress.py", "--kwarg", "seconds=60") as run:
        # It may be told a second later: what is pushed right behind a subscription may reach nobody.
        told = next((line for line in run.stdout if re.fullmatch(r" +4[23] %  pointing the dishes\n", line)), None)
        oet("stop", check=True)
        run.communicate(timeout=30)
    assert told
    assert run.returncode == 4
