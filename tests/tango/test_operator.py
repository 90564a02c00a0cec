"""What is selected and pressed on dashboards: no JSON is typed, all operators see the same, and the audit says who."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import tango
from support.hanging import hanging
from support.ports import free_port
from support.tango_server import SCRIPTS, EventRecorder, Oet, Server, is_alive, reason_of, serving
from support.waiting import wait_until

from ska_oet_device.procedure.ui._operator_texts import HEAD

NOTHING = {"selectedScript": "", "scriptArguments": "{}", "selectedProcedure": 0}
WRITTEN = tuple(NOTHING)
QUICK = {"StopGracePeriod": 0.5, "LoadTimeout": 20, "InitTimeout": 20, "SubarrayId": 3}
RECORD = textwrap.dedent(
    """\
    import json
    def init(*args, **kwargs):
        note("init", args, kwargs)
    def main(*args, **kwargs):
        note("main", args, kwargs)
    def note(name, args, kwargs):
        print(json.dumps([name, args, kwargs]), flush=True)
    """
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A second folder in ScriptRoots, of these tests alone: what others leave in theirs would be listed, too."""
    return tmp_path_factory.mktemp("board_scratch")


@pytest.fixture(scope="module")
def board(database, scratch, tmp_path_factory):
    """The device of a server of these tests alone: they ask for more in a minute than the audit keeps one by one."""
    properties = {"ScriptRoots": [SCRIPTS, scratch], **QUICK}
    with serving(database, "board", "mid-oet/subarray/board", tmp_path_factory.mktemp("board"), **properties) as oet:
        oet.ready("good.py")  # events arrive
        yield oet
        oet.tidy()


@pytest.fixture
def oet(board):
    """The device, with nothing alive and nothing selected, before and after."""
    board.tidy()
    select_nothing(board)
    yield board
    board.tidy()
    select_nothing(board)


def select_nothing(oet):
    for name, value in NOTHING.items():
        if oet.proxy.read_attribute(name).value != value:
            oet.proxy.write_attribute(name, value)


@pytest.fixture
def record(oet, scratch):
    """The URI of a script that prints what its functions are given; it is selected."""
    path = scratch / "record_calls.py"
    path.write_text(RECORD)
    yield select(oet, path.name)
    path.unlink()


def select(oet, name):
    oet.proxy.selectedScript = f"file://{name}"
    return f"file://{name}"


def refusal_of_write(oet, name, value):
    with pytest.raises(tango.DevFailed) as caught:
        oet.proxy.write_attribute(name, value)
    return reason_of(caught.value)


def refusal_of(press):
    with pytest.raises(tango.DevFailed) as caught:
        press()
    return reason_of(caught.value)


def newest(oet):
    return oet.summaries()[-1]


def pressed(oet, button):
    """Press a button that makes a procedure, and return its id."""
    before = {summary["id"] for summary in oet.summaries()}
    oet.proxy.command_inout(button)
    (uid,) = {summary["id"] for summary in oet.summaries()} - before
    return uid


def calls_of(oet, uid):
    page = json.loads(oet.proxy.Output(str(uid)))["text"]
    return [json.loads(line) for line in page.splitlines() if line.startswith("[")]


def audit(oet, command, uid):
    """Return the entry of a command that was about a procedure, once it is written."""

    def is_kept():
        entries = json.loads(oet.proxy.Requests(""))
        return [entry for entry in entries if (entry["command"], entry["process_uid"]) == (command, uid)]

    return wait_until(is_kept, 20, f"the audit has {command} of procedure {uid}")[0]


def noted(oet, command, ask, is_wanted):
    """Ask for something that changes little until the audit has room for an entry of its own."""

    def is_kept():
        ask()
        return [
            entry for entry in json.loads(oet.proxy.Requests("")) if entry["command"] == command and is_wanted(entry)
        ]

    return wait_until(is_kept, 30, f"the audit has a wanted entry of {command}")[0]


def offered(oet, name):
    return wait_until(lambda: f"file://{name}" in oet.proxy.availableScripts, 20, f"{name} is listed")


def gone(oet, name):
    return wait_until(lambda: f"file://{name}" not in (oet.proxy.availableScripts or ()), 20, f"{name} is not listed")


def test_a_run_that_is_pressed_again_and_again_while_another_has_the_turn_leaves_nothing_behind(oet):
    running = oet.running("sleepy.py")
    select(oet, "good.py")
    before = oet.summaries()
    refusals = {refusal_of(oet.proxy.RunSelected) for _ in range(100)}
    text = f"procedure {running} is RUNNING; another one cannot be started before it ends [OET_Busy]"
    assert refusals == {("OET_Busy", text)}
    assert oet.summaries() == before
    oet.proxy.StopActive()
    oet.recorder.wait_for_end(running)
    assert oet.recorder.wait_for_end(pressed(oet, "RunSelected"))["state"] == "COMPLETE"


