"""`oet output`, `events -f` and `watch` through pipes: what is left of what scripts print, and how it ends."""

from __future__ import annotations

import itertools
import json

import pytest

SCRIPTS = {
    "shows_off.py": r"""
def main():
    print("\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07and \x1b[2J\x1b[Hclear \x9b5nand \u202eback [bold]bold[/]")
""",
    "many_lines.py": """
def main(count):
    for number in range(count):
        print("line", number)
""",
}


@pytest.fixture(scope="module", autouse=True)
def _scripts(scratch):
    for name, text in SCRIPTS.items():
        (scratch / name).write_text(text)


@pytest.fixture(scope="module")
def printed(device):
    """A procedure that has printed what could steer a terminal."""
    uid = device.run("shows_off.py")
    device.recorder.wait_for_end(uid)
    return uid


def test_output_is_harmless_and_through_a_pipe_without_colours(oet, printed):
    assert oet("output", str(printed), check=True).out == "red and clear 5nand back [bold]bold[/]\n"


def test_output_may_be_had_as_it_was_printed(oet, printed):
    raw = "\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07and \x1b[2J\x1b[Hclear \x9b5nand \u202eback [bold]bold[/]\n"
    assert oet("output", "--raw", str(printed), check=True).out == raw
    assert oet("output", "--json", str(printed), check=True).objects == [{"process_uid": printed, "output": raw}]


def test_colours_of_what_was_printed_stay_on_a_terminal(oet, printed):
    with oet.terminal("output", str(printed)) as terminal:
        assert terminal.wait() == 0
    assert terminal.said == "\x1b[31mred\x1b[0m and clear 5nand back [bold]bold[/]\r\n"


def test_output_goes_on_until_the_end_if_it_is_followed(oet, device, scratch, tmp_path):
    (scratch / "slowly.py").write_text(
        "import time\nfrom pathlib import Path\ndef main(go):\n    print('first')\n"
        "    while not Path(go).exists():\n        time.sleep(0.01)\n    print('last')\n"
    )
    uid = device.run("slowly.py", str(tmp_path / "go"))
    with oet.begun("output", "-f", str(uid)) as output:
        assert output.stdout.readline() == "first\n"
        (tmp_path / "go").touch()
        assert output.communicate(timeout=30) == ("last\n", "")
    assert output.returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("arguments", [["output"], ["output", "-f"], ["output", "--json"]], ids=" ".join)
def test_a_pipe_that_is_closed_ends_it_quietly(oet, device, arguments):
    uid = device.run("many_lines.py", 300_000)
    device.recorder.wait_for_end(uid, 60)
    with oet.begun(*arguments, str(uid)) as output:
        assert "line 0" in output.stdout.readline()
        output.stdout.close()
        assert (output.wait(30), output.stderr.read()) == (141, "")


def test_events_are_the_newest_and_go_on_if_they_are_followed(oet, device):
    device.tidy()  # the procedures of other tests tell nothing more
    newest = json.loads(device.proxy.LifecycleEvents(0))[-3:]
    assert oet("events", "-n", "3", "--json", check=True).objects == newest
    with oet.begun("events", "-f", "-n", "1", "--json") as events:
        assert json.loads(events.stdout.readline()) == newest[-1]
        uid = device.ready("good.py")
        told = [json.loads(events.stdout.readline()) for _ in device.recorder.lifecycle(uid)]
        assert told == device.recorder.lifecycle(uid)
        events.terminate()
        assert (events.wait(30), events.stderr.read()) == (143, "")
    device.tidy()


def test_watch_through_a_pipe_is_a_line_a_change(oet, device):
    device.tidy()
    with oet.begun("watch", "--json") as watch:
        for _ in device.summaries():
            json.loads(watch.stdout.readline())
        uid = device.run("progress.py")
        rows = iter(lambda: json.loads(watch.stdout.readline()), None)
        seen = []
        for row in rows:
            if row["id"] == uid:
                seen.append(row)
            if row["id"] == uid and row["state"] == "COMPLETE":
                break
        watch.terminate()
        assert watch.wait(30) == 143
    assert seen[-1]["reason"] == "completed"
    assert all(one != other for one, other in itertools.pairwise(seen)), "a line is a change"
    states = [state for state, _ in itertools.groupby(row["state"] for row in seen)]
    device.recorder.wait_for_end(uid)  # which it may hear later than the command did
    assert states == device.recorder.states(uid), "none is lost"


def test_watch_for_people_repeats_no_line(oet, device):
    with oet.begun("watch") as watch:
        for _ in device.summaries():
            watch.stdout.readline()
        uid = device.run("progress.py")
        seen = []
        for line in watch.stdout:
            seen.append(line.split())
            if seen[-1][3] == "COMPLETE":
                break
        watch.terminate()
        assert watch.wait(30) == 143
    assert {words[2] for words in seen} == {str(uid)}
    assert all(one != other for one, other in itertools.pairwise(seen)), seen
