"""Scripts of a git repository, each in an environment with packages of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import tango
from support.tango_server import is_alive, reason_of
from support.waiting import wait_until

# Tells where it runs and what it imports there.
TELLS = """
import json, os, sys
import {module}

def main(path):
    found = {{"pid": os.getpid(), "python": sys.executable, "prefix": sys.prefix, "version": {module}.version}}
    with open(path + ".aside", "w") as file:
        json.dump(found, file)
    os.replace(path + ".aside", path)
"""
WHOLE_LIFE = "CREATING IDLE PREP_ENV IDLE LOADING IDLE INITIALISING READY RUNNING READY COMPLETE"
ENDS = "def main(*args):\n    pass\n"
SHARED = TELLS.format(module="shared")
# Stays alive until it is stopped, with the version of the package it imported in its output.
STAYS = "import time\nimport shared\nprint(shared.version)\n\n\ndef main():\n    time.sleep(60)\n"


class TestAScriptWithAnEnvironment:
    def test_runs_under_its_interpreter_with_its_packages(self, device, repository):
        repository.add(requirements_txt="shared==1.0\n")
        commit = repository.commit(observe=SHARED)
        told = device.told(repository.script(create_env=True))
        provenance = told["summary"]["provenance"]
        assert told["version"] == "1.0"
        assert provenance["git_commit"] == commit
        assert provenance["environment"] in device.environments()
        assert told["prefix"].endswith(f"environments/{provenance['environment']}/venv")
        assert told["python"].startswith(told["prefix"])

    def test_passes_the_states_of_the_contract(self, device, repository):
        repository.add(requirements_txt="shared==1.0\n")
        repository.commit(observe="import shared\n\n\ndef init():\n    pass\n\n\n" + ENDS)
        uid = device.run(repository.script(create_env=True))
        assert device.oet.recorder.wait_for_end(uid, 30)["state"] == "COMPLETE"
        assert " ".join(device.oet.recorder.states(uid)) == WHOLE_LIFE

    def test_starts_the_second_time_from_the_template_of_its_environment(self, device, repository):
        repository.add(requirements_txt="shared==1.0\n")
        commit = repository.commit(observe=SHARED)
        first = device.told(repository.script(create_env=True, git_commit=commit))
        environment = first["summary"]["provenance"]["environment"]
        log = device.environments()[environment]["log"]
        templates, built = device.templates(), os.stat(log).st_mtime_ns
        second = device.told(repository.script(create_env=True, git_commit=commit))
        assert os.stat(log).st_mtime_ns == built
        assert device.templates() <= templates  # those of other environments end when nobody has used them for long
        assert second["pid"] != first["pid"]
        assert second["summary"]["provenance"]["environment"] == environment

    def test_says_which_modules_are_the_servers_though_it_does_not_require_them(self, device, repository):
        """iniconfig is pytest's: it is there as long as the tests run."""
        repository.add(requirements_txt="shared==1.0\n")
        repository.commit(observe="import tango, numpy, shared, json, iniconfig\n\n\n" + ENDS)
        uid = device.run(repository.script(create_env=True))
        assert device.oet.recorder.wait_for_end(uid, 30)["state"] == "COMPLETE"
        lines = json.loads(device.oet.proxy.Output(json.dumps({"process_uid": uid})))["text"].splitlines()
        (warning,) = [line for line in lines if "server's own packages" in line]
        assert "|WARNING|" in warning
        assert "|iniconfig: imported from the server's own packages" in warning

    def test_has_its_own_version_beside_another_and_the_server_s(self, device, repository, another_repository):
        repository.add(requirements_txt="shared==1.0\n")
        another_repository.add(requirements_txt="shared==2.0\n")
        repository.commit(observe=STAYS)
        another_repository.commit(observe=STAYS)
        uids = [
            device.prepare(repository.script(create_env=True)),
            device.prepare(another_repository.script(create_env=True)),
            device.prepare(repository.script()),
        ]
        for uid in uids:
            device.oet.recorder.wait_for_state(uid, "READY", 30)
        for uid, version in zip(uids, ("1.0", "2.0", "3.0"), strict=True):
            wait_until(
                lambda uid=uid, version=version: device.output(uid).strip() == version, 10, f"it prints {version}"
            )
        assert [device.oet.state(uid) for uid in uids] == ["READY"] * 3

    def test_imports_the_package_that_its_repository_is(self, device, repository):
        repository.add_package("observing", "4.5")
        repository.commit(scripts__observe=TELLS.format(module="observing"))
        assert device.told(repository.script("scripts/observe.py", create_env=True))["version"] == "4.5"

    def test_has_the_topics_of_the_oet_where_the_device_offers_them(self, device, repository):
        repository.add(requirements_txt="shared==1.0\n")
        repository.commit(observe="from ska_oso_oet.event import topics\n" + SHARED)
        script = repository.script(create_env=True)
        assert "No module named 'ska_oso_oet'" in device.failure(script, 30)
        with device.oet.properties(OetCompatibility=True):
            assert device.told(script)["version"] == "1.0"

    def test_is_built_once_for_all_who_ask_at_the_same_time(self, device, repository, gate, tmp_path):
        repository.add_package("together", hook=gate.hook)
        repository.commit(observe=TELLS.format(module="together"))
        uids = [device.prepare(repository.script(create_env=True)) for _ in range(10)]
        gate.wait_for_build()
        for uid in uids:
            device.oet.recorder.wait_for_state(uid, "PREP_ENV", 20)
        gate.open()
        for uid in uids:
            device.oet.recorder.wait_for_state(uid, "READY", 30)
        for uid in uids:
            device.oet.start(uid, str(tmp_path / f"told-{uid}"))
            assert device.oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        told = [json.loads((tmp_path / f"told-{uid}").read_text()) for uid in uids]
        assert gate.builds == 1
        assert len({each["prefix"] for each in told}) == 1
        assert len({each["pid"] for each in told}) == 10


