"""bluesky: a Stop aborts the plan, and its finalize plan runs."""

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import RunEngine
from bluesky.utils import DuringTask, RunEngineInterrupted
from ophyd.sim import motor

from ska_oet_device.scripting import report_progress


class AbortAtAStop(DuringTask):
    """What the RunEngine does in the main thread while a plan runs: wait for its end, or for a Stop."""

    def block(self, plan_has_ended):
        try:
            plan_has_ended.wait()
        except KeyboardInterrupt:  # which a Stop is: raised here, it would make the RunEngine panic
            run_engine.abort("stopped")
            plan_has_ended.wait()  # the finalize plan runs meanwhile


run_engine = RunEngine({}, during_task=AbortAtAStop())


def main(steps=5, dwell=0.2):
    try:
        run_engine(bpp.finalize_wrapper(scan(steps, dwell), park))
    except RunEngineInterrupted:
        print("the plan was aborted")


def scan(steps, dwell):
    for step in range(steps):
        report_progress(100 * step / steps, f"step {step}")
        yield from bps.mv(motor, step)
        yield from bps.sleep(dwell)


def park():
    yield from bps.mv(motor, 0)
    print(f"motor parked at {motor.position:g}")
