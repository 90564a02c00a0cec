"""A fault of our own, wherever main works for a procedure: that procedure gets its end, and no other one suffers.

The faults are put into main from outside: the environment has its interpreter change the function through which all of
this passes.  Procedure n meets its fault at the n-th step that is done for it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.processes import children_of, is_gone
from support.sources import NOTHING
from support.waiting import wait_until

from ska_oet_device.procedure import messages

STEPS = 24  # done for a procedure from its request to its end; there are some 15

INJECTED = """
import sys
if "_engine_main" in " ".join(sys.orig_argv):
    from ska_oet_device.procedure.supervision import _guard
    HOW = {how!r}
    steps = {{}}
    def call_for(owner, function, *args, **kwargs):
        key = getattr(owner, "key", ("", 0))
        steps[key] = steps.get(key, 0) + 1
        is_due = "victims" in key[0] and (steps[key] == key[1] or HOW == "again and again" and steps[key] > key[1])
        try:
            if is_due and HOW != "after the step":
                raise ZeroDivisionError("injected")
            function(*args, **kwargs)
            if is_due:
                raise ZeroDivisionError("injected")
        except Exception as error:
            owner.fail_internally(error)
    _guard.call_for = call_for
"""


@pytest.mark.long
@pytest.mark.parametrize("how", ["instead of the step", "after the step", "again and again"])
def test_each_step_for_a_procedure_may_fail_and_its_end_is_told_all_the_same(new_main, script, tmp_path, how):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(INJECTED.format(how=how))
    source = str(Path(messages.__file__).parents[3])
    main = new_main(env={"PYTHONPATH": os.pathsep.join([source, str(folder)])})
    path = script(NOTHING)
    bystander = main.ready(path, device="mid-oet/subarray/02")
    lasting = {main.wait_for_template(), main.wait_for(bystander, "READY").os_pid}

    def nothing_is_left() -> bool:
        """Say whether every victim has been reaped: by then it may have had another title, and has none when dead."""
        return set(children_of(main.pid)) - set(main.spares()) <= lasting

    failed = 0
    for _ in range(STEPS):
        # One that had to be let go has its turn until its process has gone: the start of the next one would be dropped.
        wait_until(nothing_is_left, 20, "the end of the process before")
        uid = main.create(path, device="victims", grace=0.5)
        main.run(uid, force=True, device="victims")
        end = main.wait_for_end(uid)
        if end.reason != "completed":
            failed += 1
            assert end.new_state.name == "FAILED"
            # What may follow is that the process has ended by itself meanwhile, which is no clean-up.
            assert end.reason.startswith("internal fault of OET: ZeroDivisionError: injected"), end
    assert failed > 5
    wait_until(nothing_is_left, 20, "the end of every process but the bystander's")
    ends = [change for change in main.told.changes if change.new_state.is_terminal]
    assert len(ends) == STEPS
    main.run(bystander, device="mid-oet/subarray/02")
    assert main.wait_for_end(bystander).reason == "completed"


def test_a_request_that_cannot_be_carried_out_keeps_none_back_that_follows(main, script):
    path = script(NOTHING)
    main.send(messages.Load(99, "run", {}, "", [], {}, {}, {}, None, device=None))  # no device server says this
    uid = main.ready(path)
    main.run(uid)
    assert main.wait_for_end(uid).reason == "completed"
    assert is_gone(main.pid) is False
