"""`oet` in a real terminal, wide and narrow: what is written in place, and what Ctrl-C means."""

from __future__ import annotations

import os
import re
import signal

import pytest
from support.waiting import wait_until

STEPS = """
import time
from pathlib import Path

from ska_oet_device.scripting import report_progress

def main(steps, go):
    for number, step in enumerate(steps):
        report_progress(100 * number / len(steps), step)
        print("\\x1b[32mdone:\\x1b[0m", number, "\\x1b]0;a title\\x07\\x1b[2J")
        while not Path(f"{go}{number}").exists():
            time.sleep(0.01)
    report_progress(100, "all done")
"""


@pytest.fixture(scope="module", autouse=True)
def _scripts(scratch):
    (scratch / "steps.py").write_text(STEPS)


@pytest.fixture
def go(tmp_path):
    """Lets steps.py take its next step; its `path` is what the script is told."""

    def take(number):
        (tmp_path / f"go{number}").touch()

    take.path = str(tmp_path / "go")
    return take


def _uid(terminal):
    return int(re.search(r"Procedure (\d+)", terminal.expect(r"Procedure \d+ "))[1])


@pytest.mark.parametrize("columns", [120, 40])
def test_a_run_that_is_followed_shows_a_bar_in_place_and_the_output_above_it(oet, tidy, go, columns):
    with oet.terminal(
        "run", "-f", "steps.py", "--arg", '["slewing", "tracking [bold]M31[/]"]', "--arg", go.path, columns=columns
    ) as terminal:
        uid = _uid(terminal)
        terminal.expect("slewing")
        go(0)
        terminal.until(lambda shown: "50 %" in shown and "tracking [bold]M31[/]" in " ".join(shown.split()))
        go(1)
        assert terminal.wait() == 0
    lines = [line.strip() for line in terminal.shown.splitlines() if line.strip()]
    assert lines[-1].split()[1] == "COMPLETE"
    assert [line for line in lines if line.startswith("done:")] == ["done: 0", "done: 1"]
    assert not [line for line in lines if "%" in line], "the bar is gone"
    assert f"Procedure {uid} of " in terminal.shown.replace("\n", "")
    assert "\x1b[32mdone:" in terminal.said
    assert "a title" not in terminal.said
    assert "\x1b[2J" not in terminal.said


@pytest.mark.long
def test_without_colours_there_are_none_and_the_bar_is_there_all_the_same(oet, tidy, go):
    go(0)
    with oet.terminal("run", "-f", "steps.py", "--arg", '["slewing"]', "--arg", go.path, NO_COLOR="1") as terminal:
        assert terminal.wait() == 0
    assert not re.findall(r"\x1b\[[0-9;]*3[0-9]m", terminal.said)
    assert "done: 0" in terminal.said


@pytest.mark.parametrize("setting", [{"TERM": "dumb"}, {"LC_ALL": "C"}], ids=["dumb", "C"])
def test_a_poor_terminal_gets_what_it_can_show(oet, tidy, go, setting):
    with oet.terminal("run", "-f", "steps.py", "--arg", '["Größe"]', "--arg", go.path, **setting) as terminal:
        terminal.until(lambda shown: "0 %" in shown)
        go(0)
        assert terminal.wait() == 0
    assert "COMPLETE" in terminal.said
    if "TERM" in setting:
        assert "\x1b" not in terminal.said
        assert "0 %  Größe" in terminal.said
    else:
        assert terminal.said.isascii()
        assert r"Gr\xf6\xdfe" in terminal.said


@pytest.mark.parametrize("columns", [100, pytest.param(40, marks=pytest.mark.long)])
def test_ctrl_c_asks_and_the_script_is_stopped_if_that_is_wanted(oet, tidy, columns):
    with oet.terminal("run", "-f", "sleepy.py", columns=columns) as terminal:
        uid = _uid(terminal)
        terminal.expect("RUNNING")
        terminal.interrupt()
        terminal.expect(rf"Stop procedure {uid}\? Else it goes on without you\. \[y/N\] ")
        assert tidy.state(uid) == "RUNNING"
        terminal.send("y\n")
        assert terminal.wait() == 4
    assert "is STOPPED: stopped on request: Ctrl-C" in terminal.shown.replace("\n", "")


