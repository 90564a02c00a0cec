"""Whatever JSON a client sends, and in whatever order messages arrive: the answers and the states are right.

Parsers and service run in this process; main is a model that announces what real workers would.
OET_HYPOTHESIS_EXAMPLES sets the number of examples; `make test-faults` is the place for many.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.owners import main_process

from ska_oet_device.config import Settings
from ska_oet_device.errors import OetError
from ska_oet_device.event import topics
from ska_oet_device.procedure.application import Caller, ScriptExecutionService
from ska_oet_device.procedure.domain import TRANSITIONS, LifecycleMessage, ProcedureState
from ska_oet_device.procedure.history import HistoryStore
from ska_oet_device.procedure.ui._answers import page_data, request_data, summary_data
from ska_oet_device.procedure.ui._devstring import to_json
from ska_oet_device.procedure.ui._requests import (
    parse_output,
    parse_prepare,
    parse_requests,
    parse_run,
    parse_start,
    parse_stop,
)
from ska_oet_device.procedure.ui._summaries import summaries_json

EXAMPLES = int(os.environ.get("OET_HYPOTHESIS_EXAMPLES", "60"))

relaxed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="OET_HYPOTHESIS_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
S = ProcedureState

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
uids = st.integers(-2, 6) | st.integers() | json_values
uris = st.sampled_from(
    ["file://good.py", "file://broken.py", "file://absent.py", "file:///etc/passwd"]
) | st.text().map("file://".__add__)
scripts = st.fixed_dictionaries(
    {"script_type": st.just("filesystem"), "script_uri": uris},
) | st.fixed_dictionaries(
    {"script_type": st.sampled_from(["git", "filesystem", "x"]), "script_uri": uris | json_values},
    optional={"git_args": json_values, "create_env": json_values, "more": json_values},
)
inputs = st.fixed_dictionaries(
    {}, optional={"args": st.lists(json_values, max_size=3) | json_values, "kwargs": json_values}
)
users = st.none() | st.text(max_size=10)


def requests(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Return requests as text: nearly right ones, any JSON, and no JSON at all."""
    optional = {**fields, "user": users}
    nearly = st.fixed_dictionaries({}, optional=optional) | st.fixed_dictionaries(
        {}, optional={**optional, "unknown": json_values}
    )
    return nearly.map(json.dumps) | json_values.map(json.dumps) | st.text(max_size=30) | uids.map(str)


COMMANDS = {
    "Prepare": requests(script=scripts, init_args=inputs),
    "Run": requests(script=scripts, init_args=inputs, fn_name=st.text(max_size=5) | json_values, run_args=inputs),
    "Start": requests(
        process_uid=uids, fn_name=st.text(max_size=5) | json_values, run_args=inputs, force_start=json_values
    ),
    "Stop": requests(process_uid=uids, run_abort=st.booleans() | json_values),
    "Output": requests(process_uid=uids, offset=uids, limit=uids),
    "Requests": requests(before=uids, limit=uids),
}