# -- which scripts there are


def test_the_scripts_of_the_roots_are_listed_as_they_are_run(oet):
    listed = oet.proxy.availableScripts
    assert list(listed) == sorted(listed)
    here = {f"file://{path.name}" for path in SCRIPTS.glob("*.py") if not path.name.startswith("_")}
    assert here <= set(listed)
    assert "file://_endings.py" not in listed
    oet.recorder.wait_for_end(oet.run("file://good.py"))


def test_a_script_that_comes_and_goes_is_told_by_an_event(oet, scratch):
    name = f"{uuid.uuid4().hex}.py"
    oet.recorder.clear()
    (scratch / name).write_text("def main(): pass\n")
    oet.recorder.wait_for("availableScripts", lambda listed: f"file://{name}" in listed)
    oet.recorder.clear()
    (scratch / name).unlink()
    oet.recorder.wait_for("availableScripts", lambda listed: f"file://{name}" not in (listed or ()))


def test_a_script_deep_below_a_root_is_listed_with_its_folders(oet, scratch):
    folder = scratch / uuid.uuid4().hex / "deep"
    folder.mkdir(parents=True)
    (folder / "below.py").write_text("def main(): print('[\"below\"]')\n")
    name = str((folder / "below.py").relative_to(scratch))
    offered(oet, name)
    select(oet, name)
    uid = pressed(oet, "RunSelected")
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert calls_of(oet, uid) == [["below"]]


HOSTILE = (
    "with a space.py",
    "per%25cent.py",
    "a%20b.py",
    "über.py",
    "見る.py",
    "two\nlines.py",
    " first.py",
    "zero\u200bwidth.py",
    "what?x#y.py",
    'it\'s "so".py',
    f"{'x' * 252}.py",
)


def test_whatever_a_script_is_called_what_is_listed_of_it_can_be_selected_and_run(oet, scratch):
    before = set(oet.proxy.availableScripts)
    for name in HOSTILE:
        (scratch / name).write_text("import json\ndef main(): print(json.dumps(__file__))\n")
    try:
        wait_until(lambda: len(set(oet.proxy.availableScripts) - before) == len(HOSTILE), 20, "all are listed")
        ran = set()
        for uri in set(oet.proxy.availableScripts) - before:
            assert uri.isprintable()
            oet.proxy.selectedScript = uri
            assert oet.proxy.selectedScript == uri
            uid = pressed(oet, "RunSelected")
            assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
            ran.add(json.loads(json.loads(oet.proxy.Output(str(uid)))["text"]))
        assert ran == {str(scratch / name) for name in HOSTILE}
    finally:
        for name in HOSTILE:
            (scratch / name).unlink()
        wait_until(lambda: set(oet.proxy.availableScripts) == before, 20, "none is listed any more")


