"""What one main leaves to the next, for want of a device server to tell it to."""

from typing import Any

from ska_oet_device.procedure import messages
from ska_oet_device.procedure.state import ProcedureState
from ska_oet_device.procedure.supervision._journal import Journal
from ska_oet_device.procedure.supervision._unheard import UnheardFile

DEVICE = "mid-oet/subarray/01"
HOW = {"exit_code": None, "signal": 9, "reason": "häßlich", "signals_sent": ["SIGTERM"], "reaped": [1]}


def change(state: ProcedureState, time: float, **details: Any) -> messages.LifecycleMessage:
    return messages.LifecycleMessage(3, state, DEVICE, time, **details)


def test_the_next_main_announces_what_this_one_could_tell_nobody(tmp_path):
    journal, file = Journal(), UnheardFile(tmp_path / "made" / "unheard.json")
    journal.announce(messages.ProvenanceMessage(3, {"path": "/a.py", "sha256": "…"}, DEVICE))
    journal.announce(change(ProcedureState.READY, 1.5))
    journal.announce(change(ProcedureState.FAILED, 2.5, reason="häßlich", exit=HOW))
    journal.acknowledge(1)
    file.write(journal.unheard())
    later = Journal()
    later.repeat(file.read())
    ready, failed = later.unheard()
    assert (ready.number, ready.new_state, ready.time) == (1, ProcedureState.READY, 1.5)
    assert failed == change(ProcedureState.FAILED, 2.5, reason="häßlich", exit=HOW, number=2)


def test_the_file_goes_when_all_of_it_is_heard(tmp_path):
    journal, file = Journal(), UnheardFile(tmp_path / "unheard.json")
    journal.announce(change(ProcedureState.READY, 1.5))
    journal.announce(change(ProcedureState.FAILED, 2.5))
    file.write(journal.unheard())
    journal.on_all_heard = file.remove
    journal.acknowledge(1)
    assert file.path.exists()
    journal.acknowledge(2)
    assert not file.path.exists()
    assert file.read() == []


def test_a_file_that_cannot_be_read_or_written_is_told_of_and_harms_nobody(tmp_path, caplog):
    broken = UnheardFile(tmp_path / "unheard.json")
    broken.path.write_text('[["NoMessage", [1]]]')
    assert broken.read() == []
    broken.path.write_text("[[")
    assert broken.read() == []
    journal = Journal()
    journal.announce(change(ProcedureState.STOPPED, 1.5, reason="the server was shut down"))
    UnheardFile(broken.path / "in" / "a-file.json").write(journal.unheard())
    assert caplog.text.count("cannot be read") == 2
    assert "mid-oet/subarray/01#3 ended at 1.500: STOPPED, the server was shut down" in caplog.text
    assert "cannot be kept" in caplog.text


def test_without_a_file_it_is_merely_told(caplog):
    journal, file = Journal(), UnheardFile(None)
    journal.announce(change(ProcedureState.STOPPED, 1.5, reason="the server was shut down"))
    file.write(journal.unheard())
    assert "mid-oet/subarray/01#3 ended at 1.500: STOPPED, the server was shut down" in caplog.text
    assert file.read() == []
    file.remove()