def builders(device, uid):
    """Return the processes below the worker of a procedure that is being prepared."""
    device.oet.recorder.wait_for_state(uid, "PREP_ENV")  # which tells whose process it is; a build may run before
    (worker,) = [each for each in device.oet.server.tree() if each.pid == device.oet.pid(uid)]
    return worker.children(recursive=True)


class TestABuild:
    @pytest.fixture
    def script(self, repository, gate):
        """A script whose environment is being made until the gate opens."""
        repository.add_package("slow", hook=gate.hook)
        commit = repository.commit(observe=TELLS.format(module="slow"))
        return repository.script(create_env=True, git_commit=commit)

    def test_that_fails_says_why_and_is_tried_again_at_the_next_request(self, device, repository):
        repository.add(requirements_txt="nowhere-to-be-found==1.0\n")
        commit = repository.commit(observe=ENDS)
        script = repository.script(create_env=True, git_commit=commit)
        reason = device.failure(script)
        assert "nowhere-to-be-found" in reason
        assert "\n" not in reason
        (failed,) = [each for each in device.environments().values() if commit in each["description"]]
        assert failed["state"] == "FAILED"
        assert "nowhere-to-be-found" in failed["reason"]
        assert "nowhere-to-be-found" in Path(failed["log"]).read_text()
        log = os.stat(failed["log"]).st_mtime_ns
        assert "nowhere-to-be-found" in device.failure(script)
        assert os.stat(failed["log"]).st_mtime_ns > log

    @pytest.mark.long
    @pytest.mark.parametrize("more", ["", ", start_new_session=True"])
    def test_does_not_wait_for_a_daemon_that_keeps_its_output(self, device, repository, more):
        hook = f"import subprocess; print(subprocess.Popen(['sleep', '600']{more}).pid, file=open('pid', 'w'))"
        repository.add_package("haunted", hook=hook)
        commit = repository.commit(observe=TELLS.format(module="haunted"))
        assert device.told(repository.script(create_env=True, git_commit=commit))["version"] == "1.0"

    @pytest.mark.long
    def test_may_not_take_more_memory_than_a_build_may(self, device, repository):
        repository.add_package("greedy", hook="x = bytearray(3 * 1024**3)")
        commit = repository.commit(observe=ENDS)
        with device.oet.properties(MaxMemory="64 MiB"):
            reason = device.failure(repository.script(create_env=True, git_commit=commit))
        assert "each process of a build may have 1" in reason
        assert "since MaxMemory is set" in reason

    def test_that_is_killed_fails_and_the_next_one_works(self, device, script, gate):
        uid = device.prepare(script)
        gate.wait_for_build()
        below = builders(device, uid)
        os.kill(device.oet.pid(uid), signal.SIGKILL)
        end = device.oet.recorder.wait_for_end(uid, 60)
        assert end["state"] == "FAILED"
        assert "SIGKILL" in end["reason"]
        assert "PREP_ENV" in end["reason"]
        assert below
        wait_until(lambda: not any(is_alive(each.pid) for each in below), 20, "nothing builds any more")
        gate.open()
        assert device.told(script)["version"] == "1.0"
        assert gate.builds == 2

    def test_is_stopped_with_all_its_processes(self, device, script, gate):
        uid = device.prepare(script)
        gate.wait_for_build()
        below = builders(device, uid)
        device.oet.stop(uid)
        end = device.oet.recorder.wait_for_end(uid, 60)
        assert end["state"] == "STOPPED"
        assert below
        wait_until(lambda: not any(is_alive(each.pid) for each in below), 20, "nothing builds any more")
        gate.open()
        assert device.told(script)["version"] == "1.0"

    def test_that_takes_too_long_fails_with_its_phase(self, device, script, gate):
        with device.oet.properties(EnvironmentTimeout=10):  # which git, too, has to keep within
            uid = device.prepare(script)
            reason = device.oet.recorder.wait_for_end(uid, 60)["reason"]
        assert "PREP_ENV took longer than EnvironmentTimeout (10 s)" in reason

    def test_is_taken_over_by_one_who_waits_for_it(self, device, script, gate):
        first, second = device.prepare(script), device.prepare(script)
        for uid in (first, second):
            device.oet.recorder.wait_for_state(uid, "PREP_ENV")
        gate.wait_for_build()
        time.sleep(0.3)  # the other one is waiting, or about to
        # Until then git may run for it, and its worker look like one that builds.
        (builder,) = wait_until(
            lambda: len(found := [uid for uid in (first, second) if builders(device, uid)]) == 1 and found,
            20,
            "one builds",
        )
        device.oet.stop(builder)
        device.oet.recorder.wait_for_end(builder, 60)  # else it might be done first
        gate.open()
        other = second if builder == first else first
        device.oet.recorder.wait_for_state(other, "READY", 30)
        assert gate.builds == 2

    def test_goes_on_when_the_device_server_is_killed(self, device, script, gate, tmp_path):
        uid = device.run(script, str(tmp_path / "told"))
        gate.wait_for_build()
        killed = device.oet.server.device_server().pid
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not is_alive(killed), 20, "it is gone, and answers no more")
        device.oet.reconnect()
        assert device.oet.state(uid) == "PREP_ENV"
        gate.open()
        wait_until(lambda: device.oet.state(uid) == "COMPLETE", 30, "the procedure has gone on")
        assert json.loads((tmp_path / "told").read_text())["version"] == "1.0"
        assert gate.builds == 1
        provenance = device.oet.summary(uid)["provenance"]
        assert provenance["environment"] in device.environments()