def test_what_cannot_be_run_is_not_listed(oet, scratch, tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_text("def main(): pass\n")
    made = [scratch / name for name in ("leads_out.py", "leads_nowhere.py", "is_a_folder.py", "a_pipe.py", "notes.txt")]
    made[0].symlink_to(outside)
    made[1].symlink_to(scratch / "nobody.py")
    made[2].mkdir()
    os.mkfifo(made[3])
    made[4].write_text("no script")
    no_utf8 = os.path.join(os.fsencode(scratch), b"no\xffutf8.py")
    with open(no_utf8, "w") as file:
        file.write("def main(): pass\n")
    hidden = [scratch / name for name in (".hidden.py", "_part.py", "__pycache__/cached.py", ".git/hook.py")]
    for path in hidden:
        path.parent.mkdir(exist_ok=True)
        path.write_text("def main(): pass\n")
    large = scratch / "large.py"
    with large.open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    try:
        (scratch / "last_of_all.py").write_text("def main(): pass\n")
        offered(oet, "last_of_all.py")
        new = [uri for uri in oet.proxy.availableScripts if not (SCRIPTS / uri.removeprefix("file://")).exists()]
        names = " ".join(new)
        for part in ("leads", "folder", "pipe", "notes", "utf8", "hidden", "part", "cached", "hook", "large"):
            assert part not in names
    finally:
        for path in (*made[:2], *made[3:], *hidden, large, scratch / "last_of_all.py"):
            path.unlink()
        made[2].rmdir()
        os.unlink(no_utf8)


def test_a_link_within_the_roots_is_listed_and_one_in_a_circle_does_no_harm(oet, scratch):
    store = scratch / ".store"
    store.mkdir(exist_ok=True)
    (store / "kept.py").write_text("def main(): pass\n")
    (scratch / "current").symlink_to(store)
    (scratch / "circle").symlink_to(scratch)
    (scratch / "linked.py").symlink_to(store / "kept.py")
    try:
        offered(oet, "current/kept.py")
        offered(oet, "linked.py")
        assert not any("circle" in uri for uri in oet.proxy.availableScripts)
    finally:
        for name in ("current", "circle", "linked.py"):
            (scratch / name).unlink()
        gone(oet, "linked.py")


def test_an_earlier_root_hides_a_script_of_the_same_name_in_a_later_one(oet, scratch, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "both.py").write_text(f"def main(): print('[\"{folder.name}\"]')\n")
    (second / "alone.py").write_text("def main(): pass\n")
    with oet.properties(ScriptRoots=[first, second]):
        wait_until(
            lambda: list(oet.proxy.availableScripts or ()) == ["file://alone.py", "file://both.py"], 20, "the new roots"
        )
        select(oet, "both.py")
        uid = pressed(oet, "RunSelected")
        oet.recorder.wait_for_end(uid)
        assert calls_of(oet, uid) == [["first"]]
    offered(oet, "good.py")


def test_a_root_that_goes_away_and_comes_back_is_followed(oet, tmp_path):
    root, aside = tmp_path / "root", tmp_path / "aside"
    root.mkdir()
    (root / "here.py").write_text("def main(): pass\n")
    with oet.properties(ScriptRoots=[root, SCRIPTS]):
        offered(oet, "here.py")
        select(oet, "here.py")
        root.rename(aside)
        gone(oet, "here.py")
        assert oet.proxy.selectedScript == "file://here.py"
        reason, text = refusal_of(oet.proxy.RunSelected)
        assert (reason, "here.py" in text) == ("OET_ScriptNotFound", True)
        aside.rename(root)
        offered(oet, "here.py")
        assert oet.recorder.wait_for_end(pressed(oet, "RunSelected"))["state"] == "COMPLETE"


@pytest.mark.long
def test_of_ten_thousand_scripts_the_first_thousand_are_listed_and_status_says_so(oet, tmp_path):
    for number in range(10_000):
        folder = tmp_path / f"{number // 1000}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:05}.py").write_text("def main(): pass\n")
    with oet.properties(ScriptRoots=[tmp_path, SCRIPTS]):
        wait_until(lambda: len(oet.proxy.availableScripts or ()) == 1000, 30, "a thousand are listed")
        wait_until(lambda: "lists the first 1000" in oet.proxy.Status(), 10, "Status says so")
        assert oet.proxy.State() == tango.DevState.ON
        oet.proxy.selectedScript = "file://9/09999.py"
        assert oet.recorder.wait_for_end(pressed(oet, "RunSelected"))["state"] == "COMPLETE"
    wait_until(lambda: "lists the first" not in oet.proxy.Status(), 20, "Status says no more")


@pytest.mark.long
def test_a_root_that_hangs_keeps_nobody_from_the_others(own_server, tmp_path):
    folders = {name: tmp_path / name for name in ("network", "here")}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / f"{name}.py").write_text("def main(): pass\n")
    oet = own_server(ScriptRoots=[SCRIPTS, folders["here"], folders["network"]])
    offered(oet, "network.py")
    with hanging(folders["network"]):
        wait_until(lambda: "has not answered" in oet.proxy.Status(), 20, "it hangs")
        (folders["here"] / "new.py").write_text("def main(): pass\n")
        offered(oet, "new.py")
        assert "file://network.py" in oet.proxy.availableScripts, "what was known of it stays"
        oet.proxy.Init()
        select(oet, "new.py")
        assert oet.recorder.wait_for_end(pressed(oet, "RunSelected"))["state"] == "COMPLETE"
        select(oet, "network.py")
        assert refusal_of(oet.proxy.RunSelected)[0] == "OET_ScriptNotFound"
        assert refusal_of_write(oet, "selectedScript", "file://other.py")[0] == "OET_ScriptNotFound"
    (folders["network"] / "back.py").write_text("def main(): pass\n")
    wait_until(lambda: "file://back.py" in oet.proxy.availableScripts, 60, "it is looked into again")


