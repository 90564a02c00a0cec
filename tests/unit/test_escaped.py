"""What is killed after a main that died: what belongs to its procedures, whatever it hides, and nobody else."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import uuid

import pytest
from support.forked import in_a_child
from support.processes import is_gone
from support.sources import END_MAIN_THREAD
from support.waiting import wait_until

from ska_oet_device.mptools import spawn, stat_of, title_of, variable_of
from ska_oet_device.procedure.link import reap_escaped
from ska_oet_device.procedure.marks import RUN_ID_VARIABLE, run_title

SLEEP = ["/bin/sleep", "60"]


@pytest.fixture
def run_id():
    return str(uuid.uuid4())


@pytest.fixture
def begin():
    """Return how to start a process, in a session of its own; all are ended after the test."""
    pids = []

    def start(argv=SLEEP, **variables: str) -> int:
        pids.append(spawn(argv, variables, {}))
        wait_until(lambda: title_of(pids[-1]) == " ".join(argv).strip())
        return pids[-1]

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)  # not reaped yet
        os.waitpid(pid, 0)


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_who_was_given_the_run_id_is_killed(begin, run_id):
    marked, other = begin(**{RUN_ID_VARIABLE: run_id}), begin(**{RUN_ID_VARIABLE: str(uuid.uuid4())})
    assert reap_escaped({7: run_id, 8: str(uuid.uuid4())}) == {7: [marked]}
    wait_until(lambda: is_gone(marked), what="it ends; on a busy machine its end is not waited for")
    assert not is_gone(other)


def test_who_was_given_it_is_killed_though_its_main_thread_has_ended(begin, run_id):
    pid = begin(
        python(f"{END_MAIN_THREAD}\nimport time\nend_main_thread(lambda: time.sleep(60))"), **{RUN_ID_VARIABLE: run_id}
    )
    wait_until(lambda: stat_of(pid).state == "Z")
    assert not is_gone(pid)
    assert reap_escaped({7: run_id}) == {7: [pid]}
    wait_until(lambda: is_gone(pid))


def test_who_was_forked_by_a_worker_is_killed(run_id):
    code = f"""
import os, time
from setproctitle import setproctitle
pid = os.fork()
if pid == 0:
    setproctitle({run_title(run_id)!r} + "script.py device#1")
    print(os.getpid(), flush=True)
    time.sleep(60)
os.waitpid(pid, 0)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        assert reap_escaped({1: run_id}) == {1: [pid]}
        assert worker.wait(20) == 0


def test_who_merely_names_the_run_id_is_left_alone(begin, run_id):
    """Somebody looks for it, with grep say, or has noted it."""
    waiting = "import time; time.sleep(60)"
    named = [
        begin([*python(waiting), run_id]),
        begin([*python(waiting), run_title(run_id)]),
        begin([*python(waiting), f"{RUN_ID_VARIABLE}={run_id}"]),
        begin(OTHER=run_id),
        begin(OTHER=f"{RUN_ID_VARIABLE}={run_id}"),
        begin(**{f"OLD_{RUN_ID_VARIABLE}": run_id}),
        begin(**{RUN_ID_VARIABLE: run_id + "0"}),
        begin(**{RUN_ID_VARIABLE: run_id[:-1]}),
        begin(**{RUN_ID_VARIABLE: ""}),
    ]
    assert reap_escaped({1: run_id}) == {}
    assert not any(map(is_gone, named))


def test_an_empty_run_id_kills_nothing(begin, run_id):
    pids = [begin(), begin(**{RUN_ID_VARIABLE: ""}), begin(**{RUN_ID_VARIABLE: run_id})]
    assert reap_escaped({1: ""}) == {}
    assert reap_escaped({}) == {}
    assert not any(map(is_gone, pids))


DESCENDANTS = """
import os, time
def told(pid): os.write(1, b"%d\\n" % pid)
def clean(): os.close(1); os.execve("/bin/sleep", ["sleep", "60"], {})
if (pid := os.fork()) == 0:        # a session of its own, and nothing in its title or environment
    os.setsid()
    if (grandchild := os.fork()) == 0:
        os.setsid()
        clean()
    told(grandchild)
    clean()
told(pid)
if os.fork() == 0:                 # its parent is gone: its session is what is left of its descent
    if (orphan := os.fork()) == 0:
        clean()
    told(orphan)
    os._exit(0)
os.wait()
os.close(1)
time.sleep(60)
"""


def test_what_descends_from_it_is_killed_though_it_carries_nothing(begin, run_id):
    stranger = begin()
    marked = subprocess.Popen(
        python(DESCENDANTS), env={RUN_ID_VARIABLE: run_id}, stdout=subprocess.PIPE, start_new_session=True
    )
    with marked:
        descendants = [int(line) for line in marked.stdout]
        wait_until(lambda: all(variable_of(pid, RUN_ID_VARIABLE) == "" for pid in descendants))
        (reaped,) = reap_escaped({3: run_id}).values()
    assert {marked.pid, *descendants} == set(reaped)
    wait_until(lambda: all(map(is_gone, descendants)))
    assert not is_gone(stranger)


KIN = f"""
import os
for variables in ({{}}, {{{RUN_ID_VARIABLE!r}: RUN}}):
    if (pid := os.fork()) == 0:
        os.close(1)
        os.execve("/bin/sleep", ["sleep", "60"], variables)
    os.write(1, b"%d\\n" % pid)
"""


def test_what_is_of_its_session_is_killed_though_their_parent_is_gone(run_id):
    done = subprocess.run(
        python(KIN.replace("RUN}", f"{run_id!r}}}")), stdout=subprocess.PIPE, stderr=2, start_new_session=True
    )
    bare, marked = map(int, done.stdout.split())
    wait_until(lambda: variable_of(marked, RUN_ID_VARIABLE))
    assert sorted(reap_escaped({3: run_id})[3]) == sorted([bare, marked])
    wait_until(lambda: is_gone(bare))


def test_the_process_itself_and_its_ancestors_are_spared(run_id):
    code = (
        "import os\nfrom ska_oet_device.procedure.link import reap_escaped\n"
        f"pid = os.fork()\nif pid == 0:\n    assert reap_escaped({{1: {run_id!r}}}) == {{}}\n    os._exit(5)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    variables = {**os.environ, RUN_ID_VARIABLE: run_id}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, start_new_session=True
    )
    assert (done.stdout, done.returncode) == ("5\n", 0), done.stderr


@in_a_child
def test_another_users_is_told_of_and_not_waited_for():
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root can make processes of two users")
    run_id = str(uuid.uuid4())
    pid = os.fork()
    if pid == 0:
        os.execve("/bin/sleep", [f"{run_title(run_id)}x", "60"], {})
    wait_until(lambda: title_of(pid).startswith("oet-script "))
    os.setuid(65534)
    complaints = []
    handler = logging.Handler()
    handler.emit = lambda record: complaints.append(record.getMessage())
    logging.getLogger("ska_oet_device").addHandler(handler)
    began = time.monotonic()
    assert reap_escaped({1: run_id}, patience=30.0) == {}
    assert time.monotonic() - began < 15
    assert complaints == [f"processes of scripts that cannot be ended are left behind: [{pid}]"]
