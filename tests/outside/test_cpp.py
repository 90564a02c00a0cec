"""A client in C++, with Debian's Tango, which is older than ours: the example, compiled and run as its page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.databases import make_database
from support.late_events import without_late_events
from support.tango_server import SCRIPTS, Oet, serving

from ska_oet_device.config import EXAMPLES

EXAMPLE = Path(__file__).parents[2] / "examples" / "cpp"
NAME = "mid-oet/subarray/cpp"

pytestmark = pytest.mark.timeout(300)  # to compile it takes 20 s on a quiet machine

Follow = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled where nothing of it is left behind; a warning is an error."""
    known = subprocess.run(["pkg-config", "--exists", "tango"], check=False) if shutil.which("pkg-config") else None
    if known is None or known.returncode or not Path("/usr/include/nlohmann/json.hpp").exists():
        pytest.skip("Debian's libtango-dev and nlohmann-json3-dev are not installed: tests/support/install_cpp.sh")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("Makefile", "oet_follow.cpp"):
        shutil.copy(EXAMPLE / name, folder)
    made = subprocess.run(
        ["make", "CXXFLAGS=-O0 -Wall -Wextra -Werror"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr[-3000:]
    return folder / "oet_follow"


@pytest.fixture(scope="module")
def oet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oet]:
    """A device with an abort script."""
    folder = tmp_path_factory.mktemp("server")
    database = make_database(folder)
    properties = {"ScriptRoots": [SCRIPTS, EXAMPLES], "StopGracePeriod": 0.5, "AbortScript": "file://abort.py"}
    try:
        with serving(database, "cpp", NAME, folder, **properties) as oet:
            yield oet
    finally:
        database.stop()


@pytest.fixture
def follow(program: Path, oet: Oet) -> Follow:
    """Run the program: a mode, a script, and arguments of its main."""

    def run(mode: str, script: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program, mode, oet.name, script, json.dumps(kwargs)],
            env={**os.environ, "TANGO_HOST": oet._known_database.host},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        done.stderr = without_late_events(done.stderr)
        return done

    return run


def told(text: str) -> tuple[int, list[tuple[int, str]]]:
    """Return the id of the procedure that the program has followed, and numbers and states as it has told them."""
    found = re.match(r"procedure (\d+) of tango://", text)
    assert found is not None, text
    return int(found[1]), [
        (int(number), state) for number, state in re.findall(r"^(\d+) ([A-Z_]+)", text, re.MULTILINE)
    ]


def events_of(oet: Oet, uid: int, newest: int) -> list[tuple[int, str]]:
    events = json.loads(oet.proxy.LifecycleEvents(0))
    return [(e["sequence"], e["state"]) for e in events if e["process_uid"] == uid and e["sequence"] <= newest]


def test_it_prepares_starts_and_follows_to_complete(follow: Follow, oet: Oet) -> None:
    for _ in range(3):
        done = follow("run", "file://good.py", scans=2)
        assert (done.returncode, done.stderr) == (0, "")
        uid, states = told(done.stdout)
        assert states == events_of(oet, uid, states[-1][0])
        assert [state for _, state in states][-4:] == ["READY", "RUNNING", "READY", "COMPLETE"]
        summary = oet.summary(uid)
        assert summary["history"]["exit"]["result"] == 2
        assert [asked["command"] for asked in summary["requested_by"]] == ["Prepare", "Start"]


def test_it_stops_a_script_and_follows_to_its_end(follow: Follow, oet: Oet) -> None:
    done = follow("stop", "file://sleepy.py", seconds=300)
    assert (done.returncode, done.stderr) == (4, "")
    uid, states = told(done.stdout)
    assert [state for _, state in states][-2:] == ["RUNNING", "STOPPED"]
    assert oet.summary(uid)["history"]["exit"]["stop_reason"] == "oet_follow was to stop it"
    assert oet.recorder.wait_for_end(uid + 1)["state"] == "COMPLETE", "the abort script"


def test_its_page_shows_what_it_says(follow: Follow, oet: Oet) -> None:
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^    procedure .*\n(?:    .*\n)+", page, re.MULTILINE)
    assert shown is not None
    said = follow("run", "file://hello.py").stdout.replace(f"{oet._known_database.host}/{NAME}", "DEVICE")
    wanted = shown[0].replace("    ", "").replace("localhost:10000/mid-oet/subarray/01", "DEVICE")
    assert re.sub(r"\d+", "1", said) == re.sub(r"\d+", "1", wanted)


def test_it_goes_on_when_the_device_server_has_been_started_anew(program: Path, oet: Oet) -> None:
    """Tango's library subscribes again at its next look, up to 10 s later; the script has ended meanwhile."""
    process = subprocess.Popen(
        [program, "run", oet.name, "file://sleepy.py", '{"seconds": 3}'],
        env={**os.environ, "TANGO_HOST": oet._known_database.host},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if line.endswith(" RUNNING\n"):
                break
        oet.server.device_server().kill()
        said += process.stdout.readlines()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    oet.reconnect()
    uid, states = told("".join(said))
    assert states == events_of(oet, uid, states[-1][0])
    assert states[-1][1] == "COMPLETE"


def test_it_says_why_a_script_has_failed(follow: Follow) -> None:
    done = follow("run", "file://raises.py", receiver="SKA042")
    assert done.returncode == 1
    assert done.stdout.endswith("FAILED: ValueError: no such receiver: SKA042\n")


def test_it_says_why_it_is_refused(follow: Follow) -> None:
    done = follow("run", "file://no_such_script.py")
    assert done.returncode == 3
    assert done.stderr.startswith("oet_follow: OET_ScriptNotFound: ")
    assert done.stdout == ""


def test_wrong_arguments_are_said(follow: Follow, program: Path) -> None:
    assert follow("walk", "file://good.py").returncode == 2
    wrong = subprocess.run([program, "run", "x", "y", "[1]"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr) == (2, "oet_follow: KWARGS is no JSON object\n")
