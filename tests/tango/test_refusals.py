"""A refused request says why, changes nothing, and the next one works."""

import json
import os
import subprocess

import pytest
import tango
from support.tango_server import SCRIPTS, filesystem, program, reason_of

SCRIPT = filesystem("good.py")


@pytest.fixture
def refused(oet):
    """Check that a command is refused for a reason, that nothing has changed, and that the device goes on."""

    def check(command, argument, reason, *mentions):
        ids, sequence = list(oet.proxy.procedureIds), oet.proxy.lifecycleSequence
        before = oet.summaries()
        with pytest.raises(tango.DevFailed) as caught:
            getattr(oet.proxy, command)(argument)
        given, description = reason_of(caught.value)
        assert given == reason, description
        assert description.endswith(f" [{reason}]")
        assert description.count("OET_") == 1
        for mention in mentions:
            assert str(mention) in description
        assert list(oet.proxy.procedureIds) == ids
        assert oet.proxy.lifecycleSequence == sequence
        assert oet.summaries() == before
        assert oet.proxy.State() != tango.DevState.FAULT
        next_one = oet.ready("good.py")
        oet.stop(next_one)
        oet.recorder.wait_for_end(next_one)

    return check


@pytest.mark.parametrize("command", ["Prepare", "Run", "Start", "Stop"])
@pytest.mark.parametrize("argument", ["{", "{]", "[]", "null", "no such thing", '{"a": 1', "-1", "1e3", "\xe9"])
def test_what_is_no_request_is_refused(refused, command, argument):
    refused(command, argument, "OET_InvalidArgument")


@pytest.mark.parametrize("command", ["Prepare", "Run", "Output"])
def test_nothing_is_no_request_where_something_has_to_be_named(refused, command):
    refused(command, "", "OET_InvalidArgument")


@pytest.mark.parametrize(
    ("command", "request_", "mention"),
    [
        ("Prepare", {"script": SCRIPT, "colour": "red"}, "colour"),
        ("Prepare", {"script": {**SCRIPT, "colour": "red"}}, "colour"),
        ("Prepare", {"script": SCRIPT, "init_args": {"arguments": []}}, "arguments"),
        ("Prepare", {"script": SCRIPT, "fn_name": "main"}, "fn_name"),
        ("Prepare", {}, "script"),
        ("Prepare", {"script": {"script_type": "tape", "script_uri": "file://good.py"}}, "script"),
        ("Prepare", {"script": {"script_type": "filesystem", "script_uri": "http://good.py"}}, "http://good.py"),
        ("Prepare", {"script": SCRIPT, "init_args": {"args": {}}}, "init_args.args"),
        ("Run", {"script": SCRIPT, "fn_name": 3}, "fn_name"),
        ("Run", {"script": SCRIPT, "fn_name": ""}, "fn_name"),
        ("Start", {"process_uid": "3"}, "process_uid"),
        ("Start", {"process_uid": 3, "force_start": "yes"}, "force_start"),
        ("Start", {"fn_name": "main", "process_uid": None}, "process_uid"),
        ("Stop", {"process_uid": 3, "run_abort": 1}, "run_abort"),
        ("Stop", {"process_uid": 3, "grace": 1}, "grace"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_and_the_place_named(refused, command, request_, mention):
    refused(command, json.dumps(request_), "OET_InvalidArgument", mention)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_json_does_not_know_are_refused(refused, number):
    argument = '{"script": %s, "init_args": {"args": [%s]}}' % (json.dumps(SCRIPT), number)  # noqa: UP031
    refused("Prepare", argument, "OET_InvalidArgument")


@pytest.mark.parametrize(
    ("command", "argument"),
    [
        ("Start", "999999"),
        ("Stop", "999999"),
        ("Summarise", [999999]),
        ("Start", json.dumps({"process_uid": -5})),
    ],
)
def test_an_unknown_id_is_refused(refused, command, argument):
    refused(command, argument, "OET_UnknownProcedure", "no procedure")


def test_events_after_a_negative_number_are_refused(refused):
    refused("LifecycleEvents", -1, "OET_InvalidArgument", "-1")


def test_starting_what_has_ended_is_refused(oet, refused):
    uid = oet.ready("good.py")
    oet.stop(uid)
    oet.recorder.wait_for_end(uid)
    refused("Start", str(uid), "OET_InvalidState", uid, "STOPPED")
    refused("Start", json.dumps({"process_uid": uid, "force_start": True}), "OET_InvalidState", uid, "STOPPED")


def test_starting_what_is_not_ready_yet_is_refused(oet, refused):
    uid = oet.prepare("slow_init.py")
    oet.recorder.wait_for_state(uid, "INITIALISING")
    refused("Start", str(uid), "OET_InvalidState", uid, "INITIALISING")


def test_starting_what_is_running_is_refused(oet, refused):
    uid = oet.running("sleepy.py")
    refused("Start", str(uid), "OET_InvalidState", uid, "RUNNING")


def test_a_second_start_is_refused_and_the_running_one_named(oet, refused):
    prepared = oet.ready("good.py")
    running = oet.running("sleepy.py")
    refused("Start", str(prepared), "OET_Busy", f"procedure {running} is RUNNING")
    refused("Start", json.dumps({"process_uid": prepared, "force_start": True}), "OET_Busy", running)
    assert oet.state(prepared) == "READY"
    oet.stop(running)
    oet.recorder.wait_for_end(running)
    oet.start(prepared)
    assert oet.recorder.wait_for_end(prepared)["state"] == "COMPLETE"


@pytest.mark.parametrize(
    "uri", ["file://no_such_script.py", f"file://{SCRIPTS}/no/such.py", f"file://{SCRIPTS}/__init__"]
)
def test_a_script_that_is_not_there_is_refused(refused, uri):
    refused("Prepare", uri, "OET_ScriptNotFound", uri)


def test_a_folder_is_no_script(refused, scratch):
    (scratch / "folder.py").mkdir(exist_ok=True)
    refused("Prepare", "file://folder.py", "OET_ScriptNotFound")


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "file://../support/waiting.py",
        f"file://{SCRIPTS}/../support/waiting.py",
        "file://%2e%2e/support/waiting.py",
        f"file://{SCRIPTS}",
        "file:///",
    ],
)
def test_a_path_that_leads_out_of_the_roots_is_refused(refused, uri):
    refused("Prepare", uri, "OET_NotAllowed", "ScriptRoots")


def test_a_symbolic_link_that_leads_out_is_refused(refused, scratch, tmp_path):
    (tmp_path / "outside.py").write_text("def main(): pass\n")
    link = scratch / "leads_out.py"
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "outside.py")
    refused("Prepare", "file://leads_out.py", "OET_NotAllowed", "ScriptRoots")
    folder = scratch / "folder_that_leads_out"
    folder.unlink(missing_ok=True)
    folder.symlink_to(tmp_path)
    refused("Prepare", "file://folder_that_leads_out/outside.py", "OET_NotAllowed", "ScriptRoots")