def kept_in(oet):
    """Return the file that keeps what is selected, once it is there: who selects waits for it but a moment."""
    (path,) = wait_until(lambda: [*oet.server.state_folder.rglob("selection.json")], 20, "what is selected is kept")
    return path


@pytest.mark.long
def test_a_state_folder_that_hangs_keeps_nobody_from_a_stop_whatever_is_selected_meanwhile(own_server):
    oet = own_server()
    uid = oet.run("sleepy.py")
    oet.recorder.wait_for_state(uid, "RUNNING")
    select(oet, "good.py")
    kept = kept_in(oet)
    with hanging(kept.parent):
        for number in range(3):
            oet.proxy.scriptArguments = f"[{number}]"
            assert oet.proxy.scriptArguments == f"[{number}]"
        oet.proxy.StopActive()
    oet.recorder.wait_for_end(uid)
    wait_until(lambda: json.loads(kept.read_text())["arguments"] == "[2]", 20, "it is kept when the folder is back")


@pytest.mark.long
def test_a_selection_that_tango_cannot_carry_keeps_no_server_from_its_start(own_server):
    oet = own_server()
    select(oet, "good.py")
    kept = kept_in(oet)
    kept.write_text(json.dumps({"script": "file://good.py", "arguments": "[1]", "process_uid": 2**63}))
    old = oet.server.device_server()
    old.kill()
    wanted = {"selectedScript": "file://good.py", "scriptArguments": "[1]", "selectedProcedure": 0}

    def is_taken_up():
        with contextlib.suppress(tango.DevFailed):
            return not old.is_running() and told(oet) == written(oet) == wanted
        return False

    wait_until(is_taken_up, 40, "the next device server tells the rest of it")


# -- what is selected


def test_two_clients_see_the_same_selection(oet, record):
    other = EventRecorder(tango.DeviceProxy(oet.url), WRITTEN)
    try:
        oet.proxy.scriptArguments = '{"dwell": 2}'
        other.wait_for("scriptArguments", lambda text: text == '{"dwell": 2}')
        assert other.proxy.selectedScript == record
        other.proxy.selectedScript = "file://good.py"
        assert oet.proxy.selectedScript == "file://good.py"
        oet.recorder.wait_for("selectedScript", lambda text: text == "file://good.py")
    finally:
        other.close()


@pytest.mark.parametrize("kind", ["CHANGE_EVENT", "ARCHIVE_EVENT", "ALARM_EVENT"])
def test_a_write_is_pushed_at_once_to_whoever_listens_in_whatever_way(oet, kind):
    uid = oet.ready("good.py")
    values = {"selectedScript": "file://good.py", "scriptArguments": "[1]", "selectedProcedure": uid}
    recorder = EventRecorder(tango.DeviceProxy(oet.url), WRITTEN, getattr(tango.EventType, kind))
    try:
        for name, value in values.items():
            oet.proxy.write_attribute(name, value)
            assert oet.proxy.read_attribute(name).value == value
            recorder.wait_for(name, lambda told, value=value: told == value)
        assert recorder.errors() == []
    finally:
        recorder.close()


@pytest.mark.parametrize(
    ("uri", "reason", "says"),
    [
        ("good.py", "OET_InvalidArgument", "did you mean file://good.py?"),
        ("file://not_there.py", "OET_ScriptNotFound", "availableScripts"),
        ("file:///etc/passwd", "OET_NotAllowed", "ScriptRoots"),
        ("git://a.py", "OET_InvalidArgument", "file://"),
        ("file://", "OET_InvalidArgument", "name a file"),
        (f"file://{'x' * 5000}.py", "OET_ScriptNotFound", "255"),
        ('{"script_type": "filesystem"}', "OET_InvalidArgument", "file://"),
    ],
    ids=["no URI", "not there", "outside", "git", "empty", "too long", "JSON"],
)
def test_a_script_that_could_not_be_run_is_not_selected(oet, record, uri, reason, says):
    found, text = refusal_of_write(oet, "selectedScript", uri)
    assert found == reason
    assert says in text
    assert text.endswith(f"[{reason}]")
    assert oet.proxy.selectedScript == record


def test_a_script_that_is_not_listed_can_be_selected_by_its_uri(oet, scratch):
    (scratch / "plain_text").write_text("def main(): pass\n")
    for uri in (f"file://{SCRIPTS}/good.py", "file://_endings.py", "file://plain_text"):
        oet.proxy.selectedScript = f"  {uri}\n"
        assert oet.proxy.selectedScript == uri
    oet.proxy.selectedScript = ""
    assert oet.proxy.selectedScript == ""


