"""The steps of whatever waits for what the device pushes: an outcome, events, progress, output, a report."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from ._answers import CheckReport, LifecycleEvent, ProcedureState, Progress, Summary
from ._errors import Deadlock, NoHistory, UnknownCheck, UnreachableError
from ._items import Item, Look, Reconnected, Value
from ._json import to_json
from ._reported import Reported
from ._steps import PROGRESS, Ask, Give, Next, Read, Steps, Which, insist, summary
from ._watch import Wait

__all__ = ["CHECK", "OUTPUT", "PROGRESS", "check", "events", "outcome", "output", "progress"]

OUTPUT = ("scriptOutput",)
CHECK = ("checkReport",)

_PAGE = 256 * 1024  # bytes of output a call
_RUN_ID = "SKA_OET_RUN_ID"  # what a script's process is told


def outcome(which: Which, wait: Wait, timeout: float | None, *, is_told: bool = False) -> Steps[Summary]:
    """Wait for the outcome of a procedure; returns its summary.

    :param is_told: whether all that has happened since the start that is waited for is among the items
    """
    state = "unknown, since the device does not answer"
    looks = not is_told
    try:
        while True:
            if looks and (known := (yield from _known(which))) is not None:
                state = str(known.state)
                if wait.is_over_by(known):
                    return wait.outcome(known)
            looks = True
            if os.environ.get(_RUN_ID) == which.run_id:
                raise Deadlock(f"procedure {which.uid} ({which.script}) is this script: it would wait for itself")
            while not isinstance((item := (yield Next())), Reconnected):
                if isinstance(item, LifecycleEvent) and item.process_uid == which.uid:
                    state = str(item.state)
                    known = (yield from _known(which)) if wait.is_over(item) else None
                    if known is not None and wait.is_over_by(known, item):  # else somebody has started it since
                        return wait.outcome(known, item)
    except TimeoutError:
        if is_told:  # events may be under way
            with contextlib.suppress(UnreachableError):
                known = yield from summary(which, patient=False)
                state = str(known.state)
                if wait.is_over_by(known):
                    return wait.outcome(known)
        raise TimeoutError(f"procedure {which.uid} ({which.script}) is {state} after {timeout:g} s") from None


def _known(which: Which) -> Steps[Summary | None]:
    """Return what is known of a procedure; None while that stands in a history alone that cannot be read.

    Of what it has missed the device tells when it can.
    """
    try:
        return (yield from summary(which, insists=True))
    except NoHistory:
        return None


def events(since: int | None, which: Which | None = None, *, progress: bool = False) -> Steps[None]:
    """Give the lifecycle events after a number (None: those told from now on); of one procedure, until it has ended."""
    last: int = (yield Read(("lifecycleSequence",)))[0] if since is None else since
    passed: set[tuple[ProcedureState, float]] = set()
    if which is not None and since is None:
        known = yield from summary(which)
        if known.state.is_terminal:
            return
        passed.update(known.states)  # a summary shows a change at once, and its event waits for the durable history
    reported, is_complete = Reported(), False
    while True:
        news: list[LifecycleEvent] = []
        if not is_complete:
            news = [LifecycleEvent.of(data) for data in (yield from insist(Ask("LifecycleEvents", last)))]
            is_complete = not news
        else:
            item: Item = yield Next()
            if isinstance(item, LifecycleEvent):
                is_complete = item.sequence <= last + 1
                news = [item] if item.sequence == last + 1 else []
            elif isinstance(item, Reconnected):
                is_complete = False
                last = last if item.begins_anew is None else item.begins_anew
                if which is not None:
                    yield from summary(which, insists=True)
            if progress and (report := (yield from reported.news(item))):
                yield Give(report)
        for event in news:
            last = event.sequence
            if which is None or (event.process_uid == which.uid and (event.state, event.time) not in passed):
                yield Give(event)
                if which is not None and event.state.is_terminal:
                    return


def progress(which: Which) -> Steps[None]:
    """Give what a script reports of itself, as it changes, until its procedure has ended."""
    known = Reported()
    item: Item = Reconnected()
    while True:
        has_ended = False
        if isinstance(item, LifecycleEvent) and item.process_uid == which.uid and item.state.is_terminal:
            has_ended, item = True, Look()  # the events of its last report may be under way
        if isinstance(item, Reconnected):  # before what it reports is read: it may report more until it has ended
            has_ended = (yield from summary(which, insists=True)).state.is_terminal
        report = yield from known.news(item)
        if report is not None and report.process_uid == which.uid:
            yield Give(Progress(report.percent, report.activity))
        if has_ended:
            return
        item = yield Next()


def output(which: Which, *, follow: bool) -> Steps[None]:
    """Give what a procedure has printed; `follow`: until it has ended."""
    offset = 0
    while True:
        ask = Ask("Output", json.dumps({"process_uid": which.uid, "offset": offset, "limit": _PAGE}))
        page = (yield from insist(ask)) if follow else (yield ask)
        offset = page["next_offset"]
        if page["text"]:
            yield Give(page["text"])
        if page["complete"] or not (page["text"] or follow):
            return
        while not page["text"] and not _may_have_printed(which, (yield Next())):
            pass


def _may_have_printed(which: Which, item: Item) -> bool:
    if isinstance(item, LifecycleEvent):
        return item.process_uid == which.uid
    return isinstance(item, (Look, Reconnected)) or (isinstance(item, Value) and item.attribute in OUTPUT)


def check(asked: dict[str, Any], timeout: float | None) -> Steps[CheckReport]:
    """Have a script checked, and wait for the report; once more, if a restart of the server has lost it."""
    argument = to_json(asked)
    check_id = (yield Ask("Check", argument))["check_id"]
    try:
        while True:
            try:
                report = yield from insist(Ask("CheckReport", check_id))
            except UnknownCheck:
                check_id = (yield from insist(Ask("Check", argument)))["check_id"]
                continue
            if report["complete"]:
                return CheckReport.of(report)
            while isinstance((yield Next()), LifecycleEvent):
                pass
    except TimeoutError:
        raise TimeoutError(f"check {check_id} has no report after {timeout:g} s") from None
