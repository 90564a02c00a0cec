"""The recipes that need no other package: each runs to its end, and cleans up when it is stopped half-way."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.itango_session import itango_session
from support.recipes import EXAMPLES, run_to_its_end, stop_half_way
from support.tango_server import Oet, program
from support.waiting import wait_until

METHODS = ["fork", *(pytest.param(method, marks=pytest.mark.long) for method in ("spawn", "forkserver"))]


def is_observing(activity: str) -> bool:
    return activity.startswith("observing")


@pytest.fixture(autouse=True)
def examples(oet: Oet) -> Iterator[None]:
    with oet.properties(ScriptRoots=[EXAMPLES], StopGracePeriod=30):  # pools of processes import Python anew
        yield


def test_places_are_observed_one_after_the_other(oet: Oet) -> None:
    printed = run_to_its_end(oet, "places.py", {"subarray_id": 1}, places=["M31", "M33"], dwell=0.01)
    assert printed == "putting things back\n"


def typed(program_name: str) -> str:
    """Return the line that the page types into a shell."""
    page = (EXAMPLES.parent / "docs" / "how-to" / "write-a-script.md").read_text()
    (line,) = re.findall(rf"^    ({re.escape(program_name)} .*places\.py.*)$", page, re.MULTILINE)
    return str(line)


def test_what_the_page_types_into_a_shell_runs_the_script(oet: Oet) -> None:
    _, *words = shlex.split(typed("oet"))
    environment = {**os.environ, "TANGO_HOST": oet.database.host, "OET_DEVICE": oet.name}
    ended = subprocess.run([program("oet"), *words], env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "putting things back" in ended.stdout


@pytest.mark.long
def test_what_the_page_types_into_itango_runs_the_script(oet: Oet, tmp_path: Path) -> None:
    environment = {"TANGO_HOST": oet.database.host, "OET_DEVICE": oet.name, "IPYTHONDIR": str(tmp_path)}
    lines = ["%load_ext ska_oet_device.itango", typed("%oet_run")]
    assert itango_session(lines, environment, tmp_path)[-1].splitlines()[-1].endswith("COMPLETE  completed")


def test_things_are_put_back_at_a_stop(oet: Oet) -> None:
    printed = stop_half_way(
        oet,
        "places.py",
        is_observing,
        {"subarray_id": 1},
        places=["M31", "M33"],
        dwell=60,
    )
    assert printed == "putting things back\n"


def test_tasks_of_asyncio_run_to_their_end(oet: Oet) -> None:
    printed = run_to_its_end(oet, "asyncio_tasks.py", dwell=0.01).splitlines()
    assert sorted(printed) == ["M31 observed", "M31 parked", "M33 observed", "M33 parked", "weather watch ended"]


def test_tasks_of_asyncio_clean_up_at_a_stop(oet: Oet) -> None:
    printed = stop_half_way(oet, "asyncio_tasks.py", lambda activity: activity == "observing M33", dwell=60)
    assert sorted(printed.splitlines()) == ["M31 parked", "M33 parked", "weather watch ended"]


def test_threads_run_to_their_end(oet: Oet) -> None:
    printed = run_to_its_end(oet, "thread_pool.py", dwell=0.01)
    assert sorted(printed.splitlines()) == ["M31 observed", "M33 observed", "M51 observed", "M81 observed"]


def test_threads_are_told_of_a_stop(oet: Oet) -> None:
    printed = stop_half_way(oet, "thread_pool.py", is_observing, dwell=60)
    assert printed
    assert set(printed.splitlines()) <= {"M31 broken off", "M33 broken off"}


@pytest.mark.parametrize("method", METHODS)
def test_processes_run_to_their_end(oet: Oet, method: str) -> None:
    printed = run_to_its_end(oet, "process_pool.py", method=method)
    assert printed.splitlines() == ["1", "4", "9", "16", "pool closed"]


@pytest.mark.parametrize("method", METHODS)
def test_processes_are_gone_after_a_stop(oet: Oet, method: str) -> None:
    many = {"numbers": list(range(1, 500)), "seconds": 0.2}
    printed = stop_half_way(oet, "process_pool.py", lambda activity: activity == "computing", method=method, **many)
    assert printed.splitlines()[0] == "1"
    assert printed.splitlines()[-1] == "pool closed"


def test_a_table_and_an_array_are_whole_at_the_end(oet: Oet, tmp_path: Path) -> None:
    run_to_its_end(oet, "data_csv.py", path=str(tmp_path / "scan.csv"), rows=3)
    run_to_its_end(oet, "data_numpy.py", path=str(tmp_path / "scan.npy"), rows=3)
    assert (tmp_path / "scan.csv").read_text().splitlines() == ["row,power", "0,0.0", "1,0.5", "2,1.0"]
    assert np.load(tmp_path / "scan.npy").tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("name", ["scan.csv", "scan.npy"])
def test_a_data_file_is_whole_after_a_stop(oet: Oet, tmp_path: Path, name: str) -> None:
    script = {"scan.csv": "data_csv.py", "scan.npy": "data_numpy.py"}[name]
    is_at_row_3 = re.compile(r"row ([3-9]|\d\d)").match  # or behind it
    stop_half_way(oet, script, is_at_row_3, path=str(tmp_path / name), rows=100, dwell=1)
    if name == "scan.csv":
        with (tmp_path / name).open(newline="") as file:
            powers = [float(row["power"]) for row in csv.DictReader(file)]
    else:
        powers = np.load(tmp_path / name).tolist()
    assert len(powers) >= 3
    assert powers == list(np.arange(len(powers)) * 0.5)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_the_log_of_a_script_is_in_its_file(oet: Oet, tmp_path: Path) -> None:
    log = tmp_path / "scan.log"
    assert run_to_its_end(oet, "logging_to_file.py", {"path": str(log)}, dwell=0.01) == ""
    assert [line.split(" ", 2)[2] for line in log.read_text().splitlines()] == [
        *("INFO observing M31", "DEBUG observed M31", "INFO observing M33", "DEBUG observed M33", "INFO parked"),
    ]


def test_a_script_goes_on_when_an_operator_wants_it(oet: Oet) -> None:
    uid = oet.run("messages.py")
    wait_until(lambda: oet.proxy.activeActivity == "waiting for an operator", what="the script waits")
    oet.recorder.wait_for("scriptEvent", lambda text: json.loads(text).get("kwargs") == {"source": "3C48"})
    oet.proxy.OverrideWaitForQaReady()
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"


def test_a_script_knows_who_it_is(oet: Oet) -> None:
    first, second = run_to_its_end(oet, "who_am_i.py").splitlines()
    newest = oet.summaries()[-1]
    assert first == f"procedure {newest['id']} of {oet.name}, run {newest['run_id']}"
    assert second == "subarray 1, wait for QA: True"