def test_a_procedure_that_is_not_there_is_not_selected(oet):
    uid = oet.ready("good.py")
    oet.proxy.selectedProcedure = uid
    for value, reason in ((uid + 1000, "OET_UnknownProcedure"), (-1, "OET_InvalidArgument")):
        found, text = refusal_of_write(oet, "selectedProcedure", value)
        assert found == reason
        assert "0 stands for the active one" in text
        assert oet.proxy.selectedProcedure == uid


# -- arguments

ARGUMENTS = {
    "none": ("", [[], {}], [[], {}]),
    "an empty object": ("{}", [[], {}], [[], {}]),
    "by position": ('[3, "b", null]', [[], {}], [[3, "b", None], {}]),
    "by name": ('{"dwell": 2.5, "band": {"x": [1]}}', [[], {}], [[], {"dwell": 2.5, "band": {"x": [1]}}]),
    "in full": ('{"args": [1], "kwargs": {"a": 2}}', [[], {}], [[1], {"a": 2}]),
    "for both functions": ('{"init": [1], "main": {"a": 2}}', [[1], {}], [[], {"a": 2}]),
    "for init alone": ('{"init": {"args": [1], "kwargs": {"b": 2}}}', [[1], {"b": 2}], [[], {}]),
    "one that is called init": ('{"kwargs": {"init": 1, "args": 2}}', [[], {}], [[], {"init": 1, "args": 2}]),
    "characters": ('{"name": "\\u898b\\n"}', [[], {}], [[], {"name": "見\n"}]),
    "latin-1": ('["ü"]', [[], {}], [["ü"], {}]),
    "spaces around": ("  [1]\n", [[], {}], [[1], {}]),
}


@pytest.mark.parametrize(("text", "init", "main"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_arguments_reach_the_functions_that_they_are_for(oet, record, text, init, main):
    oet.proxy.scriptArguments = text
    assert oet.proxy.scriptArguments == (text.strip() or "{}")
    uid = pressed(oet, "RunSelected")
    oet.recorder.wait_for_end(uid)
    assert calls_of(oet, uid) == [["init", *init], ["main", *main]]


def test_prepare_gives_init_its_arguments_and_start_gives_main_its(oet, record):
    oet.proxy.scriptArguments = '{"init": [1], "main": [2]}'
    uid = pressed(oet, "PrepareSelected")
    oet.recorder.wait_for_state(uid, "READY")
    oet.proxy.scriptArguments = "[3]"
    oet.proxy.StartSelected()
    oet.recorder.wait_for_end(uid)
    assert calls_of(oet, uid) == [["init", [1], {}], ["main", [3], {}]]


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        ("dwell=2", "OET_InvalidArgument", 'write {"dwell": 2}'),
        ("3", "OET_InvalidArgument", "neither a list nor an object"),
        ('"x"', "OET_InvalidArgument", "neither a list nor an object"),
        ("null", "OET_InvalidArgument", "neither a list nor an object"),
        ("{'a': 1}", "OET_InvalidArgument", "double quotes"),
        ("[NaN]", "OET_InvalidArgument", "NaN and Infinity"),
        ('{"a": 1e999}', "OET_InvalidArgument", "NaN and Infinity"),
        ('{"init": [], "dwell": 2}', "OET_InvalidArgument", "side by side"),
        ('{"args": {}}', "OET_InvalidArgument", "must be a list"),
        ('{"main": 3}', "OET_InvalidArgument", "the arguments of main"),
        ("[" * 500 + "]" * 500, "OET_InvalidArgument", "200 levels"),
        ('["' + "x" * 65536 + '"]', "OET_TooLarge", "65536"),
        ('{"n": 3, "n": 4}', "OET_InvalidArgument", "scriptArguments: n is there twice"),
        ('{"main": [{"a": {"n": 3, "\\u006e": 3}}]}', "OET_InvalidArgument", "scriptArguments: n is there twice"),
    ],
    ids=[
        "no JSON",
        "number",
        "text",
        "null",
        "quotes",
        "NaN",
        "infinity",
        "mixed",
        "args",
        "main",
        "deep",
        "long",
        "twice",
        "twice deep down",
    ],
)
def test_arguments_that_are_none_are_refused_with_what_to_do(oet, text, reason, says):
    oet.proxy.scriptArguments = '{"kept": 1}'
    found, description = refusal_of_write(oet, "scriptArguments", text)
    assert found == reason
    assert says in description
    assert oet.proxy.scriptArguments == '{"kept": 1}'


# -- the buttons


