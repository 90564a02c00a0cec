"""The command History: what is known of procedures, those that live and those from before a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tango
from support.durable import Station
from support.tango_server import reason_of


@pytest.fixture(scope="module")
def made(database, scripts, tmp_path_factory):
    """A server that was started anew; its attributes show two of six procedures, the history has all."""
    folder = tmp_path_factory.mktemp("history")
    made = Station(database, "history", folder, {"ScriptRoots": [scripts], "HistoryLength": 2})
    try:
        made.start()
        for number in range(4):
            made.wait_for(run(made, "quick.py", f"3C{number}", user="anna" if number % 2 else None), "COMPLETE")
        stopped = run(made, "waits.py")
        made.oet.recorder.wait_for_state(stopped, "RUNNING")
        made.proxy.Stop(json.dumps({"reason": "clouds from the west"}))
        made.wait_for(stopped, "STOPPED")
        made.wait_for(run(made, "quick.py", fn="nothing"), "FAILED")
        made.server.stop()
        made.start()
        assert list(made.proxy.procedureIds) == [5, 6]
        yield made
    finally:
        made.clean_up()


def run(made: Station, script: str, *args: Any, user: str | None = None, fn: str = "main") -> int:
    request = {
        "script": {"script_type": "filesystem", "script_uri": f"file://{script}"},
        "fn_name": fn,
        "run_args": {"args": list(args)},
        "user": user,
    }
    return json.loads(made.proxy.Run(json.dumps(request)))["id"]


def history(made: Station, **asked: Any) -> list[dict[str, Any]]:
    return json.loads(made.proxy.History(json.dumps(asked) if asked else ""))


def ids(made: Station, **asked: Any) -> list[int]:
    return [summary["id"] for summary in history(made, **asked)]


def test_all_are_told_newest_first_as_summarise_tells_them(made):
    found = history(made, before=7)
    assert [summary["id"] for summary in found] == [6, 5, 4, 3, 2, 1]
    assert json.loads(made.proxy.History(""))[-6:] == found
    for summary in found:
        assert json.loads(made.proxy.Summarise([summary["id"]])) == [summary]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"script": "waits"}, [5]),
        ({"state": "FAILED"}, [6]),
        ({"state": "COMPLETE", "limit": 2}, [4, 3]),
        ({"user": "anna"}, [4, 2]),
        ({"user": "pid"}, [6, 5, 4, 3, 2, 1]),
        ({"text": "clouds from"}, [5]),
        ({"text": "3c2"}, [3]),
        ({"text": "nothing"}, [6]),
        ({"text": "3c", "user": "anna", "before": 4}, [2]),
        ({"before": 3}, [2, 1]),
        ({"until": 0}, []),
        ({"since": 1, "limit": 1}, [6]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_is_asked_for_is_found(made, asked, found):
    assert ids(made, **{"before": 7, **asked}) == found


def test_times_are_those_of_the_creation(made):
    third = json.loads(made.proxy.Summarise([3]))[0]["history"]["process_states"][0][1]
    assert ids(made, since=third, before=7) == [6, 5, 4, 3]
    assert ids(made, until=third) == [2, 1]


def test_the_outcome_of_a_run_is_one_call_whether_it_lives_or_is_of_long_ago(made):
    (old,) = history(made, before=2)
    (found,) = history(made, run_id=old["run_id"])
    assert (found["id"], found["state"]) == (1, "COMPLETE")
    assert history(made, run_id="0199") == []
    living = json.loads(made.proxy.Prepare("file://quick.py"))
    made.oet.recorder.wait_for_state(living["id"], "READY")
    assert [each["state"] for each in history(made, run_id=living["run_id"])] == ["READY"]
    assert ids(made, limit=1) == [living["id"]]
    made.oet.stop(living["id"])
    made.oet.recorder.wait_for_end(living["id"])
    assert [each["state"] for each in history(made, run_id=living["run_id"])] == ["STOPPED"]


def test_what_an_event_has_told_is_there(made):
    for _ in range(10):
        before = ids(made, state="STOPPED")
        uid = made.oet.prepare("quick.py")
        made.oet.recorder.wait_for_state(uid, "READY")
        assert ids(made, state="READY") == [uid]
        made.oet.stop(uid)
        made.oet.recorder.wait_for_end(uid)
        assert ids(made, state="READY") == []
        assert ids(made, state="STOPPED") == [uid, *before]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("5", "'5' is no JSON object"),
        ('{"colour": 1}', "colour: there is no such key"),
        ('{"state": "LOST"}', "state: must be UNKNOWN or CREATING"),
        ('{"limit": 1001}', "limit: must be at most 1000"),
        ('{"since": "yesterday"}', 'since: must be a number (given: "yesterday")'),
        ('{"since": Infinity}', "since: must be a finite number"),
        ('{"user": null}', "user: must be text"),
    ],
)
def test_what_is_no_question_is_refused(made, argument, said):
    with pytest.raises(tango.DevFailed) as refused:
        made.proxy.History(argument)
    reason, description = reason_of(refused.value)
    assert reason == "OET_InvalidArgument"
    assert said in description
