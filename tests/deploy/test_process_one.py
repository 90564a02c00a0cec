"""Main as process 1: of a PID namespace, and of a container of the image, built from the Dockerfile as it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from support.git_server import Upstream
from support.images import BASE, Image
from support.packages import make_wheel
from support.process_one import Container, Pod, ProcessOne, by_unshare, served_by
from support.tango_server import SCRIPTS, Oet
from support.waiting import wait_until

from ska_oet_device import __version__

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),  # the first one has the image built, which takes minutes on a busy machine
    pytest.mark.skipif(os.getuid() != 0, reason="only root can make PID namespaces"),
]

OPENSHIFT = 1000650000  # a user without an entry in the password file, of group 0

TELLS = """
import json, os, shared
def main(path):
    with open(path, "w") as file:
        json.dump({"uid": os.getuid(), "shared": shared.version}, file)
"""


class Starter:
    """Starts servers for one device whose main is process 1, in one way or the other."""

    def __init__(self, way: str, image: Image | None, database, folder: Path) -> None:
        self.way, self.image, self.database, self.folder = way, image, database, folder
        self.instance = f"one-{folder.name}"[:60]
        self.device = f"mid-oet/{folder.name}/01"
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.shared.chmod(0o777)

    def start(self, stack: ExitStack, pod: Pod | None = None, **properties: object) -> Oet:
        settings = {"ScriptRoots": [str(SCRIPTS), str(self.shared)], "StopGracePeriod": 300, **properties}
        self.database.add_server(self.instance, {self.device: settings})
        if self.image is None:
            server: ProcessOne = by_unshare(self.instance, self.folder, self.database.host)
        else:
            pod = pod or Pod(read=(SCRIPTS,), written=(self.shared,))
            server = Container(self.image, [self.instance], self.folder, self.database.host, pod)
        return stack.enter_context(served_by(server, self.database, self.device))


@pytest.fixture(params=["namespace", "image"])
def starter(request, database, tmp_path) -> Starter:
    image = request.getfixturevalue("image") if request.param == "image" else None
    return Starter(request.param, image, database, tmp_path)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def oet(starter, stack) -> Oet:
    return starter.start(stack)


def names_of(processes: list[psutil.Process]) -> list[str]:
    """Return the names of those that are there, zombies among them."""
    names = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            names.append(process.name())
    return names


class TestProcessOne:
    def test_a_script_runs_to_complete(self, oet):
        uid = oet.run("good.py")
        assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        assert "process 1" in oet.server.log_text()
        wait_until(lambda: oet.proxy.healthState.name == "OK", 60, "healthState is OK")

    def test_stop_interrupts_a_script_that_tidies_up(self, oet, starter):
        path = starter.shared / "tidied"
        uid = oet.armed("sleepy.py", str(path), fn="tidy")
        oet.stop(uid)
        assert oet.recorder.wait_for_end(uid)["state"] == "STOPPED"
        assert path.read_text() == "tidied"

    @pytest.mark.parametrize("empty_environment", [False, True])
    def test_what_a_script_leaves_behind_is_gone_with_it(self, oet, starter, empty_environment):
        path = starter.shared / "daemon"
        uid = oet.run("leaves_daemon.py", str(path), "sleep", empty_environment)
        wait_until(path.exists, 60, "the daemon is there")
        daemon = oet.server.process_inside(int(path.read_text()))
        oet.stop(uid)
        oet.recorder.wait_for_end(uid)
        assert not daemon.is_running()

    def test_what_strangers_leave_behind_is_reaped_when_it_ends(self, oet):
        """`kubectl exec` begins strangers: processes whose parent is outside, and whose orphans fall to process 1."""
        assert oet.server.run("sh", "-c", "for each in 1 2 3; do sleep 600 >&- 2>&- & done").returncode == 0

        def sleeping() -> list[psutil.Process]:
            return [process for process in oet.server.children() if names_of([process]) == ["sleep"]]

        wait_until(lambda: len(sleeping()) == 3, 60, "each is a program of its own")
        orphans = sleeping()
        for process in orphans:
            process.kill()
        wait_until(lambda: not names_of(orphans), 60, "they are gone, and no zombies")

    def test_zombies_of_strangers_are_reaped_by_the_hundred(self, oet):
        assert oet.server.run("sh", "-c", "for each in $(seq 300); do sleep 0.1 >&- 2>&- & done").returncode == 0
        wait_until(lambda: "sleep" not in names_of(oet.server.children()), 60, "none is left, nor its zombie")
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"

    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_with_grace(self, oet, starter, signum):
        path = starter.shared / "tidied"
        oet.armed("sleepy.py", str(path), fn="tidy")
        inside = oet.server.processes_inside()
        oet.server.signal(signum)
        assert oet.server.wait(100) == 0
        assert path.read_text() == "tidied"
        assert not [process for process in inside if process.is_running()]

    def test_asked_twice_it_kills_what_does_not_end(self, oet):
        oet.armed("stubborn.py")
        oet.server.signal(signal.SIGTERM)
        wait_until(lambda: "the server was asked to end" in oet.server.log_text(), 60, "it is asked")
        oet.server.signal(signal.SIGTERM)
        assert oet.server.wait(100) == 0  # in less than StopGracePeriod

    def test_signals_that_it_does_not_know_change_nothing(self, oet):
        for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGALRM):
            oet.server.signal(signum)
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"

    def test_killed_it_leaves_nothing_and_the_next_one_tells_of_it(self, oet, starter, stack):
        uid = oet.armed("stubborn.py")
        inside = oet.server.processes_inside()
        oet.server.main().kill()
        assert oet.server.wait(60) != 0
        wait_until(lambda: not any(process.is_running() for process in inside), 60, "nothing of it is left")
        oet.close()
        again = starter.start(stack)
        assert again.state(uid) == "FAILED"
        assert again.recorder.wait_for_end(again.run("good.py"))["state"] == "COMPLETE"


@pytest.fixture(params=[Pod(), Pod(uid=OPENSHIFT, gid=0, group=OPENSHIFT)], ids=["named", "arbitrary"])
def pod(request, tmp_path) -> Pod:
    given: Pod = request.param
    return Pod(given.uid, given.gid, given.group, read=(SCRIPTS, tmp_path / "read"), written=(tmp_path / "shared",))


class TestPod:
    """The image as Kubernetes and as OpenShift run it."""

    @pytest.fixture
    def starter(self, image, database, tmp_path) -> Starter:
        (tmp_path / "read").mkdir()
        return Starter("image", image, database, tmp_path)

    def test_a_script_of_git_with_an_environment_of_its_own_is_run(self, starter, pod, stack, tmp_path):
        upstream = Upstream(tmp_path / "read")
        (upstream.tree / "requirements.txt").write_text("shared\n")
        upstream.commit(tells=TELLS)
        make_wheel(tmp_path / "read", "shared", "1.0")
        for path in [upstream.bare, *upstream.bare.rglob("*")]:  # git takes nothing of a stranger's
            os.chown(path, pod.uid, pod.gid)
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "read"), "UV_OFFLINE": "1"}
        pod.environment.update(offline)
        url = f"file://{upstream.bare}"
        oet = starter.start(stack, pod, GitRepositories=[f"file://{tmp_path}/read/"])
        script = {
            "script_type": "git",
            "script_uri": "git://tells.py",
            "git_args": {"git_repo": url},
            "create_env": True,
        }
        path = starter.shared / "told"
        uid = json.loads(oet.proxy.Run(json.dumps({"script": script, "run_args": {"args": [str(path)]}})))["id"]
        assert oet.recorder.wait_for_end(uid, 60)["state"] == "COMPLETE"
        assert json.loads(path.read_text()) == {"uid": pod.uid, "shared": "1.0"}
        assert "Read-only file system" not in oet.server.log_text()

    def test_the_programs_of_operators_work_beside_it(self, starter, pod, stack):
        oet = starter.start(stack, pod)
        uid = oet.recorder.wait_for_end(oet.run("good.py"))["process_uid"]
        run = oet.server.run
        assert run("oet", "health", "--timeout", "30", starter.device).stdout.startswith(f"OK {starter.device}")
        assert run("oet", "--device", starter.device, "list").stdout.splitlines()[1].split()[:2] == [
            str(uid),
            "COMPLETE",
        ]
        assert run("oet", "--version").stdout == f"oet {__version__}\n"
        assert "Usage: json2tango" in run("json2tango", "--help").stdout
        assert run("python", "-c", "import psycopg, opentelemetry.sdk").returncode == 0

    def test_it_can_write_to_its_volumes_alone(self, starter, pod, stack):
        oet = starter.start(stack, pod)
        run = oet.server.run
        assert run("sh", "-c", "touch /tmp/x $HOME/x $STATE_DIRECTORY/x /dev/shm/x").returncode == 0
        for folder in ("/", "/opt/oet", "/etc", "/var", "/run", "/usr"):
            assert run("touch", f"{folder}/x").returncode != 0, folder

    def test_the_log_of_a_whole_life_has_no_complaint(self, starter, pod, stack):
        oet = starter.start(stack, pod)
        oet.recorder.wait_for_end(oet.run("good.py"))
        oet.server.signal(signal.SIGTERM)
        assert oet.server.wait(100) == 0
        # A machine that is busy may take more than a second for a commit, of which healthState and State tell.
        late = "The history cannot be written (the database does not answer)"
        lines = [line.split("|") for line in oet.server.log_text().splitlines() if late not in line]
        assert [line for line in lines if len(line) > 2 and line[2] != "INFO"] == []
        assert [line[0] for line in lines if len(line) == 1] == ["Ready to accept request"]  # Tango's

    def test_scripts_have_the_shared_memory_that_containers_have(self, starter, pod, stack, tmp_path):
        (tmp_path / "read" / "fills.py").write_text(
            "import os\ndef main():\n    with open('/dev/shm/full', 'wb') as file:\n"
            "        for _ in range(65):\n            file.write(bytes(1024**2))\n"
        )
        oet = starter.start(stack, pod, ScriptRoots=[str(SCRIPTS), str(tmp_path / "read")])
        end = oet.recorder.wait_for_end(oet.run("fills.py"))
        assert (end["state"], "No space left on device" in end["reason"]) == ("FAILED", True)
        assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"  # and it is full
        wait_until(lambda: oet.proxy.healthState.name == "OK", 60, "healthState is OK")


class TestImage:
    def test_it_says_what_it_is(self, image):
        labels = image.config["Labels"]
        assert labels["org.opencontainers.image.title"] == "ska-oet-device"
        assert labels["org.opencontainers.image.version"] == __version__
        assert labels["org.opencontainers.image.licenses"] == "BSD-3-Clause"
        assert labels["org.opencontainers.image.revision"] == image.commit
        assert labels["org.opencontainers.image.base.name"] == BASE

    def test_it_starts_a_server_as_a_user_with_a_number(self, image):
        assert image.config["Entrypoint"] == ["OetDevice"]
        assert image.config["User"] == "1000:1000"
        assert image.config["StopSignal"] == "SIGTERM"
        assert "oet:x:1000:1000:" in (image.root / "etc/passwd").read_text()

    def test_nothing_of_the_build_is_in_it(self, image):
        assert not [name for name in ("build", "run/secrets") if (image.root / name).exists()]
        assert not [name for name in ("gcc", "cc", "make", "pip", "pip3") if shutil.which(name, path=_paths(image))]
        assert not list((image.root / "opt/oet/lib").rglob("site-packages/pip"))
        assert "secret" not in json.dumps([image.config["Env"], image.config["Labels"]]).lower()

    def test_no_program_in_it_has_the_rights_of_another_user(self, image):
        raised = stat.S_ISUID | stat.S_ISGID
        files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
        assert not [path for path in files if path.stat().st_mode & raised]

    def test_its_byte_code_is_there_and_never_checked(self, image):
        compiled = list((image.root / "opt/oet").rglob("site-packages/ska_oet_device/**/*.pyc"))
        sources = list((image.root / "opt/oet").rglob("site-packages/ska_oet_device/**/*.py"))
        assert len(compiled) == len(sources) > 100
        assert {path.read_bytes()[4:8] for path in compiled} == {b"\1\0\0\0"}  # PEP 552

    def test_it_is_small_enough_to_be_fetched(self, image):
        """570 MB, 220 MB of it packed; half of it are PyTango's, NumPy's and OpenTelemetry's libraries."""
        files = (path.lstat() for path in image.root.rglob("*"))
        assert sum(each.st_size for each in files if stat.S_ISREG(each.st_mode)) < 640e6

    def test_without_arguments_it_says_how_it_is_used(self, image, tmp_path):
        server = Container(image, [], tmp_path, "127.0.0.1:1", Pod())
        try:
            assert server.wait(60) == 0
            assert "OetDevice" in server.log_text()
        finally:
            server.clean_up()


def _paths(image: Image) -> str:
    return os.pathsep.join(str(image.root / folder) for folder in ("opt/oet/bin", "usr/bin", "usr/sbin", "bin"))