def test_while_nothing_is_selected_the_buttons_say_so(oet):
    for press in (oet.proxy.PrepareSelected, oet.proxy.RunSelected):
        reason, text = refusal_of(press)
        assert reason == "OET_InvalidState"
        assert "no script is selected: choose one of availableScripts" in text
    assert refusal_of(oet.proxy.StartSelected) == refusal_of(lambda: oet.proxy.Start(""))
    for press in (oet.proxy.StopSelected, oet.proxy.StopActive):
        assert refusal_of(press) == refusal_of(lambda: oet.proxy.Stop(""))


def test_the_audit_the_summary_and_the_log_say_who_pressed_what(oet, record):
    presses = textwrap.dedent(
        f"""\
        import tango
        proxy = tango.DeviceProxy({oet.url!r})
        proxy.PrepareSelected()
        """
    )
    client = subprocess.Popen([sys.executable, "-c", presses])
    assert client.wait(60) == 0
    uid = newest(oet)["id"]
    oet.recorder.wait_for_state(uid, "READY")
    oet.proxy.selectedProcedure = uid
    oet.proxy.StartSelected()
    oet.recorder.wait_for_end(uid)
    asked = oet.summary(uid)["requested_by"]
    assert [entry["command"] for entry in asked] == ["PrepareSelected", "StartSelected"]
    assert f"pid {client.pid} " in asked[0]["client"]
    assert f"pid {os.getpid()} " in asked[1]["client"]
    prepared, started = audit(oet, "PrepareSelected", uid), audit(oet, "StartSelected", uid)
    assert prepared["answer"] == f"accepted; {record}"
    assert f"pid {client.pid} " in prepared["client"]
    assert started["answer"] == "accepted"
    line = f"request PrepareSelected() from client {prepared['client']}"
    wait_until(lambda: line in oet.server.log_text(), 10, "a thread of its own has written the log")


@pytest.mark.parametrize("button", ["StopSelected", "StopActive"])
def test_a_stop_that_is_pressed_is_in_the_audit_and_the_second_one_does_no_harm(oet, button):
    uid = oet.running("sleepy.py")
    oet.proxy.command_inout(button)
    with contextlib.suppress(tango.DevFailed):  # it has ended, and nothing is alive
        oet.proxy.command_inout(button)
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    asked = [entry["command"] for entry in oet.summary(uid)["requested_by"]]
    assert asked == ["Run", button]
    assert audit(oet, button, uid)


def test_a_refusal_is_in_the_audit_under_the_name_of_the_button(oet):
    noted(
        oet,
        "RunSelected",
        lambda: refusal_of(oet.proxy.RunSelected),
        lambda entry: entry["answer"].startswith("OET_InvalidState: no script is selected"),
    )


def test_who_has_selected_what_is_in_the_audit(oet):
    uid = oet.ready("good.py")
    values = {"selectedScript": "file://good.py", "scriptArguments": "[1]", "selectedProcedure": uid}
    for name, value in values.items():
        entry = noted(
            oet,
            name,
            lambda name=name, value=value: oet.proxy.write_attribute(name, value),
            lambda entry, value=value: entry["answer"] == f"accepted; set to {value}",
        )
        assert f"pid {os.getpid()} " in entry["client"]


@pytest.mark.parametrize("state", ["INITIALISING", "READY", "RUNNING"])
def test_the_selected_procedure_is_stopped_in_whatever_state(oet, state):
    uid = oet.prepare("slow_init.py") if state == "INITIALISING" else oet.ready("sleepy.py")
    other = oet.ready("good.py")
    if state == "RUNNING":
        oet.start(uid)
    oet.recorder.wait_for_state(uid, state)
    oet.proxy.selectedProcedure = uid
    oet.proxy.StopSelected()
    assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
    assert oet.state(other) == "READY"


def test_a_selected_procedure_that_has_ended_is_not_stopped_and_the_refusal_names_the_one_that_runs(oet):
    uid = oet.ready("good.py")
    oet.proxy.selectedProcedure = uid
    oet.stop(uid)
    oet.recorder.wait_for_end(uid)
    assert refusal_of(oet.proxy.StopSelected) == ("OET_InvalidState", f"procedure {uid} has ended [OET_InvalidState]")
    ready, running = oet.ready("good.py"), oet.running("sleepy.py")
    goes_on = f"procedure {running} is RUNNING: select 0 to stop the active one"
    text = f"procedure {uid} has ended; {goes_on} [OET_InvalidState]"
    assert refusal_of(oet.proxy.StopSelected) == ("OET_InvalidState", text)
    assert [oet.state(each) for each in (ready, running)] == ["READY", "RUNNING"]
    oet.proxy.selectedProcedure = 0
    oet.proxy.StopSelected()
    assert oet.recorder.wait_for_end(running)["state"] == "STOPPED"
    wait_until(lambda: oet.state(running) == "STOPPED", 10, "it has ended")
    other = oet.ready("good.py")
    oet.proxy.selectedProcedure = uid
    several = f"no procedure has the turn, and 2 are alive: procedure {ready} is READY, procedure {other} is READY"
    text = f"procedure {uid} has ended; {several}; say which one [OET_InvalidState]"
    assert refusal_of(oet.proxy.StopSelected) == ("OET_InvalidState", text)
    assert oet.proxy.Stop(str(uid)) == "[]"  # who names it means it


