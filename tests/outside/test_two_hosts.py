"""Two hosts that share a PostgreSQL, and start a server for the same device."""

from __future__ import annotations

import os
import signal

import pytest
from support.bare import Bare
from support.processes import suspend
from support.waiting import wait_until

from ska_oet_device.procedure.state import ProcedureState

READY = (int(ProcedureState.READY),)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may take another host's name")
class TestTwoHosts:
    """One PostgreSQL, one device, state folders of their own."""

    def start(self, bare, postgresql, tmp_path, host: str) -> Bare:
        return bare(tmp_path / host, host=host, HistoryUrl=postgresql.url)

    def test_the_second_one_is_refused_while_the_first_one_writes(self, bare, postgresql, tmp_path):
        first = self.start(bare, postgresql, tmp_path, "host-a")
        oet = first.client()
        second = self.start(bare, postgresql, tmp_path, "host-b")
        assert second.server.wait(40) not in (0, None)
        assert "on host host-a, which is writing to it" in second.server.log_text()
        uid = oet.prepare("file://hello.py")
        oet.recorder.wait_for_state(uid, "READY")
        wait_until(lambda: oet.proxy.healthState.name == "OK", 20, "healthState is OK")
        oet.close()
        assert first.server.stop() == 0

    def test_a_server_that_has_ended_is_followed_and_told_of_as_it_was(self, bare, postgresql, tmp_path):
        first = self.start(bare, postgresql, tmp_path, "host-a")
        oet = first.client()
        uid = oet.prepare("file://hello.py")
        oet.recorder.wait_for_state(uid, "READY")
        # What is told is not on record yet where the database takes more than a second for it.
        wait_until(lambda: READY in postgresql.execute("SELECT state FROM lifecycle"), what="it is on record")
        oet.close()
        first.server.process.kill()
        first.server.wait()
        second = self.start(bare, postgresql, tmp_path, "host-b")
        oet = second.client()
        assert oet.summary(uid)["history"]["exit"]["reason"] == (
            "server restarted while the procedure was READY; it ran on host host-a"
        )
        assert oet.prepare("file://hello.py") == uid + 1
        oet.close()
        assert second.server.stop() == 0

    def test_a_server_that_was_cut_off_and_taken_over_is_in_alarm(self, bare, postgresql, tmp_path):
        first = self.start(bare, postgresql, tmp_path, "host-a")
        oet = first.client()
        device_server = first.server.device_server()
        for process in (first.server.process, device_server):  # main, too: it kills a device server that hangs
            suspend(process.pid)
        second = self.start(bare, postgresql, tmp_path, "host-b")
        later = second.client()
        for process in (device_server, first.server.process):
            process.send_signal(signal.SIGCONT)
        wait_until(lambda: oet.proxy.state().name == "ALARM", 20, "State is ALARM")
        assert "was taken over by main process" in oet.proxy.status()
        assert "on host host-b" in oet.proxy.status()
        uid = later.prepare("file://hello.py")
        later.recorder.wait_for_state(uid, "READY")
        wait_until(lambda: later.proxy.healthState.name == "OK", 20, "healthState is OK")
        for each, server in ((oet, first.server), (later, second.server)):
            each.close()
            assert server.stop() == 0