class Desk:
    """The parsers and the service, joined as the device joins them."""

    def __init__(self, folder: Path, store: HistoryStore, device: str = "mid-oet/subarray/01") -> None:
        scripts = folder / "scripts"
        scripts.mkdir(exist_ok=True)
        (scripts / "good.py").write_text("def main(*args, **kwargs): pass\n")
        (scripts / "broken.py").write_text("def main(:\n")
        history, problem = store.open(device, "", folder)
        assert (history.problem, problem) == ("", "")
        self.history = history
        self.service = ScriptExecutionService(
            device=device, settings=Settings(script_roots=(str(scripts),)), history=history
        )
        self.service.bus.subscribe(self._created, topics.procedure.management.create)

    def _created(self, msg_src: int, load: Any) -> None:
        """Hear that a process is wanted, as the link does."""

    def ask(self, command: str, text: str) -> Any:
        """Do a command; returns its answer, read from its JSON."""
        service, caller = self.service, Caller("test", None)
        if command == "Prepare":
            return json.loads(to_json(summary_data(service.prepare(parse_prepare(text)[0], caller))))
        if command == "Run":
            run = parse_run(text)[0]
            return json.loads(to_json(summary_data(service.run(run.prepare, run.fn_name, run.run_args, caller))))
        if command == "Start":
            return json.loads(to_json(summary_data(service.start(parse_start(text)[0], caller))))
        if command == "Stop":
            return json.loads(summaries_json(service.stop(parse_stop(text)[0], caller)))
        if command == "Output":
            output = parse_output(text)[0]
            return json.loads(to_json(page_data(service.read_output(output.process_uid, output.offset, output.limit))))
        request = parse_requests(text)[0]
        return json.loads(to_json([request_data(item) for item in service.requests(request.before, request.limit)]))

    def enter(self, uid: int, state: ProcedureState) -> None:
        """Announce a state, as main does."""
        self.service.bus.publish(
            topics.procedure.lifecycle.statechange,
            message=LifecycleMessage(uid, state),
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    store = HistoryStore(main_process())
    yield Desk(tmp_path_factory.mktemp("desk"), store)
    store.close()


def refusal_of(action: Callable[[], Any]) -> OetError | None:
    """Do it; return the refusal, None if it was accepted."""
    try:
        action()
    except OetError as error:
        return error
    return None


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", COMMANDS)
@relaxed
@given(data=st.data())
def test_every_request_is_answered_or_refused_and_a_refusal_changes_nothing(desk, command, data):
    text = data.draw(COMMANDS[command])
    before = desk.service.snapshot().summaries, desk.history.last_sequence
    answers: list[Any] = []
    refusal = refusal_of(lambda: answers.append(desk.ask(command, text)))
    if refusal is not None:
        assert refusal.reason.startswith("OET_")
        assert refusal.reason != "OET_Internal", refusal
        assert (desk.service.snapshot().summaries, desk.history.last_sequence) == before
        return
    (answer,) = answers
    json.dumps(answer).encode("ascii")
    for summary in answer if isinstance(answer, list) else [answer]:
        if "run_id" in summary:
            assert summary["state"] in S.__members__
    for uid, state in [(item.id, item.state) for item in desk.service.snapshot().summaries]:
        if not state.is_terminal:
            desk.enter(uid, S.STOPPED)
    assert desk.history.wait(20)
    assert desk.history.problem == ""


@pytest.mark.timeout(3600)
@relaxed
@given(text=st.text())
@example("\0")
@example("{" * 100_000)
@example('{"script":' * 5_000)
@example("9" * 5_000)
def test_any_text_is_refused_with_a_reason(text):
    for parse in (
        parse_prepare,
        parse_run,
        parse_start,
        parse_stop,
        parse_output,
    ):
        refusal = refusal_of(lambda parse=parse: parse(text))  # type: ignore[misc]
        assert refusal is None or refusal.reason in ("OET_InvalidArgument", "OET_TooLarge")


class Machine(RuleBasedStateMachine):
    """Requests, and announcements of main in any order, the impossible ones included."""

    folder: ClassVar[Path]
    store: ClassVar[HistoryStore]
    numbers: ClassVar[itertools.count[int]] = itertools.count(1)

    @initialize()
    def begin(self) -> None:
        self.device = f"mid-oet/subarray/{next(self.numbers)}"
        self.desk = Desk(self.folder, self.store, self.device)
        self.told: list[Any] = []
        self._note = lambda msg_src, change: self.told.append(change.event)
        self.desk.service.bus.subscribe(self._note, topics.procedure.lifecycle.recorded)

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        assert self.desk.history.wait(20)
        assert self.desk.history.problem == ""
        newest = self.desk.history.last_sequence
        again, _ = self.store.open(self.device, "", self.folder)
        stored = again.events_after(0, 100_000)
        assert [event.sequence for event in stored] == list(range(1, newest + 1))
        assert stored == self.told, "each is told once, in order, and as it is kept"
        for summary in self.desk.service.snapshot().summaries:
            assert again.procedures([summary.id])[summary.id].states == summary.history.process_states

    @rule()
    def prepare(self) -> None:
        self.desk.ask("Prepare", "file://good.py")

    @rule(uid=st.integers(0, 5), force=st.booleans())
    def start(self, uid: int, force: bool) -> None:
        self._try("Start", json.dumps({"process_uid": uid, "force_start": force}))

    @rule(uid=st.integers(0, 5))
    def stop(self, uid: int) -> None:
        self._try("Stop", str(uid))

    @rule(uid=st.integers(0, 5), state=st.sampled_from(list(S)))
    def announce(self, uid: int, state: ProcedureState) -> None:
        before = {item.id: item.state for item in self.desk.service.snapshot().summaries}
        self.desk.enter(uid, state)
        after = {item.id: item.state for item in self.desk.service.snapshot().summaries}
        if uid in before and state in TRANSITIONS[before[uid]]:
            assert after == {**before, uid: state}
        else:
            assert after == before

    @invariant()
    def every_lifecycle_is_possible(self) -> None:
        if not hasattr(self, "desk"):
            return
        for summary in self.desk.service.snapshot().summaries:
            states = [state for state, _ in summary.history.process_states]
            assert states[0] is S.CREATING
            assert states[-1] is summary.state
            assert all(later in TRANSITIONS[earlier] for earlier, later in itertools.pairwise(states))

    def _try(self, command: str, text: str) -> None:
        refusal = refusal_of(lambda: self.desk.ask(command, text))
        assert refusal is None or refusal.reason != "OET_Internal"


@pytest.mark.timeout(3600)
def test_announcements_in_any_order(tmp_path):
    Machine.folder, Machine.store = tmp_path, HistoryStore(main_process())
    try:
        run_state_machine_as_test(
            Machine, settings=settings(relaxed, max_examples=max(10, EXAMPLES // 4), stateful_step_count=25)
        )
    finally:
        Machine.store.close()
