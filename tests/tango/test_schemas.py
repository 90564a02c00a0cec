"""Every answer and every event of a whole life is what the device's own JSON Schemas say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.schemas import FOLDER
from support.tango_server import filesystem
from support.waiting import wait_until

EVENTS = ("lifecycleEvent", "scriptEvent", "procedures", "checkReport")


class Held:
    """A client of a device that holds what it asks, and what it is answered, to the schemas."""

    def __init__(self, oet: Any) -> None:
        self.oet = oet
        made = json.loads(oet.proxy.Schemas())
        self.validators = {name: jsonschema.Draft202012Validator(schema) for name, schema in made.items()}
        self.answered: set[str] = set()

    def ask(self, command: str, argument: Any = None) -> Any:
        if isinstance(argument, dict):
            self.validators[f"{command}.argument"].validate(argument)
            argument = json.dumps(argument)
        text = self.oet.proxy.command_inout(command, argument)
        answer = json.loads(text)
        self.validators[f"{command}.answer"].validate(answer)
        self.answered.add(f"{command}.answer")
        return answer

    def hear(self) -> dict[str, int]:
        """Hold each event that has come, and each attribute as it is, to its schema; returns how many have come."""
        counts = {}
        for name in EVENTS:
            values = [*self.oet.recorder.values(name), self.oet.proxy.read_attribute(name).value]
            for value in filter(None, values):
                self.validators[name].validate(json.loads(value))
            counts[name] = len(values) - 1
        return counts


@pytest.fixture
def held(oet) -> Held:
    return Held(oet)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("repositories") / "telescope"
    folder.mkdir()
    (folder / "observe.py").write_text("def main(subarray_id):\n    return {'subarray': subarray_id}\n")
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_a_device_answers_with_the_schemas_of_the_documentation(held):
    told = held.ask("Schemas")
    assert told == {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}


def test_an_answer_that_is_not_as_the_schema_says_is_noticed(held):
    (event,) = held.ask("LifecycleEvents", held.oet.proxy.lifecycleSequence - 1)
    for wrong in ({**event, "more": 1}, {**event, "state": "LOST"}, {k: v for k, v in event.items() if k != "time"}):
        with pytest.raises(jsonschema.ValidationError):
            held.validators["lifecycleEvent"].validate(wrong)


def test_a_whole_life_is_as_the_schemas_say(held, repository):
    oet = held.oet
    wait_for = oet.recorder.wait_for_state
    script = filesystem("good.py")
    prepared = held.ask("Prepare", {"script": script, "init_args": {"kwargs": {"subarray_id": 1}}, "user": "Ada"})
    uid = prepared["id"]
    wait_for(uid, "READY")
    held.ask("Start", {"process_uid": uid, "run_args": {"kwargs": {"scans": 2}}})
    wait_for(uid, "COMPLETE")

    failed = held.ask("Run", {"script": filesystem("raises.py")})["id"]
    wait_for(failed, "FAILED")
    (summary,) = held.ask("Summarise", [failed])
    assert "no such receiver" in summary["history"]["stacktrace"]

    for name, data in (("report", {"percent": 3}), ("large", {"text": "x" * 100_000})):
        said = held.ask("Run", {"script": filesystem("says.py"), "run_args": {"args": [name], "kwargs": data}})["id"]
        wait_for(said, "COMPLETE")
    wait_for(held.ask("Run", "file://progress.py")["id"], "COMPLETE")
    assert held.ask("ScriptEvents", 0)

    with oet.properties(AbortScript="file://abort.py", GitRepositories=f"file://{repository.parent}/"):
        running = oet.running("sleepy.py")
        dropped = held.ask("Run", {"script": script, "run_args": {"args": ["y" * 5000]}})["id"]
        wait_until(lambda: held.ask("Summarise", [dropped])[0]["history"]["dropped_starts"], 10, "its start is dropped")
        (abort,) = held.ask("Stop", {"process_uid": running, "reason": "clouds"})
        wait_for(abort["id"], "COMPLETE")
        assert held.ask("Summarise", [running])[0]["history"]["exit"]["stop_reason"] == "clouds"
        assert held.ask("Stop", {"run_abort": False}) == []
        wait_for(dropped, "STOPPED")
        source = {"git_repo": f"file://{repository}", "git_branch": "main"}
        git = {"script_type": "git", "script_uri": "git://observe.py", "git_args": source}
        fetched = held.ask("Run", {"script": git})["id"]
        wait_for(fetched, "COMPLETE")
        assert held.ask("Summarise", [fetched])[0]["provenance"]["filled_in"] == {"main": {"subarray_id": 1}}

    check = held.ask("Check", {"script": script, "fn_name": "main"})["check_id"]
    wait_until(lambda: held.ask("CheckReport", check)["complete"], 60, "the check is complete")

    assert held.ask("Output", {"process_uid": uid, "limit": 10})["offset"] == 0
    held.ask("Requests", {"limit": 50})
    held.ask("Requests", "")
    assert len(held.ask("History", {"limit": 8, "state": "COMPLETE"})) >= 4
    held.ask("History", "")
    held.ask("Summarise", [])
    held.ask("Environments")
    held.ask("LifecycleEvents", 0)
    held.ask("Schemas")
    oet.settle()
    wait_until(lambda: any(oet.recorder.values("checkReport")), 20, "a report has been pushed")
    counts = held.hear()
    assert min(counts.values()) >= 1
    assert counts["lifecycleEvent"] > 40
    assert held.answered == {name for name in held.validators if name.endswith(".answer")}