def test_stop_active_stops_what_runs_whatever_is_selected(oet):
    ready = oet.ready("good.py")
    running = oet.running("sleepy.py")
    oet.proxy.selectedProcedure = ready
    oet.proxy.StopActive()
    assert oet.recorder.wait_for_end(running)["state"] == "STOPPED"
    assert oet.state(ready) == "READY"


def test_an_abort_script_is_known_by_its_stop_whichever_button_was_pressed(oet):
    with oet.properties(AbortScript="file://abort.py"):
        uid = oet.running("sleepy.py")
        oet.proxy.StopActive()
        oet.recorder.wait_for_end(uid)
        abort = newest(oet)
        assert abort["script"]["script_uri"] == "file://abort.py"
        assert abort["requested_by"][0]["command"] == "Stop"
        oet.recorder.wait_for_end(abort["id"])
        wait_until(lambda: oet.proxy.procedureTable[1][6].startswith("abort script"), 10, "the table says what it is")


def test_twenty_presses_at_once_are_twenty_procedures(oet, record):
    proxies = [tango.DeviceProxy(oet.url) for _ in range(4)]
    before = len(oet.summaries())
    with ThreadPoolExecutor(4) as threads:
        for press in [threads.submit(proxies[number % 4].PrepareSelected) for number in range(20)]:
            press.result(30)
    assert len(oet.summaries()) == before + 20


# -- the selected procedure, and the table


def test_the_selected_procedure_is_shown_while_another_one_is_active(oet):
    failed = oet.run("raises.py", "what it said")
    oet.recorder.wait_for_end(failed)
    running = oet.running("sleepy.py")
    assert oet.proxy.selectedProcedureState.name == "RUNNING"
    oet.recorder.clear()
    oet.proxy.selectedProcedure = failed
    oet.recorder.wait_for("selectedProcedureState", lambda state: state == 10)
    details = oet.recorder.wait_for("selectedProcedureDetails", lambda text: f"procedure {failed}" in text).value
    assert details == oet.proxy.selectedProcedureDetails
    for part in ("file://raises.py", "FAILED since ", "Run by ", "what it said", "Traceback"):
        assert part in details
    oet.proxy.selectedProcedure = 0
    oet.recorder.wait_for("selectedProcedureState", lambda state: state == 7)
    assert f"procedure {running}" in oet.proxy.selectedProcedureDetails


def test_what_the_selected_procedure_prints_is_pushed(oet):
    quiet = oet.ready("good.py")
    oet.proxy.selectedProcedure = quiet
    recorder = EventRecorder(tango.DeviceProxy(oet.url), ("selectedProcedureOutput",))
    try:
        printing = oet.run("prints_a_line.py")
        oet.recorder.wait_for_end(printing)
        oet.proxy.selectedProcedure = printing
        recorder.wait_for("selectedProcedureOutput", lambda text: "a line" in text)
        assert "a line" in oet.proxy.selectedProcedureOutput
        oet.proxy.selectedProcedure = quiet
        wait_until(lambda: "a line" not in recorder.latest["selectedProcedureOutput"], 10, "the other one's output")
    finally:
        recorder.close()


def test_the_table_follows_a_procedure_and_its_duration_stands_still(oet):
    uid = oet.running("sleepy.py")
    oet.recorder.wait_for("procedureTable", lambda rows: rows[1][:3] == (str(uid), "sleepy.py", "RUNNING"))
    table = oet.proxy.procedureTable
    assert table[0] == HEAD
    assert table[1][4] == ""
    oet.stop(uid, reason="clouds")
    row = oet.recorder.wait_for("procedureTable", lambda rows: rows[1][2] == "STOPPED").value[1]
    assert row[4].endswith(" s")
    assert f"pid {os.getpid()} " in row[5]
    assert "clouds" in row[6]
    assert {len(row) for row in oet.proxy.procedureTable} == {len(HEAD)}


