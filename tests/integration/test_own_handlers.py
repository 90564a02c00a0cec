"""A script's own signal handler that raises, at any moment, while the script speaks."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.long

ALARMS = """
    import signal
    from pubsub import pub

    class Enough(Exception):
        pass

    alarms = 0

    def give_up(*_):
        global alarms
        alarms += 1
        raise {error}("too late")

    def main():
        pub.sendMessage("said", text="x" * {size})  # a slow machine may get none through in time
        signal.signal(signal.SIGALRM, give_up)
        for count in range(1, 201):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.002)
                while alarms < count:
                    pub.sendMessage("said", text="x" * {size})
            except {error}:
                pass
        pub.sendMessage("alarms", count=alarms)
"""


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("error", ["TimeoutError", "Enough"])
def test_what_it_raises_is_the_scripts_own_affair(main, script, error, size):
    uid = main.running(script(ALARMS.format(error=error, size=size)))
    assert main.wait_for_end(uid, 100).reason == "completed"
    assert main.said(uid, "alarms") == [{"count": 200}]
    assert {len(said["text"]) for said in main.said(uid, "said")} == {size}
