"""Whatever the server inherits from who started it: scripts complete, are stopped, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from support.tango_server import Oet, Server, is_alive, program
from support.waiting import wait_until

from ska_oet_device.files import remove_tree

pytestmark = pytest.mark.long


SETTABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
PYTHONS_OWN = {signal.SIGPIPE, signal.SIGXFSZ}
STARTERS_MASK = [number for number in SETTABLE if 0xFFFFFFFE3FF3E007 >> (number - 1) & 1]

EXEC = "import os, resource, signal, socket, sys, subprocess; {}; os.execv(sys.argv[1], sys.argv[1:])"


def _started_by(what: str) -> list[str]:
    """Return a command that starts the server after having done something to what it will inherit."""
    return [sys.executable, "-c", EXEC.format(what), program("OetDevice")]


def _signals(pid: int, name: str) -> set[int]:
    with open(f"/proc/{pid}/status") as status:
        bits = next(int(line.split()[1], 16) for line in status if line.startswith(f"{name}:"))
    return {number + 1 for number in range(64) if bits >> number & 1} & set(SETTABLE)


def _works(oet: Oet) -> None:
    """A script completes, one that sleeps is stopped, and the server ends with 0 and leaves nothing."""
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    sleeping = oet.running("sleepy.py")
    _is_clean(oet.server)
    oet.stop(sleeping)
    end = oet.recorder.wait_for_end(sleeping)
    assert (end["state"], oet.summary(sleeping)["history"]["exit"]["signals_sent"]) == ("STOPPED", ["SIGTERM"])
    assert oet.server.stop() == 0


def _is_clean(server: Server) -> None:
    """No process of the server has a signal blocked or ignored that Python does not ignore by itself."""
    wait_until(lambda: len(server.spares()) == 2, 10, "two spares")
    for process in [server.process, server.template(), *server.spares(), *server.workers()]:
        assert _signals(process.pid, "SigBlk") == set()
        assert _signals(process.pid, "SigIgn") <= {*PYTHONS_OWN, signal.SIGHUP}
    assert signal.SIGTERM not in _signals(server.device_server().pid, "SigIgn")
    for worker in server.workers():
        assert _signals(worker.pid, "SigIgn") == PYTHONS_OWN


@pytest.mark.parametrize("blocked", [SETTABLE, STARTERS_MASK], ids=["all", "the Starter's"])
def test_a_server_that_was_started_with_signals_blocked_works(own_server, blocked):
    _works(own_server(_started_by(f"signal.pthread_sigmask(signal.SIG_BLOCK, {list(map(int, blocked))})")))


def test_a_server_that_was_started_with_all_signals_ignored_works(own_server):
    _works(own_server(_started_by(f"[signal.signal(n, signal.SIG_IGN) for n in {list(map(int, SETTABLE))}]")))


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_server_that_was_started_with_closed_descriptors_works(own_server, closed):
    _works(own_server(_started_by(f"[os.close(n) for n in {closed}]")))


@pytest.mark.parametrize(
    "what",
    [
        # the owner may not read what he makes, and all that can be little is
        "os.umask(0o777); resource.setrlimit(resource.RLIMIT_NOFILE, (20, 4096)); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)); "
        "resource.setrlimit(resource.RLIMIT_STACK, (256 * 1024, resource.getrlimit(resource.RLIMIT_STACK)[1]))",
        # leaked, inheritable sockets at all the numbers that we use ourselves
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); [os.dup2(s.fileno(), n) for n in range(3, 40)]",
        "[os.dup2(os.open('/dev/full', os.O_WRONLY), n) for n in (1, 2)]",
        # the reader is gone
        "r, w = os.pipe(); os.close(r); [os.dup2(w, n) for n in (1, 2)]",
    ],
)
def test_a_server_that_was_started_in_a_strange_way_works(own_server, what):
    _works(own_server(_started_by(what)))


def test_nobody_else_may_write_to_what_the_server_and_its_scripts_make(own_server, tmp_path):
    oet = own_server(_started_by("os.umask(0)"))
    path = tmp_path / "said"
    oet.recorder.wait_for_end(oet.run("own_threads.py", str(path), 0.0))
    made = [path, *(found for found in tmp_path.rglob("state/**/*"))]
    assert len(made) > 2
    assert [found for found in made if found.stat().st_mode & 0o022] == []


def test_a_leaked_listening_socket_is_not_handed_down(own_server):
    oet = own_server(_started_by("s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); os.dup2(s.fileno(), 17)"))
    (leaked,) = {os.readlink(f"/proc/{oet.server.pid}/fd/17")}
    for process in [oet.server.device_server(), oet.server.template(), *oet.server.spares()]:
        assert leaked not in _descriptors(process.pid)


def _descriptors(pid: int) -> set[str]:
    """Return what the descriptors of a process are, but for those that it closes meanwhile."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def test_a_reader_of_the_log_that_stops_reading_stops_nobody(own_server, tmp_path):
    """As `OetDevice 01 | tee log` with a tee that hangs: main would wait for ever."""
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    filler = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    oet = own_server(_started_by(f"f = os.open({str(fifo)!r}, os.O_WRONLY); [os.dup2(f, n) for n in (1, 2)]"))
    try:
        with contextlib.suppress(BlockingIOError):
            while os.write(filler, b"x" * 4096):
                pass
        template = oet.server.template()
        template.kill()  # which main tells its log
        wait_until(lambda: oet.server.template().pid != template.pid, 10, "another template")
        _works(oet)
    finally:
        os.close(reader)
        os.close(filler)


def test_a_neighbour_that_the_shell_had_started_before_lives_on(own_server):
    """`sidecar & exec OetDevice 01`: what was there before is no process of a script's."""
    what = "open('neighbour', 'w').write(str(subprocess.Popen(['sleep', '60'], env={}).pid))"
    oet = own_server(_started_by(what))
    neighbour = int((oet.server.log.parent / "neighbour").read_text())
    try:
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
        ours = [process for process in oet.server.tree() if process.pid != neighbour]
        oet.server.process.terminate()
        assert oet.server.wait() == 0
        assert is_alive(neighbour)
        assert oet.server.leftovers(ours) == []
    finally:
        os.kill(neighbour, signal.SIGKILL)


def test_a_server_that_a_shell_started_in_the_background_heeds_an_interrupt(own_server):
    oet = own_server(["sh", "-c", '"$0" "$@" & wait', program("OetDevice")])
    main = wait_until(
        lambda: [found for found in oet.server.tree()[1:] if "OetDevice" in " ".join(found.cmdline())], 10
    )
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
    main[0].send_signal(signal.SIGINT)  # which shells ignore for what they start in the background
    assert oet.server.wait() == 0


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv of util-linux")
def test_a_server_whose_user_has_no_name_works(own_server, tmp_path_factory, monkeypatch):
    """As on OpenShift: a number as user that no password file knows, and no home."""
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    user = 2_000_000_000 + os.getpid()
    # It may read what root's Python and the tests are in, which a container's user may anyway.
    may = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    _works(own_server(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *may, program("OetDevice")]))
    remove_tree(Path(f"/tmp/omni-{user}"))