def test_a_row_of_the_table_stays_short_and_one_line_whatever_a_script_raises(oet, scratch):
    name = "x" * 200 + ".py"
    (scratch / name).write_text("def main():\n    raise ValueError('見\\n\\x1b[31m' + 'y' * 100_000)\n")
    uid = oet.run(name)
    oet.recorder.wait_for_end(uid)
    row = wait_until(lambda: next((r for r in oet.proxy.procedureTable if r[:1] == (str(uid),)), None), 10, "its row")
    assert row[2] == "FAILED"
    assert all(cell.isprintable() and len(cell) <= 200 for cell in row)
    assert "\\u898b" in row[6]
    (scratch / name).unlink()


# -- what survives


def chosen(oet, record):
    oet.proxy.scriptArguments = '{"dwell": 2}'
    uid = oet.ready("good.py")
    oet.proxy.selectedProcedure = uid
    return {"selectedScript": record, "scriptArguments": '{"dwell": 2}', "selectedProcedure": uid}


def told(oet):
    return {name: oet.proxy.read_attribute(name).value for name in WRITTEN}


def written(oet):
    return {name: oet.proxy.read_attribute(name).w_value for name in WRITTEN}


def test_an_init_and_a_devrestart_keep_what_is_selected(oet, record):
    wanted = chosen(oet, record)
    oet.proxy.Init()
    assert told(oet) == written(oet) == wanted
    tango.DeviceProxy(oet.proxy.adm_name()).DevRestart(oet.name)
    wait_until(lambda: told(oet) == written(oet) == wanted, 20, "all of it is still selected")


@pytest.mark.long
def test_a_restart_of_the_server_keeps_what_is_selected_also_what_is_not_there_any_more(own_server, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "here.py").write_text("def main(): pass\n")
    oet = own_server(ScriptRoots=[root, SCRIPTS])
    wanted = chosen(oet, select(oet, "here.py"))
    (root / "here.py").unlink()
    kept, uid = kept_in(oet), wanted["selectedProcedure"]
    wait_until(lambda: json.loads(kept.read_text())["process_uid"] == uid, 20, "all of it is kept")
    old = oet.server.device_server()
    old.kill()
    wait_until(lambda: not is_alive(old.pid), 20, "the device server is gone, and answers no more")

    def is_kept():
        with contextlib.suppress(tango.DevFailed):
            return told(oet) == written(oet) == wanted
        return False

    wait_until(is_kept, 40, "the next device server tells the same")
    assert oet.proxy.State() == tango.DevState.ON
    assert refusal_of(oet.proxy.RunSelected)[0] == "OET_ScriptNotFound"
    oet.proxy.StopSelected()


@pytest.mark.long
def test_without_a_database_what_is_selected_survives_a_restart_of_the_whole_server(tmp_path):
    port, name = free_port(), "mid-oet/subarray/01"
    arguments = ["nodb", "-nodb", "-dlist", name, "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    wanted = {"selectedScript": "file://hello.py", "scriptArguments": '{"dwell": 2}', "selectedProcedure": 0}
    for is_first in (True, False):
        server = Server(arguments, tmp_path, None)
        try:
            oet = Oet(None, name, server, f"tango://127.0.0.1:{port}/{name}#dbase=no")
            if is_first:
                offered(oet, "hello.py")
                for each, value in wanted.items():
                    oet.proxy.write_attribute(each, value)
            assert told(oet) == written(oet) == wanted
            oet.close()
            assert server.stop() == 0
        finally:
            server.clean_up()


def test_a_selected_procedure_that_has_left_the_attributes_is_told_to_be_gone(oet):
    with oet.properties(HistoryLength=1):
        uid = oet.run("good.py")
        oet.recorder.wait_for_end(uid)
        oet.proxy.selectedProcedure = uid
        for _ in range(2):
            oet.recorder.wait_for_end(oet.run("good.py"))
        wait_until(lambda: uid not in oet.proxy.procedureIds, 10, "it has left the attributes")
        for name in ("selectedProcedureState", "selectedProcedureDetails"):
            assert oet.proxy.read_attribute(name).quality == tango.AttrQuality.ATTR_INVALID
            wait_until(
                lambda name=name: oet.recorder.newest[name].quality == tango.AttrQuality.ATTR_INVALID,
                10,
                "it is pushed",
            )
        assert oet.proxy.selectedProcedure == uid
        for press in (oet.proxy.StopSelected, oet.proxy.StartSelected):
            assert refusal_of(press)[0] == "OET_InvalidState"
