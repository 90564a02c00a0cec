"""The states of a procedure: every pair against the drawing in the contract."""

from __future__ import annotations

import itertools

import pytest

from ska_oet_device.procedure.domain import FINAL, TERMINAL, TRANSITIONS, LifecycleMessage, ProcedureState, may_follow

# The drawing of the contract, as it is printed there.
DRAWING = """
    CREATING → IDLE → [PREP_ENV → IDLE] → LOADING → IDLE → [INITIALISING] → READY → RUNNING → READY → COMPLETE
"""
ENDED = {"COMPLETE", "STOPPED", "FAILED", "UNKNOWN"}
ANYWHERE = {"STOPPED", "FAILED", "UNKNOWN"}  # any state that is not terminal → STOPPED | FAILED | UNKNOWN
DROPPED = ("READY", "READY")  # READY → READY: a start was dropped


def paths_of(drawing: str) -> list[list[str]]:
    """Write the drawing out: what stands in brackets may be left out."""
    steps = [step.strip() for step in drawing.replace("[", "→[").replace("]", "]→").split("→")]
    steps = [step for step in steps if step]
    paths: list[list[str]] = [[]]
    optional: list[str] | None = None
    for step in steps:
        if step.startswith("["):
            optional = []
        name = step.strip("[] ")
        if optional is None:
            paths = [[*path, name] for path in paths]
            continue
        if name:
            optional.append(name)
        if step.endswith("]"):
            paths = paths + [path + optional for path in paths]
            optional = None
    return paths


TAKEN_BACK = {("UNKNOWN", "STOPPED"), ("UNKNOWN", "FAILED")}  # UNKNOWN → STOPPED | FAILED
STILL_UNKNOWN = ("UNKNOWN", "UNKNOWN")  # UNKNOWN → UNKNOWN: other processes than before are what is left


def allowed_by_the_contract() -> set[tuple[str, str]]:
    pairs = {pair for path in paths_of(DRAWING) for pair in itertools.pairwise(path)}
    alive = {state.name for state in ProcedureState} - ENDED
    return pairs | {DROPPED, STILL_UNKNOWN} | TAKEN_BACK | set(itertools.product(alive, ANYWHERE))


def test_the_drawing_is_read_as_four_paths():
    paths = paths_of(DRAWING)
    assert len(paths) == 4
    assert ["CREATING", "IDLE", "LOADING", "IDLE", "READY", "RUNNING", "READY", "COMPLETE"] in paths


@pytest.mark.parametrize("previous", list(ProcedureState), ids=lambda state: state.name)
@pytest.mark.parametrize("state", list(ProcedureState), ids=lambda state: state.name)
def test_every_pair_of_states_is_as_the_contract_draws_it(previous, state):
    # IDLE is entered three times and drawn as one state, so what follows one IDLE may follow another.
    assert may_follow(previous, state) == ((previous.name, state.name) in allowed_by_the_contract())


@pytest.mark.parametrize("state", list(ProcedureState), ids=lambda state: state.name)
def test_a_new_procedure_begins_with_creating_only(state):
    assert may_follow(None, state) == (state is ProcedureState.CREATING)


def test_the_terminal_states_are_those_of_the_contract():
    assert {state.name for state in TERMINAL} == ENDED
    assert {state.name for state in ProcedureState if state.is_terminal} == ENDED
    assert {state.name for state in ProcedureState if state.is_final} == ENDED - {"UNKNOWN"}
    assert all(not TRANSITIONS[state] for state in FINAL)


def test_every_state_has_its_row_in_the_table():
    assert set(TRANSITIONS) == set(ProcedureState)


def test_every_state_can_be_reached_and_every_living_state_can_end():
    reached, waiting = set(), [ProcedureState.CREATING]
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            waiting.extend(TRANSITIONS[state])
    assert reached == set(ProcedureState)
    assert all(TRANSITIONS[state] & TERMINAL for state in ProcedureState if not state.is_terminal)


def test_the_states_are_numbered_as_the_tango_enumeration_lists_them():
    names = ["UNKNOWN", "CREATING", "IDLE", "PREP_ENV", "LOADING", "INITIALISING", "READY", "RUNNING"]
    names += ["COMPLETE", "STOPPED", "FAILED"]
    assert [state.name for state in sorted(ProcedureState)] == names
    assert [int(state) for state in sorted(ProcedureState)] == list(range(len(names)))


def test_a_lifecycle_message_tells_who_entered_which_state():
    message = LifecycleMessage(3, ProcedureState.READY)
    assert (message.msg_src, message.new_state) == (3, ProcedureState.READY)
