"""The checks of a device: their ids, what is kept of them, and how many there may be."""

from __future__ import annotations

import time

import pytest
from support.waiting import wait_until

from ska_oet_device.config import Settings
from ska_oet_device.errors import InvalidArgumentError, ScriptNotFoundError, TooManyError, UnknownCheckError
from ska_oet_device.event import Bus, topics
from ska_oet_device.procedure.application import CheckCommand
from ska_oet_device.procedure.application._checks import MOST_KEPT, MOST_WAITING, Checks
from ska_oet_device.procedure.application._model import ScriptContext
from ska_oet_device.procedure.messages import CHECK_STEPS, CheckDone
from ska_oet_device.procedure.script import FileSystemScript, GitScript, ProcedureInput

DONE = {name: {"ok": True, "reason": None, "time": 1.0} for name in CHECK_STEPS if name != "environment"}
PROVENANCE = {"path": "/a.py", "sha256": "0", "git_commit": None, "environment": None}


class Device:
    """The checks of a device, what is asked of main, and the reports that clients are told."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.asked, self.reports = [], []
        self.bus.subscribe(self._on_create, topics.procedure.check.create)
        self.bus.subscribe(self._on_reported, topics.procedure.check.reported)
        self.found = "/a.py"
        self.checks = Checks(self.bus, "d", Settings, self._find)

    def _on_create(self, check):
        self.asked.append(check)

    def _on_reported(self, report):
        self.reports.append(report)

    def _find(self, script):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def check(self, init_args=None, **more):
        command = CheckCommand(FileSystemScript("file://a.py"), init_args or ProcedureInput(), **more)
        return self.checks.check(command, ScriptContext())

    def done(self, check_id, steps=DONE, provenance=PROVENANCE):
        self.bus.publish(
            topics.procedure.check.done, message=CheckDone("d", check_id, steps, "doc", {"main": {}}, provenance)
        )


@pytest.fixture
def device():
    return Device()


def test_main_is_asked_with_all_that_is_known_and_no_procedure_is_named(device):
    check_id = device.check(fn_name="main", run_args=ProcedureInput(3))
    (asked,) = device.asked
    assert (asked.process_uid, asked.check_id, asked.path) == (0, check_id, "/a.py")
    assert (asked.fn_name, asked.run_args) == ("main", {"args": [3], "kwargs": {}})
    assert asked.output == asked.folder == ""
    assert device.checks.run_ids == [asked.run_id]
    assert device.checks.report(check_id) is None


def test_a_check_has_deadlines_though_the_device_has_none(device):
    settings = Settings(load_timeout=0.0, environment_timeout=7.0)
    device.checks = Checks(Bus(), "d", lambda: settings, lambda script: "/a.py")
    device.checks._bus.subscribe(device._on_create, topics.procedure.check.create)
    device.check()
    timeouts = device.asked[0].timeouts
    assert timeouts["LoadTimeout"] == Settings().load_timeout > 0
    assert timeouts["EnvironmentTimeout"] == 7.0


def test_a_report_has_all_steps_and_is_told_once(device):
    check_id = device.check()
    device.done(check_id)
    device.done(check_id)  # main says so once; whatever comes later is nobody's
    (report,) = device.reports
    assert report == device.checks.report(check_id)
    assert [step.step for step in report.steps] == list(CHECK_STEPS)
    assert {step.step: step.ok for step in report.steps} == {**dict.fromkeys(CHECK_STEPS, True), "environment": None}
    assert report.ok
    assert report.provenance == PROVENANCE
    assert device.checks.run_ids == []


def test_a_script_that_is_not_there_is_reported_and_main_is_not_asked(device):
    device.found = ScriptNotFoundError("no file for file://a.py")
    before = time.time()
    report = device.checks.report(device.check())
    assert device.asked == []
    assert not report.ok
    assert (report.steps[0].ok, report.steps[0].reason) == (False, "no file for file://a.py")
    assert report.steps[0].time >= before
    assert all(step.ok is None for step in report.steps[1:])
    assert report.provenance == {"path": None, "sha256": None, "git_commit": None, "environment": None}
    assert device.reports == [report]


def test_what_names_no_script_of_git_is_refused_and_is_no_check(device):
    device.found = InvalidArgumentError("git_repo 'x' is not a URL")
    with pytest.raises(InvalidArgumentError, match="git_repo"):
        device.checks.check(CheckCommand(GitScript("git://a.py"), ProcedureInput()), ScriptContext())
    assert device.checks.run_ids == device.asked == device.reports == []


def test_a_script_that_is_too_large_is_reported(device):
    device.found = InvalidArgumentError("file://a.py has 209715200 bytes")
    report = device.checks.report(device.check())
    assert (report.steps[0].ok, report.steps[0].reason) == (False, "file://a.py has 209715200 bytes")


def test_where_nothing_was_read_the_path_is_the_one_that_was_found(device):
    check_id = device.check()
    device.done(check_id, {"found": {"ok": False, "reason": "no worker", "time": 1.0}}, None)
    assert device.checks.report(check_id).provenance["path"] == "/a.py"


def test_ids_count_up_and_go_on_higher_with_a_later_device_server(device):
    first, second = device.check(), device.check()
    assert second == first + 1
    wait_until(lambda: Device().check() > second, 1, "an id of a device server that is started a moment later")


def test_what_is_not_known_is_refused_with_the_reason(device):
    check_id = device.check()
    for number, why in (
        (check_id + 1, "there is no check"),
        (-3, "there is no check"),
        (5, "an earlier device server"),
    ):
        with pytest.raises(UnknownCheckError, match=why):
            device.checks.report(number)


def test_the_newest_reports_are_kept(device):
    ids = []
    for _ in range(MOST_KEPT + 2):
        ids.append(device.check())
        device.done(ids[-1])
    for gone in ids[:2]:
        with pytest.raises(UnknownCheckError, match=f"is not kept any more: the newest {MOST_KEPT} are"):
            device.checks.report(gone)
    assert all(device.checks.report(check_id) for check_id in ids[2:])


def test_so_many_may_be_under_way_and_no_more(device):
    ids = [device.check() for _ in range(MOST_WAITING)]
    with pytest.raises(TooManyError, match="1000 checks are under way; 1000 are allowed"):
        device.check()
    assert len(device.asked) == MOST_WAITING
    device.done(ids[0])
    assert device.check() == ids[-1] + 1


def test_so_many_bytes_of_arguments_may_be_under_way_and_no_more(device):
    large = ProcedureInput("x" * 1024 * 1024)
    for _ in range(63):
        device.check(large)
    with pytest.raises(TooManyError, match="bytes of arguments are waiting already"):
        device.check(run_args=large)
    device.check()