def test_a_symbolic_link_that_stays_inside_is_allowed(oet, scratch):
    link = scratch / "stays_inside.py"
    link.unlink(missing_ok=True)
    link.symlink_to(SCRIPTS / "good.py")
    uid = oet.ready("stays_inside.py")
    assert oet.summary(uid)["provenance"]["path"] == str(SCRIPTS / "good.py")


def test_a_script_with_a_syntax_error_is_refused_with_its_line(refused, scratch):
    (scratch / "syntax_error.py").write_text("def main():\n    pass\n\nthis is no Python\n")
    refused("Prepare", "file://syntax_error.py", "OET_InvalidArgument", "line 4")


def test_an_argument_of_two_mebibytes_is_too_large(refused):
    request = {"script": SCRIPT, "init_args": {"args": ["x" * 2 * 1024 * 1024]}}
    refused("Prepare", json.dumps(request), "OET_TooLarge")
    refused("Start", "1" * 2 * 1024 * 1024, "OET_TooLarge")


def test_an_argument_just_below_a_mebibyte_is_taken(oet, tmp_path):
    path = tmp_path / "calls"
    uid = oet.prepare("record.py", str(path), "x" * 1_000_000)
    oet.recorder.wait_for_state(uid, "READY", 20)
    assert len(json.loads(path.read_text())["args"][0]) == 1_000_000


def test_more_procedures_than_allowed_are_refused(oet):
    with oet.properties(MaxProcedures=2):
        first, _second = oet.ready("good.py"), oet.ready("good.py")
        for command in ("Prepare", "Run"):
            with pytest.raises(tango.DevFailed) as caught:
                getattr(oet.proxy, command)("file://good.py")
            reason, description = reason_of(caught.value)
            assert reason == "OET_TooMany"
            assert description.endswith(" [OET_TooMany]")
            assert "MaxProcedures is 2" in description
        oet.stop(first)
        oet.recorder.wait_for_end(first)
        oet.ready("good.py")


def test_an_id_that_no_procedure_can_have_is_refused(refused):
    refused("Stop", json.dumps({"process_uid": 10**30}), "OET_InvalidArgument", "process_uid")


def test_a_repository_outside_git_repositories_is_refused(refused):
    script = {
        "script_type": "git",
        "script_uri": "git://scripts/observe.py",
        "git_args": {"git_repo": "https://example.org/x.git"},
    }
    refused("Prepare", json.dumps({"script": script}), "OET_NotAllowed", "GitRepositories")


def test_a_nul_in_a_path_is_refused(refused):
    refused("Prepare", json.dumps({"script": filesystem("file://a\0b.py")}), "OET_InvalidArgument", "NUL")


def test_json_nested_beyond_all_reason_is_refused(refused):
    deep = "[" * 100_000 + "]" * 100_000
    argument = '{"script": %s, "init_args": {"args": %s}}' % (json.dumps(SCRIPT), deep)  # noqa: UP031
    refused("Prepare", argument, "OET_InvalidArgument")


def test_itango_shows_reason_and_description_without_a_stutter(oet, tmp_path):
    done = subprocess.run(
        [program("itango"), "--simple-prompt", "--no-banner", "-c", f"DeviceProxy({oet.url!r}).Start('987654')"],
        env={**os.environ, "TANGO_HOST": oet.database.host, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    shown = f"OET_UnknownProcedure: there is no procedure 987654 on {oet.name} [OET_UnknownProcedure]"
    assert shown in done.stdout.splitlines(), done


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("scan.ipynb", '{"cells": [], "metadata": {}, "nbformat": 4}', "is a notebook: convert it with"),
        ("renamed.py", '{\n "cells": [\n  {"x": "' + "y" * 100_000 + '"}]}', "is a notebook: convert it with"),
        ("sb.yaml", "target: M31\n", "is a YAML file"),
        ("run.sh", "echo\n", "is a shell script"),
        ("compressed", "\x1f\x8b...", "is compressed"),
    ],
)
def test_what_is_no_script_is_refused_with_what_it_is(refused, scratch, name, text, what):
    (scratch / name).write_text(text, encoding="latin-1")
    refused("Prepare", f"file://{name}", "OET_InvalidArgument", what)
