"""The figures as a person reads them: Markdown, and a comparison of two runs."""

from __future__ import annotations

from .figures import Figure, Report, number
from .goals import markdown_goals, met_goals


def markdown(report: Report) -> str:
    """Return the whole report."""
    about = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = [
        "# Performance",
        "",
        "Written by the benchmark; see [how to measure](../../bench/README.md).",
        "",
        f"    {report.command}",
        "",
        f"{about['processor']}, {about['cores']} cores, {about['memory_GiB']} GiB; Linux {about['kernel']}; "
        f"Python {about['python']}; {versions}. The run took {about.get('seconds', '?')} s.",
        "",
        "Times drift from machine to machine and from day to day; their ratios to the floor of the same run do less.",
        "",
        "## The goals",
        "",
        markdown_goals(report),
        met_goals(report) + ".",
        "",
    ]
    for section in dict.fromkeys(figure.section for figure in report.figures):
        parts += [
            f"## {section}",
            "",
            "| | median | p95 | p99 | unit | × floor | n | |",
            "|---|---:|---:|---:|---|---:|---:|---|",
        ]
        parts += [_row(figure) for figure in report.figures if figure.section == section]
        parts.append("")
    return "\n".join(parts)


def _row(figure: Figure) -> str:
    ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
    p95, p99 = (number(value) if value is not None else "" for value in (figure.p95, figure.p99))
    cells = (figure.name, number(figure.value), p95, p99, figure.unit, ratio, str(figure.count), figure.note)
    return f"| {' | '.join(cells)} |"


def comparison(earlier: Report, now: Report) -> str:
    """Return what has changed since an earlier run: the ratio of the values, and of their ratios to the floors."""
    rows = ["| | earlier | now | now / earlier | the same, by their floors |", "|---|---:|---:|---:|---:|"]
    for figure in now.figures:
        before = earlier.find(figure.name)
        if before is None or figure.value is None or not before.value:
            continue
        by_floor = f"{figure.ratio / before.ratio:.2f}" if figure.ratio and before.ratio else ""
        unit = f" {figure.unit}" if figure.unit else ""
        rows.append(
            f"| {figure.name} | {number(before.value)}{unit} | {number(figure.value)}{unit} "
            f"| {figure.value / before.value:.2f} | {by_floor} |"
        )
    return "\n".join(rows) + "\n"
