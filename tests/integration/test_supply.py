"""Workers in stock: spares, the template process, and what happens when they are lost."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from support.main_process import MainProcess
from support.processes import children_of, descriptors_of, is_gone, procedures_of, suspend
from support.sources import NOTHING, SLEEPING
from support.waiting import wait_until

from ska_oet_device.mptools import stat_of, title_of
from ska_oet_device.procedure import messages


@pytest.fixture
def modules(tmp_path):
    """A folder of modules for Preload, and the environment that finds it."""
    folder = tmp_path / "modules"
    folder.mkdir()
    return folder


def with_modules(folder: Path) -> dict[str, str]:
    source = str(Path(messages.__file__).parents[3])
    return {"PYTHONPATH": os.pathsep.join([source, str(folder)])}


def runs_a_script(main: MainProcess, script) -> bool:
    uid = main.running(script(NOTHING))
    return main.wait_for_end(uid).reason == "completed"


class TestSpares:
    def test_are_made_and_made_again_when_they_were_taken(self, main, script):
        first = main.wait_for_spares()
        assert len(set(first)) == 2
        uid = main.ready(script(NOTHING))
        assert main.wait_for(uid, "READY").os_pid in first
        again = main.wait_for_spares()
        assert len(set(first) & set(again)) == 1

    def test_are_session_leaders_and_children_of_main(self, main):
        for pid in main.wait_for_spares():
            stat = stat_of(pid)
            assert stat.session == stat.group == pid
            assert stat.parent == main.pid
            assert title_of(pid) == "oet-spare"

    def test_are_replaced_when_they_are_killed(self, main, script):
        first = main.wait_for_spares()
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(map(is_gone, first)))
        assert not set(first) & set(wait_until(lambda: set(main.wait_for_spares()) - set(first)))
        assert main.problems == []

    def test_those_that_die_as_they_are_taken_are_replaced_unnoticed(self, main, script):
        spares = main.wait_for_spares()
        suspend(main.pid)  # so that it learns of the request before it learns of their death
        try:
            uid = main.create(script(NOTHING))
            for pid in spares:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: all(map(is_gone, spares)))
        finally:
            os.kill(main.pid, signal.SIGCONT)
        assert main.wait_for(uid, "READY").os_pid not in spares
        assert main.states(uid)[0] != "FAILED"

    def test_none_need_be_kept(self, new_main, script):
        main = new_main()
        main.configure(0)
        assert runs_a_script(main, script)
        wait_until(lambda: not main.spares(), what="the end of the spares")

    def test_their_number_may_change(self, main):
        main.wait_for_spares(2)
        main.configure(4)
        four = main.wait_for_spares(4)
        main.configure(1)
        (one,) = main.wait_for_spares(1)
        wait_until(lambda: all(is_gone(pid) for pid in four if pid != one), what="the others have ended")

    def test_more_scripts_than_spares_are_served(self, main, script):
        path = script(NOTHING)
        uids = [main.create(path) for _ in range(15)]
        pids = {main.wait_for(uid, "READY").os_pid for uid in uids}
        assert len(pids) == 15

    def test_carry_the_title_and_the_mark_of_their_procedure_once_taken(self, main, script):
        uid = main.ready(script("import subprocess\ndef main():\n    subprocess.run(['sleep', '600'])\n", "hello.py"))
        pid = main.wait_for(uid, "READY").os_pid
        assert re.fullmatch(rf"oet-script run=\S+ hello\.py mid-oet/subarray/01#{uid}", title_of(pid))


class TestTheTemplate:
    def test_leaves_the_threads_of_blas_to_whoever_needs_them(self, new_main, script, tmp_path):
        told = tmp_path / "told"
        main = new_main()
        main.configure(2, "numpy")
        uid = main.ready(
            script(
                f"""
                import os, numpy
                def threads():
                    return len(os.listdir("/proc/self/task"))
                def main():
                    before = threads()
                    square = numpy.ones((700, 700))
                    square @ square
                    open({str(told)!r}, "w").write(f"{{before}} {{threads()}}")
                """
            )
        )
        main.run(uid)
        assert main.wait_for_end(uid).reason == "completed"
        before, after = map(int, told.read_text().split())
        assert before == 3  # the script's, the one that reads the pipe, and the one that writes unfinished lines
        assert after == 2 + min(os.cpu_count(), len(os.sched_getaffinity(0)))

    def test_forks_twice_where_it_cannot_fork_children_of_main(self, new_main, script, modules):
        (modules / "sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 'm68k'\n")
        main = new_main(env=with_modules(modules))
        for pid in main.wait_for_spares():
            assert stat_of(pid).parent == main.pid
        assert runs_a_script(main, script)

    def test_is_started_again_when_it_is_killed_and_spares_live_on(self, main, script):
        spares, template = main.wait_for_spares(), main.wait_for_template()
        os.kill(template, signal.SIGKILL)
        main.wait_for_template(other_than=template)
        assert main.wait_for_spares() == spares
        assert runs_a_script(main, script)

    def test_creations_that_wait_when_it_is_killed_are_served_by_the_next(self, main, script):
        path = script(NOTHING)
        template = main.wait_for_template()
        main.wait_for_spares()
        suspend(template)
        uids = [main.create(path) for _ in range(6)]
        main.sync()  # by now four of them are asked of the template
        os.kill(template, signal.SIGKILL)
        for uid in uids:
            main.wait_for(uid, "READY")

    @pytest.mark.long
    def test_that_does_not_get_done_with_its_imports_is_told_of(self, new_main, script, modules):
        (modules / "endless.py").write_text("import time\ntime.sleep(600)\n")
        main = new_main(env=with_modules(modules))
        main.wait_for_spares()
        main.configure(2, "endless")
        problem = "no worker can be forked: the template has not imported its modules within 10 s"
        wait_until(lambda: main.problems == [problem], 60, "the problem")
        assert not main.supplying
        main.configure(2)
        wait_until(lambda: main.problems == [], 20, "the end of the problem")
        assert runs_a_script(main, script)

    def test_that_cannot_import_a_module_says_so_and_workers_still_come(self, new_main, script):
        main = new_main()
        main.wait_for_template()
        main.configure(2, "no_such_module_at_all")
        (problem,) = wait_until(lambda: main.problems, 60)
        assert problem.startswith("module no_such_module_at_all cannot be imported: ModuleNotFoundError")
        assert runs_a_script(main, script)
        assert main.supplying is True
        main.configure(2)
        wait_until(lambda: main.problems == [], 20, "the end of the problem")

    @pytest.mark.parametrize(
        ("source", "problem"),
        [
            ("import os; os._exit(3)", "the template process ended while it imported its modules: exit code 3"),
            ("import os; os.abort()", "the template process ended while it imported its modules: signal 6 (SIGABRT)"),
            ("raise SystemExit(3)", "module oet_bad cannot be imported: SystemExit: 3"),
            (
                "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
                "module oet_bad starts a thread when it is imported",
            ),
        ],
        ids=["exits", "crashes", "raises SystemExit", "starts a thread"],
    )
    def test_whose_module_behaves_badly_says_so_and_workers_still_come(
        self, new_main, script, modules, source, problem
    ):
        (modules / "oet_bad.py").write_text(source)
        main = new_main(env=with_modules(modules))
        main.wait_for_template()
        main.configure(2, "oet_bad")
        assert wait_until(lambda: main.problems, 60)[0] == problem
        main.wait_for_spares()
        assert runs_a_script(main, script)
        assert main.supplying is True

    def test_with_more_to_say_than_a_report_holds_is_ready_all_the_same(self, new_main, script, modules):
        (modules / "oet_wordy.py").write_text("raise ImportError('no such thing ' * 20_000)")
        main = new_main(env=with_modules(modules))
        main.wait_for_template()
        main.configure(2, "oet_wordy")
        (problem,) = wait_until(lambda: main.problems, 60)
        assert problem.startswith("module oet_wordy cannot be imported: ImportError: no such thing")
        main.wait_for_spares()
        assert runs_a_script(main, script)

    def test_whose_own_import_starts_a_thread_says_so_and_is_not_started_for_ever(self, new_main, script, modules):
        (modules / "oet_threads.py").write_text(
            "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
        )
        main = new_main(env=with_modules(modules), imports=["oet_threads"])
        problems = wait_until(lambda: len(main.problems) >= 2 and main.problems, 60)
        assert problems[0] == "module oet_threads starts a thread when it is imported"
        assert "no worker can be forked: the template process has 2 threads" in problems
        assert main.supplying is False
        template = main.wait_for_template()
        time.sleep(1.0)
        assert main.template == template

    def test_refuses_to_fork_once_it_has_a_second_thread(self, new_main, script, modules):
        (modules / "oet_later.py").write_text(
            "import signal, threading, time\n"
            "def begin(*_):\n"
            "    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
            "signal.signal(signal.SIGUSR2, begin)\n"
        )
        main = new_main(env=with_modules(modules))
        main.configure(2, "oet_later")
        main.sync()  # the spares, and the template, that there were are no more
        main.wait_for_spares()
        template = main.wait_for_template()
        os.kill(template, signal.SIGUSR2)
        wait_until(lambda: len(os.listdir(f"/proc/{template}/task")) == 2)
        path = script(NOTHING)
        uids = [main.create(path) for _ in range(3)]
        problem = "no worker can be forked: the template process has 2 threads"
        wait_until(lambda: problem in main.problems, 20, "the refusal")
        for uid in uids[:2]:
            main.wait_for(uid, "READY")  # by the spares
        assert main.problems == [problem]
        assert not main.supplying
        os.kill(template, signal.SIGKILL)
        main.wait_for(uids[2], "READY")
        wait_until(lambda: main.problems == [], 20, "the end of the problem")

    def test_sees_new_versions_of_preload_after_it_was_configured_anew(self, new_main, script, modules):
        (modules / "oet_version.py").write_text("value = 1\n")
        main = new_main(env=with_modules(modules))
        path = script(
            "from pubsub import pub\nimport oet_version\ndef main(): pub.sendMessage('v', value=oet_version.value)"
        )
        main.configure(2, "oet_version")
        main.sync()  # the spares that there were are no more
        main.wait_for_spares()
        (modules / "oet_version.py").write_text("value = 20\n")
        old = main.running(path)
        assert main.wait_for_message(old, "v") == {"value": 1}
        main.wait_for_end(old)
        main.configure(2)
        main.sync()
        main.wait_for_spares()
        main.configure(2, "oet_version")
        main.sync()
        main.wait_for_spares()
        wait_until(lambda: main.template)
        new = main.running(path)
        assert main.wait_for_message(new, "v") == {"value": 20}
        main.wait_for_end(new)


def switches(pid: int) -> int:
    """Return how often the threads of a process have been woken."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


