"""The recipes that need other people's packages: each runs to its end, and cleans up when it is stopped half-way."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.recipes import EXAMPLES, run_to_its_end, stop_half_way
from support.tango_server import Oet

from .conftest import RECIPES

CONCURRENT = ["trio_nursery.py", "gevent_greenlets.py"]


@pytest.mark.parametrize("script", CONCURRENT)
def test_each_task_runs_to_its_end(oet: Oet, script: str) -> None:
    printed = run_to_its_end(oet, script, dwell=0.01)
    assert sorted(printed.splitlines()) == ["M31 observed", "M31 parked", "M33 observed", "M33 parked"]


@pytest.mark.parametrize("script", CONCURRENT)
def test_each_task_cleans_up_at_a_stop(oet: Oet, script: str) -> None:
    # trio begins its tasks in whatever order, but each one, also when it is to be cancelled.
    last = {"observing M33", *(["observing M31"] if script == "trio_nursery.py" else [])}
    printed = stop_half_way(oet, script, last.__contains__, dwell=60)
    assert sorted(printed.splitlines()) == ["M31 parked", "M33 parked"]


def test_a_plan_of_bluesky_runs_to_its_end(oet: Oet) -> None:
    assert "motor parked at 0" in run_to_its_end(oet, "bluesky_plan.py", dwell=0.01).splitlines()


def test_the_finalize_plan_of_bluesky_runs_at_a_stop(oet: Oet) -> None:
    printed = stop_half_way(oet, "bluesky_plan.py", re.compile(r"step [1-9]").match, steps=100, dwell=1)
    assert {"motor parked at 0", "the plan was aborted"} <= set(printed.splitlines())


@pytest.mark.parametrize("script", ["joblib_parallel.py", "dask_cluster.py"])
def test_processes_find_the_functions_of_the_script(oet: Oet, script: str) -> None:
    assert {"1", "4", "9", "16"} <= set(run_to_its_end(oet, script).splitlines())


@pytest.mark.parametrize("script", ["joblib_parallel.py", "dask_cluster.py"])
def test_processes_of_a_script_are_gone_after_a_stop(oet: Oet, script: str) -> None:
    printed = stop_half_way(oet, script, lambda activity: activity == "computing", numbers=list(range(50)), seconds=0.2)
    # joblib may have the last word: it warns of a generator that nobody has read to its end.
    assert any("closed" in line for line in printed.splitlines()), printed


def read_powers(path: Path) -> list[float]:
    """Return the powers of a data file, as a program of the recipes' environment reads it."""
    reads = {
        ".h5": "import h5py; print(*h5py.File(path)['power'][:])",
        ".fits": "from astropy.table import Table; print(*Table.read(path)['power'])",
    }
    program = f"import sys; path = sys.argv[1]; {reads[path.suffix]}"
    command = [RECIPES / "python", "-c", program, path]
    return [float(text) for text in subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()]


DATA_FILES = [("data_hdf5.py", "scan.h5"), ("data_fits.py", "scan.fits")]


@pytest.mark.parametrize(("script", "name"), DATA_FILES)
def test_a_data_file_is_whole_at_the_end(oet: Oet, tmp_path: Path, script: str, name: str) -> None:
    run_to_its_end(oet, script, path=str(tmp_path / name), rows=5)
    assert read_powers(tmp_path / name) == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("script", "name"), DATA_FILES)
def test_a_data_file_is_whole_after_a_stop(oet: Oet, tmp_path: Path, script: str, name: str) -> None:
    stop_half_way(oet, script, re.compile(r"row ([3-9]|\d\d)").match, path=str(tmp_path / name), rows=100, dwell=1)
    powers = read_powers(tmp_path / name)
    assert len(powers) >= 3
    assert powers == list(np.arange(len(powers)) * 0.5)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_notebook_that_was_converted_runs(oet: Oet, converted: Path) -> None:
    command = [
        *(RECIPES / "jupyter-nbconvert", "--to", "script", "--output-dir", converted, EXAMPLES / "notebook.ipynb"),
        "--TagRemovePreprocessor.enabled=True",
        "--TagRemovePreprocessor.remove_cell_tags=interactive",
    ]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert run_to_its_end(oet, "notebook.py", dwell=0.01).splitlines() == ["M31 observed", "M33 observed", "parked"]
    printed = stop_half_way(oet, "notebook.py", lambda activity: activity == "observing M33", dwell=5)
    assert printed.splitlines() == ["M31 observed", "parked"]