class TestAnEnvironmentInWhichNoWorkerCanBeMade:
    @pytest.fixture
    def failure(self, device, repository):
        """Say why a script fails in an environment with a certain version of what workers need."""

        def failure(version):
            repository.add(requirements_txt=f"setproctitle=={version}\n")
            commit = repository.commit(observe=ENDS)
            uid = device.prepare(repository.script(create_env=True, git_commit=commit))
            end = device.oet.recorder.wait_for_end(uid, 60)
            (info,) = [each for each in device.environments().values() if commit in each["description"]]
            assert (end["state"], info["state"], info["in_use"]) == ("FAILED", "READY", False)
            return end["reason"]

        return failure

    def test_since_its_template_ends_makes_a_procedure_fail(self, device, failure):
        templates = device.templates()
        assert "the template process ended: exit code 3" in failure("98.0")
        wait_until(lambda: device.templates() <= templates, 20, "there is no template any more")

    @pytest.mark.long
    def test_since_its_template_hangs_makes_a_procedure_fail_at_the_end_of_its_time(self, device, failure):
        with device.oet.properties(EnvironmentTimeout=12):  # within which the environment has to be made
            assert "PREP_ENV took longer than EnvironmentTimeout (12 s)" in failure("99.0")

    def test_does_not_keep_a_procedure_from_being_stopped(self, device, repository):
        repository.add(requirements_txt="setproctitle==99.0\n")
        commit = repository.commit(observe=ENDS)
        uid = device.prepare(repository.script(create_env=True, git_commit=commit))
        wait_until(lambda: device.oet.state(uid) == "PREP_ENV" and device.oet.pid(uid), 60, "a worker prepares it")
        wait_until(lambda: not is_alive(device.oet.pid(uid)), 60, "the worker that made the environment has ended")
        device.oet.stop(uid)
        assert device.oet.recorder.wait_for_end(uid, 60)["state"] == "STOPPED"


