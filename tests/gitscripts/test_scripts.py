"""Scripts of a git repository, run with the server's own packages."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

import pytest
import tango
from support.git_server import HttpServer
from support.tango_server import reason_of
from support.waiting import wait_until

WHOLE_LIFE = "CREATING IDLE PREP_ENV IDLE LOADING IDLE INITIALISING READY RUNNING READY COMPLETE"
ENDS = "def main(*args):\n    pass\n"
SAYS = "def main(*args):\n    print({what!r})\n"


def words(device, script):
    """Run a script; returns what it printed and the commit it was of."""
    uid = device.run(script)
    assert device.oet.recorder.wait_for_end(uid, 20)["state"] == "COMPLETE"
    return device.output(uid).strip(), device.oet.summary(uid)["provenance"]["git_commit"]


class TestAScriptIsTakenFrom:
    @pytest.fixture
    def commits(self, repository):
        first = repository.commit(observe=SAYS.format(what="first"))
        repository.git("tag", "v1")
        repository.push("v1")
        repository.git("checkout", "--quiet", "-b", "feature/x")
        branch = repository.commit(observe=SAYS.format(what="branch"))
        repository.git("checkout", "--quiet", "main")
        return {"first": first, "branch": branch, "main": repository.commit(observe=SAYS.format(what="main"))}

    def test_the_default_branch_a_branch_a_tag_and_a_commit(self, device, repository, commits):
        assert words(device, repository.script()) == ("main", commits["main"])
        assert words(device, repository.script(git_branch="feature/x")) == ("branch", commits["branch"])
        assert words(device, repository.script(git_branch="v1")) == ("first", commits["first"])
        assert words(device, repository.script(git_commit=commits["first"])) == ("first", commits["first"])
        assert words(device, repository.script(git_commit=commits["first"][:10])) == ("first", commits["first"])

    def test_a_branch_as_it_is_at_the_time_of_the_request(self, device, repository, commits):
        words(device, repository.script(git_branch="main"))
        newer = repository.commit(observe=SAYS.format(what="newer"))
        assert words(device, repository.script(git_branch="main")) == ("newer", newer)

    def test_a_commit_that_is_here_already_without_asking_the_server(self, device, git_server, repository, commits):
        words(device, repository.script(git_commit=commits["main"]))
        asked = len(git_server.requests)
        assert words(device, repository.script(git_commit=commits["main"])) == ("main", commits["main"])
        assert len(git_server.requests) == asked


class TestAScriptOfGit:
    def test_imports_its_neighbours_in_the_repository(self, device, repository):
        repository.commit(
            lib____init__="",
            lib__words="WORD = 'from lib'\n",
            scripts__beside="WORD = 'from beside'\n",
            scripts__observe="from lib.words import WORD\n\n\ndef main():\n    print(WORD)\n",
        )
        assert words(device, repository.script("scripts/observe.py"))[0] == "from lib"

    def test_leaves_no_byte_code_in_the_checkout(self, device, repository):
        repository.commit(neighbour="", observe="import neighbour\n\n\ndef main():\n    print(neighbour.__file__)\n")
        path, _ = words(device, repository.script())
        assert not list(Path(path).parent.rglob("__pycache__"))

    def test_may_have_a_module_named_as_one_that_fetched_it(self, device, repository):
        repository.commit(git="WORD = 'its own'\n", observe="import git\n\n\ndef main():\n    print(git.WORD)\n")
        assert words(device, repository.script())[0] == "its own"

    def test_passes_the_states_of_the_contract(self, device, repository):
        text = "def init(*args):\n    pass\n\n\n" + ENDS
        commit = repository.commit(observe=text)
        uid = device.run(repository.script())
        device.oet.recorder.wait_for_end(uid, 20)
        assert " ".join(device.oet.recorder.states(uid)) == WHOLE_LIFE
        summary = device.oet.summary(uid)
        provenance = summary["provenance"]
        assert provenance["git_commit"] == commit
        assert provenance["environment"] is None
        assert provenance["sha256"] == hashlib.sha256(text.encode()).hexdigest()
        assert provenance["path"].endswith(f"{commit}/observe.py")
        assert summary["script"]["git_args"]["git_repo"] == repository.url


CHANGES = """
import os, pathlib, stat
import neighbour