@pytest.mark.parametrize(
    "answer",
    ["\n", pytest.param("no\n", marks=pytest.mark.long), pytest.param("\x04", marks=pytest.mark.long), "\x03"],
    ids=["enter", "no", "Ctrl-D", "Ctrl-C"],
)
def test_ctrl_c_asks_and_the_script_goes_on_otherwise(oet, tidy, answer):
    with oet.terminal("run", "-f", "sleepy.py") as terminal:
        uid = _uid(terminal)
        terminal.expect("RUNNING")
        terminal.interrupt()
        terminal.expect(r"\[y/N\] ")
        terminal.send(answer)
        assert terminal.wait() == 130
    assert f"procedure {uid} goes on; `oet output -f {uid}` shows what it prints" in terminal.said
    assert "Traceback" not in terminal.said
    assert tidy.state(uid) == "RUNNING"


@pytest.mark.long
def test_an_answer_that_comes_when_the_script_has_ended_changes_nothing(oet, tidy, go):
    with oet.terminal("run", "-f", "steps.py", "--arg", '["slewing"]', "--arg", go.path) as terminal:
        uid = _uid(terminal)
        terminal.expect("slewing")
        terminal.interrupt()
        terminal.expect(r"\[y/N\] ")
        go(0)
        tidy.recorder.wait_for_end(uid)
        terminal.send("y\n")
        assert terminal.wait() == 0
    assert terminal.shown.rstrip().endswith("COMPLETE")


def test_ctrl_c_without_a_terminal_leaves_the_script_running(oet, tidy):
    with oet.begun("run", "-f", "sleepy.py") as run:
        for line in run.stdout:
            if "RUNNING" in line:
                break
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=30)
    assert run.returncode == 130
    assert tidy.state(int(re.search(r"procedure (\d+) goes on", err)[1])) == "RUNNING"


@pytest.mark.parametrize("columns", [120, 40])
def test_watch_is_written_anew_when_something_happens(oet, tidy, go, columns):
    with oet.terminal("watch", columns=columns, rows=20) as terminal:
        terminal.expect("ID")
        uid = tidy.run("steps.py", ["slewing", "tracking"], go.path)
        terminal.expect("RUNNING")
        terminal.expect("slewing")
        go(0)
        terminal.expect("tracking")
        go(1)
        tidy.recorder.wait_for_end(uid)
        terminal.until(lambda shown: re.search(rf"^{uid} +COMPLETE", shown, re.MULTILINE) and "tracking" not in shown)
        terminal.interrupt()
        assert terminal.wait() == 130
    assert all(len(line) <= columns for line in terminal.shown.splitlines())
    assert terminal.shown.count("STATE") == 1, "it stays in place"


@pytest.mark.long
def test_watch_fits_a_terminal_that_becomes_narrower(oet, tidy):
    uid = tidy.running("sleepy.py")
    with oet.terminal("watch", columns=120, rows=20) as terminal:
        terminal.expect("PROGRESS")
        terminal.resize(40, 10)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.expect(rf"\n{uid} +[^\n]*RUNNING")
        terminal.interrupt()
        assert terminal.wait() == 130


def test_list_in_a_narrow_terminal_leaves_nothing_out(oet, tidy):
    tidy.stop(tidy.ready("good.py"), reason="the clouds over the array have come back, and will stay for the night")
    wait_until(lambda: tidy.summaries()[-1]["state"] == "STOPPED")
    with oet.terminal("list", columns=40) as terminal:
        assert terminal.wait() == 0
    assert all(len(line) <= 40 for line in terminal.shown.splitlines())
    words = " ".join(terminal.shown.split())
    assert "the clouds over the array have come back, and will stay for the night" in words