class TestEnvironments:
    @pytest.fixture
    def used(self, device, repository):
        """The summary of a procedure that is READY in an environment."""
        repository.add(requirements_txt="shared==1.0\n")
        commit = repository.commit(observe=STAYS)
        uid = device.prepare(repository.script(create_env=True, git_commit=commit))
        device.oet.recorder.wait_for_state(uid, "READY", 30)
        return device.oet.summary(uid)

    def test_are_listed_with_what_a_person_wants_to_know(self, device, used):
        env_id = used["provenance"]["environment"]
        info = device.environments()[env_id]
        assert info["state"] == "READY"
        assert info["size"] > 0
        assert abs(time.time() - info["last_used"]) < 30
        assert info["in_use"] is True
        assert info["packages"] == ["shared==1.0"]
        device.oet.stop(used["id"], run_abort=False)
        device.oet.recorder.wait_for_end(used["id"])
        wait_until(lambda: not device.environments()[env_id]["in_use"], 5, "the environment is not in use")

    def test_that_is_in_use_cannot_be_removed(self, device, used):
        with pytest.raises(tango.DevFailed) as refusal:
            device.oet.proxy.RemoveEnvironment(used["provenance"]["environment"])
        reason, description = reason_of(refusal.value)
        assert reason == "OET_InvalidState"
        assert "is in use" in description
        device.oet.start(used["id"])
        device.oet.recorder.wait_for_state(used["id"], "RUNNING")

    def test_that_is_being_made_cannot_be_removed(self, device, repository, gate):
        repository.add_package("slow", hook=gate.hook)
        commit = repository.commit(observe=ENDS)
        device.prepare(repository.script(create_env=True, git_commit=commit))
        gate.wait_for_build()
        (info,) = [each for each in device.environments().values() if commit in each["description"]]
        assert info["state"] == "CREATING"
        with pytest.raises(tango.DevFailed) as refusal:
            device.oet.proxy.RemoveEnvironment(info["env_id"])
        assert reason_of(refusal.value)[0] == "OET_InvalidState"

    @pytest.mark.parametrize("env_id", ["0123456789abcdef0123", "", "..", ".cache", "../history.db"])
    def test_that_does_not_exist_cannot_be_removed(self, device, env_id):
        with pytest.raises(tango.DevFailed) as refusal:
            device.oet.proxy.RemoveEnvironment(env_id)
        assert reason_of(refusal.value)[0] == "OET_InvalidArgument"

    def test_that_nobody_uses_any_more_is_removed_and_made_anew_when_asked_for(self, device, repository, gate):
        gate.open()
        repository.add_package("anew", hook=gate.hook)
        commit = repository.commit(observe=TELLS.format(module="anew"))
        script = repository.script(create_env=True, git_commit=commit)
        before = device.templates()
        first = device.told(script)
        env_id = first["summary"]["provenance"]["environment"]
        templates = device.templates()
        (its_own,) = templates - before
        device.oet.proxy.RemoveEnvironment(env_id)
        assert env_id not in device.environments()
        assert not Path(first["prefix"]).exists()
        again = device.told(script)
        assert again["summary"]["provenance"]["environment"] == env_id
        assert gate.builds == 2
        # Nothing of the environment that was removed runs in the new one; templates of others may end meanwhile.
        now = device.templates()
        assert its_own not in now
        assert len(now - templates) == 1