def main():
    print(neighbour.VALUE)
    path = pathlib.Path(neighbour.__file__)
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_text("VALUE = 'changed'\\n")
    (path.parent / "results.csv").touch()
"""

POISONS = """
import importlib.util, marshal, pathlib, sys
import neighbour

def main():
    print(neighbour.VALUE)
    source = pathlib.Path(neighbour.__file__)
    source.parent.chmod(0o755)
    noted = source.stat()
    header = importlib.util.MAGIC_NUMBER + b"".join(
        number.to_bytes(4, "little") for number in (0, int(noted.st_mtime), noted.st_size)
    )
    for prefix in (None, sys.pycache_prefix, str(source.parents[3] / "pycache")):
        sys.pycache_prefix = prefix
        kept = pathlib.Path(importlib.util.cache_from_source(str(source)))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(header + marshal.dumps(compile("VALUE = 'poison'", "", "exec")))
    source.parent.chmod(0o555)
"""


class TestAScriptThatChangesItsCheckout:
    @pytest.mark.long
    @pytest.mark.parametrize("create_env", [False, True])
    def test_does_not_change_the_next_run_which_says_so(self, device, repository, create_env):
        commit = repository.commit(neighbour="VALUE = 'of the commit'\n", observe=CHANGES)
        script = repository.script(git_commit=commit, create_env=create_env)
        assert words(device, script) == ("of the commit", commit)
        told, used = words(device, script)
        assert told.splitlines()[-1] == "of the commit"
        assert used == commit
        assert "neighbour.py was changed" in told
        assert "results.csv was added" in told

    @pytest.mark.long
    @pytest.mark.parametrize("create_env", [False, True])
    def test_puts_no_byte_code_into_the_next_run(self, device, repository, create_env):
        commit = repository.commit(neighbour="VALUE = 'of the commit'\n", observe=POISONS)
        script = repository.script(git_commit=commit, create_env=create_env)
        assert words(device, script) == ("of the commit", commit)
        assert words(device, script)[0].splitlines()[-1] == "of the commit"


class TestPrepareRefuses:
    @pytest.mark.parametrize(
        ("change", "reason", "words"),
        [
            ({"git_repo": "http://127.0.0.1:1/scripts.git"}, "OET_NotAllowed", "not below GitRepositories"),
            ({"git_repo": "{server}../scripts.git"}, "OET_InvalidArgument", "git_repo"),
            ({"git_repo": "--upload-pack=touch /tmp/x"}, "OET_InvalidArgument", "is not a URL"),
            ({"git_repo": "ext::sh -c true"}, "OET_InvalidArgument", "is not a URL"),
            ({"git_repo": "http://user:secret@127.0.0.1/a.git"}, "OET_InvalidArgument", "password"),
            ({"git_branch": "--all"}, "OET_InvalidArgument", "git_branch '--all'"),
            ({"git_branch": "a..b"}, "OET_InvalidArgument", "git_branch 'a..b'"),
            ({"git_commit": "v1"}, "OET_InvalidArgument", "git_commit 'v1'"),
            ({"path": "../../etc/passwd"}, "OET_InvalidArgument", "script_uri"),
            ({"path": ".git/config"}, "OET_InvalidArgument", "script_uri"),
            ({"path": ""}, "OET_InvalidArgument", "script_uri"),
        ],
    )
    def test(self, device, git_server: HttpServer, repository, change, reason, words):
        change = {key: value.replace("{server}", git_server.url) for key, value in change.items()}
        script = repository.script(change.pop("path", "observe.py"))
        script["git_args"].update(change)
        before = len(device.oet.summaries())
        with pytest.raises(tango.DevFailed) as refusal:
            device.prepare(script)
        given, description = reason_of(refusal.value)
        assert given == reason
        assert words in description
        assert "secret" not in description
        assert len(device.oet.summaries()) == before


class TestAProcedureFailsWithOneSentence:
    def sentence(self, device, script):
        reason = device.failure(script)
        assert "\n" not in reason
        assert "Traceback" not in reason
        return reason

    def test_for_a_repository_that_is_not_there(self, device, repository):
        script = repository.script()
        script["git_args"]["git_repo"] = repository.url.replace(".git", "-gone.git")
        reason = self.sentence(device, script)
        assert "no such repository" in reason
        assert "-gone.git" in reason

    def test_for_a_branch_a_commit_and_a_file_that_are_not_there(self, device, repository):
        commit = repository.commit(observe=ENDS)
        assert "no branch and no tag nowhere" in self.sentence(device, repository.script(git_branch="nowhere"))
        assert f"no commit {'ab' * 20}" in self.sentence(device, repository.script(git_commit="ab" * 20))
        assert f"{commit} has no file gone.py" in self.sentence(device, repository.script("gone.py"))

    def test_for_a_file_that_leads_out_of_the_repository(self, device, repository):
        (repository.tree / "leads_out.py").symlink_to("/etc/passwd")
        repository.commit(observe=ENDS)
        assert "leads out of its repository" in self.sentence(device, repository.script("leads_out.py"))

    def test_for_a_script_with_a_syntax_error(self, device, repository):
        repository.commit(observe="def main(:\n")
        assert "SyntaxError" in device.failure(repository.script())


class TestAServerThatNeverAnswers:
    @pytest.fixture
    def script(self, deaf_url, repository):
        script = repository.script()
        script["git_args"]["git_repo"] = f"{deaf_url}scripts.git"
        return script

    @pytest.fixture
    def nothing_is_left(self, device):
        yield lambda: wait_until(device.gits, 10, "git is running")
        wait_until(lambda: not device.gits(), 20, "no git is left")
        assert not device.oet.server.workers()

    def test_makes_a_procedure_fail_at_the_end_of_its_time(self, device, script, nothing_is_left):
        with device.oet.properties(EnvironmentTimeout=1.5):
            uid = device.prepare(script)
            end = device.oet.recorder.wait_for_end(uid, 10)
        assert end["state"] == "FAILED"
        # main and the worker have the same limit; whose is over first says it
        sentences = ("PREP_ENV took longer than EnvironmentTimeout (1.5 s)", "time-out: git did not end within 1.5 s")
        assert any(sentence in end["reason"] for sentence in sentences), end["reason"]
        assert device.oet.recorder.states(uid) == ["CREATING", "IDLE", "PREP_ENV", "FAILED"]

    def test_does_not_keep_a_procedure_from_being_stopped(self, device, script, nothing_is_left):
        with device.oet.properties(StopGracePeriod=10):  # a busy machine needs more than that of the others
            uid = device.prepare(script)
            nothing_is_left()
            device.oet.stop(uid)
            assert device.oet.recorder.wait_for_end(uid, 20)["state"] == "STOPPED"
        assert "SIGKILL" not in device.oet.summary(uid)["history"]["exit"]["signals_sent"]

    def test_leaves_nothing_behind_when_the_worker_is_killed(self, device, script, nothing_is_left):
        uid = device.prepare(script)
        nothing_is_left()
        device.oet.recorder.wait_for_state(uid, "PREP_ENV")  # which tells whose process it is; git may run before
        os.kill(device.oet.pid(uid), signal.SIGKILL)
        end = device.oet.recorder.wait_for_end(uid, 20)
        assert end["state"] == "FAILED"
        assert "PREP_ENV" in end["reason"]

    def test_lets_commands_answer_within_200_ms(self, device, script, nothing_is_left):
        taken, uids = [], []
        for _ in range(5):
            began = time.monotonic()
            uids.append(device.prepare(script))
            taken.append(time.monotonic() - began)
        assert min(taken) < 0.2, taken  # one that waits for the server does so each time
        good = device.oet.run("good.py")
        assert device.oet.recorder.wait_for_end(good, 20)["state"] == "COMPLETE"
        for uid in uids:
            device.oet.stop(uid)
            device.oet.recorder.wait_for_end(uid, 10)
