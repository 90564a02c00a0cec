"""The template is watched for a hang as well as for death; a terminal that is closed ends main as SIGTERM does."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.processes import is_gone, suspend
from support.sources import NOTHING
from support.waiting import wait_until


@pytest.mark.long
class TestAHungTemplate:
    def test_is_replaced_and_who_waits_is_served_by_the_next(self, main, script):
        spares, template = main.wait_for_spares(), main.wait_for_template()
        suspend(template)
        uids = [main.create(script(NOTHING)) for _ in range(6)]
        for uid in uids:
            main.wait_for(uid, "READY")
        wait_until(lambda: is_gone(template), 20, "the hung one is killed")
        assert main.template not in (template, None)
        assert {main.wait_for(uid, "READY").os_pid for uid in uids[:2]} == set(spares)
        wait_until(lambda: main.problems == [], 20, "the end of the problem")

    def test_that_still_imports_is_replaced_when_that_never_ends(self, new_main, script, tmp_path):
        folder = tmp_path / "modules"
        folder.mkdir()
        (folder / "endless.py").write_text("import time\ntime.sleep(600)\n")
        (folder / "sitecustomize.py").write_text(
            "import sys\n"
            "if '_engine_main' in ' '.join(sys.orig_argv):\n"
            "    import ska_oet_device.mptools._template_process as it\n"
            "    begin = it.TemplateProcess._begin\n"
            "    def hasty(template):\n"  # with the one that is endless alone: on a busy machine others take seconds
            "        is_endless = template._preload and not template._without_preload\n"
            "        it._IMPORTS_NEVER = 0.1 if is_endless else 6\n"
            "        begin(template)\n"
            "    it.TemplateProcess._begin = hasty\n"
        )
        main = new_main(env={"PYTHONPATH": str(folder)})
        main.configure(1, "endless")
        wait_until(lambda: main.problems, 20, "a problem")
        assert main.problems[-1] == "workers are made without the modules of Preload"
        uid = main.ready(script(NOTHING))
        assert main.supplying
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"

    def test_is_not_taken_for_one_when_main_was_stopped_with_it(self, main, script):
        main.wait_for_spares()
        template = main.wait_for_template()
        uids = [main.create(script(NOTHING)) for _ in range(4)]
        for pid in (template, main.pid):
            suspend(pid)
        time.sleep(4)
        for pid in (main.pid, template):
            os.kill(pid, signal.SIGCONT)
        for uid in uids:
            main.wait_for(uid, "READY")
        assert main.template == template


@pytest.mark.long
class TestAStoppedSpare:
    def test_is_not_given_to_a_procedure(self, main, script):
        spares = main.wait_for_spares()
        for pid in spares:
            suspend(pid)
        uids = [main.ready(script(NOTHING)) for _ in range(3)]
        assert not {main.wait_for(uid, "READY").os_pid for uid in uids} & set(spares)
        wait_until(lambda: all(map(is_gone, spares)), 20, "the stopped ones are killed")

    def test_that_is_stopped_as_it_is_taken_is_followed_by_another(self, new_main, in_main, script):
        stops_one = in_main(
            "import os, signal\n"
            "from ska_oet_device.mptools import WorkerPool\n"
            "once = [lambda pid: os.kill(pid, signal.SIGSTOP)]\n"
            "is_fit = WorkerPool._is_fit\n"
            "def stop(pool, worker):\n"
            "    fit = is_fit(pool, worker)\n"
            "    if once: once.pop()(worker.pid)\n"
            "    return fit\n"
            "WorkerPool._is_fit = stop\n"
        )
        main = new_main(env=stops_one)
        spares = main.wait_for_spares()
        uid = main.ready(script(NOTHING))
        wait_until(lambda: is_gone(spares[0]), 20, "the stopped one is killed")
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"


def test_sighup_gives_scripts_their_grace(main, script, tmp_path):
    trace = tmp_path / "trace"
    uid = main.armed(
        script(
            f"""
            import time
            from pubsub import pub
            def main():
                try:
                    pub.sendMessage("armed", x=1)
                    time.sleep(600)
                finally:
                    open({str(trace)!r}, "w").write("tidied")
            """
        )
    )
    os.kill(main.pid, signal.SIGHUP)
    os.kill(main.pid, signal.SIGHUP)
    assert main.wait_for_end(uid).new_state.name == "STOPPED"
    assert trace.read_text() == "tidied"


@pytest.mark.long
def test_a_stop_gives_its_grace_also_where_everything_stands_still_meanwhile(main, script, tmp_path):
    """As `docker pause` does, or a machine that is suspended: the first that goes on is main."""
    trace = tmp_path / "trace"
    grace = 4.0  # seconds: a busy machine may hold this test up between two of its signals
    uid = main.armed(
        script(
            f"""
            import os, time
            from pubsub import pub
            def main():
                try:
                    pub.sendMessage("armed", pid=os.getpid())
                    time.sleep(600)
                finally:
                    open({str(trace)!r}, "w").write("tidied")
            """
        ),
        grace=grace,
    )
    pid = main.said(uid, "armed")[0]["pid"]
    suspend(pid)
    main.stop(uid)
    main.sync()  # SIGTERM is sent
    suspend(main.pid)
    time.sleep(grace + 2)
    os.kill(main.pid, signal.SIGCONT)
    main.sync()  # the first turn of its loop is over
    os.kill(pid, signal.SIGCONT)
    assert main.wait_for_end(uid).reason == "stopped on request"
    assert trace.read_text() == "tidied"
