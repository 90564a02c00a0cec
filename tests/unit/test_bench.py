"""The benchmark's own arithmetic."""

from __future__ import annotations

import json

import pytest
from bench import floors, taranta
from bench.figures import Figure, Report, number, of_samples, percentile, report_of
from bench.goals import GOALS, markdown_goals, met_goals, verdict
from bench.table import comparison, markdown

MACHINE = {"processor": "p", "cores": 2, "memory_GiB": 1, "kernel": "k", "python": "3", "versions": {"pytango": "10"}}


def report(**values: float) -> Report:
    made = Report(MACHINE, "python -m bench")
    made.figures = [Figure("section", name, "ms", value, floor=2.0) for name, value in values.items()]
    return made


def test_percentiles_are_samples_by_nearest_rank():
    assert percentile(range(1, 101), 95) == 95
    assert percentile(range(1, 101), 99) == 99
    assert percentile([7], 95) == 7
    assert percentile([3, 1, 2], 50) == 2


def test_samples_in_seconds_become_a_median_in_milliseconds():
    figure = of_samples("section", "name", [0.001, 0.003, 0.002], floor=1.0)
    assert (figure.value, figure.p95, figure.count, figure.ratio) == (2.0, 3.0, 3, 2.0)


def test_what_could_not_be_measured_has_no_ratio_and_is_shown_as_such():
    figure = Figure("section", "name", "ms", None, floor=1.0, note="not installed")
    assert figure.ratio is None
    assert number(figure.value) == "–"
    made = report()
    made.figures.append(figure)
    assert "| name | – |  |  | ms |  | 1 | not installed |" in markdown(made)


def test_a_report_comes_back_from_json():
    made = report(one=1.5)
    assert report_of(json.loads(json.dumps(made.as_data()))).figures == made.figures


def test_two_runs_are_compared_by_value_and_by_floor():
    assert "| one | 2 ms | 3 ms | 1.50 | 1.50 |" in comparison(report(one=2.0), report(one=3.0, other=1.0))


@pytest.mark.parametrize(("value", "expected"), [(2.9, "met"), (3.1, "**not met**"), (5.5, "**not met**")])
def test_a_goal_with_a_floor_is_met_near_it_only(value, expected):
    made = report(**dict.fromkeys((floors.COMMAND, floors.COMMAND_AND_EVENT, floors.FORK), 2.0 / 3))
    made.figures.append(Figure("section", "prepare → READY, no imports, warm", "ms", value))
    assert verdict(GOALS[0], made) == expected


def test_goals_that_were_not_measured_are_not_met():
    assert met_goals(report()) == f"0 of {len(GOALS)} goals are met, {len(GOALS)} not measured"
    assert markdown_goals(report()).count("not measured") == len(GOALS)


def test_without_tangogql_the_benchmark_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(taranta, "PROGRAMS", tmp_path)
    made = report()
    taranta.measure(made, None, 1, quick=True)
    (figure,) = made.figures
    assert (figure.value, figure.note) == (None, ".venv-taranta is missing: make .venv-taranta/.up-to-date")