class TestRest:
    def test_nobody_wakes_up_when_there_is_nothing_to_do(self, main, script):
        path = script(SLEEPING)
        pids = [main.wait_for(uid, "READY").os_pid for uid in [main.ready(path), main.running(path)]]
        pids += [main.pid, main.wait_for_template(), *main.wait_for_spares()]

        def nobody_wakes_up() -> bool:
            before = [switches(pid) for pid in pids]
            time.sleep(1.5)
            return [switches(pid) for pid in pids] == before

        time.sleep(0.5)
        wait_until(nobody_wakes_up, 20, "rest: a busy machine may still be at what was begun")

    @pytest.mark.timeout(180)
    @pytest.mark.long
    def test_two_hundred_procedures_leave_nothing_behind(self, main, script):
        path = script("from pubsub import pub\ndef init(): pass\ndef main(): pub.sendMessage('a', b=1)\n")

        def cycle() -> None:
            uid = main.ready(path)
            main.run(uid)
            main.wait_for_end(uid)
            assert main.states(uid)[-1] == "COMPLETE"

        for _ in range(5):
            cycle()
        main.wait_for_spares()
        before = descriptors_of(main.pid)
        for _ in range(200):
            cycle()
        main.wait_for_spares()
        assert procedures_of(main.pid) == []
        assert descriptors_of(main.pid) == before
        assert len(children_of(main.pid)) == 3  # the template and two spares
