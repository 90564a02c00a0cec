"""The goals of the project, and whether a run has met them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import checks, cost, floors, retention, subscribers, throughput, typed_client
from .figures import Report, number


@dataclass(frozen=True)
class Goal:
    """A goal: what it is about, what is asked for, the figure it is about, and whether that meets it."""

    what: str
    asked: str
    found: Callable[[Report], float | None]
    met: Callable[[Report, float], bool]
    unit: str = "ms"


def _value(name: str) -> Callable[[Report], float | None]:
    return lambda report: report.value(name)


def _at_most(limit: float) -> Callable[[Report, float], bool]:
    return lambda report, value: value <= limit


def _at_least(limit: float) -> Callable[[Report, float], bool]:
    return lambda report, value: value >= limit


def _near_floor(
    limit: float, factor: float, floor: Callable[[Report], float | None]
) -> Callable[[Report, float], bool]:
    def met(report: Report, value: float) -> bool:
        least = floor(report)
        return least is not None and value < limit and value <= factor * least

    return met


def _ratio(first: str, second: str) -> Callable[[Report], float | None]:
    def ratio(report: Report) -> float | None:
        upper, lower = report.value(first), report.value(second)
        return upper / lower if upper is not None and lower else None

    return ratio


def _percent(part: str, whole: str) -> Callable[[Report], float | None]:
    def percent(report: Report) -> float | None:
        upper, lower = report.value(part), report.value(whole)
        return 100 * upper / lower if upper is not None and lower else None

    return percent


def _all_delivered_at_full_rate(report: Report, value: float) -> bool:
    rate = report.value(throughput.changes(10))
    return value == 100 and rate is not None and rate >= 0.98 * throughput.RATE


_PREPARE, _START = "prepare → READY, {}, warm", "start → RUNNING, no imports, warm"
_PLAIN, _IMPORTS = _PREPARE.format("no imports"), _PREPARE.format("tango, numpy")

GOALS = (
    Goal(
        "prepare → READY, warm",
        "1.5 × its floor, and under 5 ms",
        _value(_PLAIN),
        _near_floor(5.0, 1.5, floors.prepare_floor),
    ),
    Goal(
        "start → RUNNING",
        "1.5 × (command + event floor), under 2 ms",
        _value(_START),
        _near_floor(2.0, 1.5, floors.start_floor),
    ),
    Goal(
        "stop of a sleeping script → STOPPED",
        "under 6 ms",
        _value("stop of a sleeping script → STOPPED, warm"),
        _at_most(6.0),
    ),
    Goal(
        "script that imports tango and numpy: prepare → READY",
        "as a script without imports, + 20 %",
        _ratio(_IMPORTS, _PLAIN),
        _at_most(1.2),
        "×",
    ),
    Goal(
        "one client, Run → COMPLETE in sequence", "80 procedures/s", _value(throughput.ONE_CLIENT), _at_least(80), "1/s"
    ),
    Goal(
        "OetClient, Run → COMPLETE",
        "10 % more than a bare DeviceProxy",
        _percent(typed_client.DIFFERENCE, typed_client.BARE),
        _at_most(10),
        "%",
    ),
    Goal(
        "the last hundred of them",
        "as fast as the first (± 20 %)",
        _value(throughput.LAST_AGAINST_FIRST),
        _at_most(1.2),
        "× time",
    ),
    Goal(
        "lifecycle events to 10 subscriber processes",
        "every one delivered at 500 changes/s",
        _value(throughput.delivered(10)),
        _all_delivered_at_full_rate,
        "%",
    ),
    Goal(
        "lifecycle events beside 100 ended procedures of 100 kB arguments",
        "10 ms from the change to a client",
        _value(subscribers.LAG),
        _at_most(10),
    ),
    Goal(
        "a subscriber that was stopped, 100 procedures later",
        "less than 10 MB more in the device server",
        _value(subscribers.STOPPED),
        _at_most(10),
        "MB",
    ),
    Goal("100 checks of 100 scripts", "5 s", _value(checks.HUNDRED), _at_most(5000)),
    Goal("script messages", "50,000/s", _value(throughput.MESSAGES), _at_least(50_000), "1/s"),
    Goal("script messages", "none lost", _value(throughput.LOST_MESSAGES), _at_most(0), "lost"),
    # Main asks the device server for an answer every 2 s (decision 21).
    Goal("idle", "2 wake-ups a second in main and in the workers", _value(cost.WAKE_UPS), _at_most(2), "1/s"),
    Goal("one prepared script", "4 MB PSS", _value(cost.PREPARED_PSS), _at_most(4.0), "MB"),
    Goal(
        "a state change with 100,000 procedures in the history",
        "as with 10, ± 20 %",
        _ratio(retention.CHANGE.format(f"{retention.LONG:,}"), retention.CHANGE.format("10")),
        _at_most(1.2),
        "×",
    ),
)


def verdict(goal: Goal, report: Report) -> str:
    """Return whether a goal is met: yes, no, or that it was not measured."""
    value = goal.found(report)
    if value is None:
        return "not measured"
    return "met" if goal.met(report, value) else "**not met**"


def markdown_goals(report: Report) -> str:
    """Return a table of the goals."""
    rows = ["| | goal | measured | |", "|---|---|---|---|"]
    for goal in GOALS:
        value = goal.found(report)
        measured = f"{number(value)} {goal.unit}" if value is not None else "–"
        rows.append(f"| {goal.what} | {goal.asked} | {measured} | {verdict(goal, report)} |")
    return "\n".join(rows) + "\n"


def met_goals(report: Report) -> str:
    """Return how many goals are met, in a sentence."""
    verdicts = [verdict(goal, report) for goal in GOALS]
    missing = verdicts.count("not measured")
    note = f", {missing} not measured" if missing else ""
    return f"{verdicts.count('met')} of {len(GOALS)} goals are met{note}"
