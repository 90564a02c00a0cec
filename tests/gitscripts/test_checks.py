"""Checks of scripts of a git repository, with and without an environment of their own."""

from __future__ import annotations

import json

import pytest
import tango
from support.checks import checked, failure, steps_of
from support.tango_server import reason_of

SCRIPT = '"""Observes."""\n\n\ndef main(duration: float = 1.0):\n    """Observe."""\n'


def test_a_script_of_git_is_found_at_its_commit(device, repository):
    commit = repository.commit(observe=SCRIPT)
    report = checked(device.oet, repository.script())
    assert report["ok"], report
    assert steps_of(report)["environment"] is None
    assert report["provenance"]["git_commit"] == commit
    assert report["functions"]["main"]["parameters"]["properties"]["duration"] == {"type": "number", "default": 1.0}


@pytest.mark.parametrize(
    ("script", "step", "mention"),
    [
        ({"path": "nothing.py"}, "found", "nothing.py"),
        ({"git_branch": "no-such-branch"}, "found", "no-such-branch"),
        ({"path": "broken.py"}, "compiles", "SyntaxError"),
        ({"path": "broken.py", "create_env": True}, "compiles", "SyntaxError"),
        ({"path": "headless.py"}, "functions", "no function main"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_script_of_git_is_told(device, repository, script, step, mention):
    repository.commit(observe=SCRIPT, broken="def main(:\n", headless="x = 1\n")
    report = checked(device.oet, repository.script(**script))
    failed, reason = failure(report)
    assert (failed, mention in reason) == (step, True), reason


def test_a_repository_that_may_not_be_used_is_not_found(device, repository):
    repository.commit(observe=SCRIPT)
    script = repository.script()
    script["git_args"]["git_repo"] = "https://example.invalid/scripts.git"
    step, reason = failure(checked(device.oet, script))
    assert step == "found"
    assert "GitRepositories" in reason


def test_what_can_be_no_repository_is_refused_as_by_prepare(device, repository):
    repository.commit(observe=SCRIPT)
    script = repository.script()
    script["git_args"]["git_repo"] = "x"
    for command in (device.oet.proxy.Check, device.oet.proxy.Prepare):
        with pytest.raises(tango.DevFailed) as failure:
            command(json.dumps({"script": script}))
        assert reason_of(failure.value)[0] == "OET_InvalidArgument"


class TestAnEnvironment:
    def test_is_made_and_its_interpreter_runs_the_script(self, device, repository):
        repository.add(requirements_txt="shared==1.0\n")
        commit = repository.commit(observe='import shared\nassert shared.version == "1.0"\n' + SCRIPT)
        report = checked(device.oet, repository.script(create_env=True), seconds=60)
        assert report["ok"], report
        assert steps_of(report) == dict.fromkeys(steps_of(report), True)
        assert report["provenance"]["git_commit"] == commit
        assert report["provenance"]["environment"] in device.environments()
        assert device.environments()[report["provenance"]["environment"]]["in_use"] is False
        assert report["functions"]["main"]["signature"] == "(duration: float = 1.0)"
        assert report["functions"]["main"]["parameters"]["required"] == []

    @pytest.mark.long
    @pytest.mark.parametrize("version", ["1.10.0", "97.0"])
    def test_whose_pydantic_is_of_no_use_has_parameters_without_types(self, device, repository, version):
        repository.add(requirements_txt=f"pydantic=={version}\n")
        repository.commit(observe="def main(duration: float = 1.0, band: str | None = None):\n    pass\n")
        report = checked(device.oet, repository.script(create_env=True), seconds=60)
        assert report["ok"], report
        assert report["functions"]["main"]["signature"] == "(duration: float = 1.0, band: str | None = None)"
        assert report["functions"]["main"]["parameters"] == {
            "type": "object",
            "properties": {"duration": {"type": "number", "default": 1.0}, "band": {"default": None}},
            "required": [],
            "additionalProperties": False,
        }

    def test_that_lacks_a_package_fails_the_imports(self, device, repository):
        repository.add(requirements_txt="shared==1.0\n")
        repository.commit(observe="import nothing_of_the_kind\n" + SCRIPT)
        step, reason = failure(checked(device.oet, repository.script(create_env=True), seconds=60))
        assert step == "imports"
        assert "No module named 'nothing_of_the_kind'" in reason

    def test_that_cannot_be_made_is_told(self, device, repository):
        repository.add(requirements_txt="no-such-package==1.0\n")
        repository.commit(observe=SCRIPT)
        step, reason = failure(checked(device.oet, repository.script(create_env=True), seconds=60))
        assert step == "environment"
        assert "no-such-package" in reason

    @pytest.mark.long
    def test_whose_template_ends_is_told(self, device, repository):
        repository.add(requirements_txt="setproctitle==97.0\n")
        repository.commit(observe=SCRIPT)
        step, reason = failure(checked(device.oet, repository.script(create_env=True), seconds=60))
        assert step == "environment"
        assert "no worker can be made in environment" in reason
