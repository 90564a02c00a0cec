"""Measures everything, or parts of it, and writes a table (Markdown) and the figures (JSON)."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from pathlib import Path

from . import (
    checks,
    cost,
    floors,
    latency,
    peers,
    probe,
    retention,
    scale,
    subscribers,
    taranta,
    throughput,
    typed_client,
)
from .figures import Report, machine, report_of
from .goals import markdown_goals, met_goals
from .stack import Stack
from .table import comparison, markdown

PARTS = (
    "latency",
    "client",
    "throughput",
    "checks",
    "subscribers",
    "cost",
    "probe",
    "history",
    "taranta",
    "peers",
    "scale",
    "million",
)
NOT_QUICK = ("peers", "scale", "million")
FULL, QUICK = 300, 40  # rounds


def main() -> int:
    """Run the parts that were asked for; the floors are always measured, since everything is compared with them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; none means all")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, short observations, no peers, scale or million: two minutes"
    )
    parser.add_argument("--rounds", type=int, help=f"rounds of each latency ({FULL}; {QUICK} if quick)")
    parser.add_argument("--peers", type=Path, help="virtual environment with sardana and bluesky-queueserver")
    parser.add_argument(
        "--servers",
        type=int,
        help=f"of the part scale, at once ({scale.SERVERS}; {scale.SERVERS_IF_QUICK} if quick); 140 MB of memory each",
    )
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    parser.add_argument("--compare", type=Path, help="JSON of an earlier run, to be compared with")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    parts = options.parts or [part for part in PARTS if not (options.quick and part in NOT_QUICK)]
    rounds = options.rounds or (QUICK if options.quick else FULL)
    report = Report(machine(), shlex.join(["python", "-m", "bench", *sys.argv[1:]]))
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended by that, too
    with Stack() as stack:
        floors.measure(report, stack, rounds)
        if "latency" in parts:
            latency.measure(report, stack, rounds)
        if "client" in parts:
            typed_client.measure(report, stack, rounds)
        if "throughput" in parts:
            throughput.measure(report, stack, quick=options.quick)
        if "checks" in parts:
            checks.measure(report, stack, quick=options.quick)
        if "subscribers" in parts:
            subscribers.measure(report, stack, quick=options.quick)
        if "cost" in parts:
            cost.measure(report, stack, quick=options.quick)
        if "probe" in parts:
            probe.measure(report, stack, quick=options.quick)
        if "history" in parts:
            retention.measure_history(report, stack, quick=options.quick)
        if "taranta" in parts:
            taranta.measure(report, stack, rounds, quick=options.quick)
        if "peers" in parts:
            peers.measure(report, stack, options.peers, rounds)
        if "million" in parts:
            retention.measure(report, stack)
        if "scale" in parts:
            scale.measure(report, stack, options.servers, quick=options.quick)
    report.machine["seconds"] = round(time.monotonic() - began)
    print("\n" + markdown_goals(report))
    if options.compare:
        print(comparison(report_of(json.loads(options.compare.read_text())), report))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report.as_data(), indent=1, ensure_ascii=False) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown(report))
    print(f"{met_goals(report)}; {report.machine['seconds']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
