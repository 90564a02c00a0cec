"""What scripts print and log, as clients of the device see it."""

from __future__ import annotations

import json
import os
import signal

import pytest
from support.processes import children_of, is_gone
from support.waiting import wait_until

from ska_oet_device.mptools import title_of

TRIALS = {
    "rewrapped.py": (
        'import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")\ndef main(): print("αβγ")\n'
    ),
    "basic_config.py": (
        "import logging\n"
        "def init(path): logging.basicConfig(filename=path, level=logging.DEBUG)\n"
        'def main():\n    logging.debug("x")\n    logging.info("y")\n    print("done")\n'
    ),
}


def written(scratch, name):
    path = scratch / name
    path.write_text(TRIALS[name])
    return str(path)


def test_a_script_may_wrap_its_standard_output_anew(oet, scratch):
    uid = oet.run(written(scratch, "rewrapped.py"))
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert json.loads(oet.proxy.Output(str(uid)))["text"] == "αβγ\n"


def test_a_script_may_configure_its_log_as_in_plain_python(oet, scratch, tmp_path):
    uid = oet.ready(written(scratch, "basic_config.py"), str(tmp_path / "scan.log"))
    oet.start(uid)
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert (tmp_path / "scan.log").read_text() == "DEBUG:root:x\nINFO:root:y\n"
    assert json.loads(oet.proxy.Output(str(uid)))["text"] == "done\n"


def test_a_progress_bar_is_shown_as_a_terminal_shows_it_and_kept_as_it_was_printed(oet, scratch):
    path = scratch / "bar.py"
    path.write_text(
        "import time\ndef main():\n    for n in range(101): print(f'\\r\\x1b[32m{n:3}%\\x1b[0m', end='')\n"
        "    print('\\ndone')\n    time.sleep(600)\n"
    )
    uid = oet.running(str(path))
    wait_until(lambda: oet.proxy.scriptOutput.endswith("done\n"), 20, "it is shown")
    assert oet.proxy.scriptOutput == "100%\ndone\n"
    assert json.loads(oet.proxy.Output(str(uid)))["text"].startswith("\r\x1b[32m  0%")


def test_dots_are_shown_before_their_line_ends(oet, scratch):
    path = scratch / "dots.py"
    path.write_text(
        "import time\nprint('loading', end='')\n"
        "def main():\n    for _ in range(3): print('.', end='')\n    time.sleep(600)\n"
    )
    uid = oet.running(str(path))
    wait_until(lambda: oet.proxy.scriptOutput == "loading...", 20, "it is shown")
    assert json.loads(oet.proxy.Output(str(uid)))["text"] == "loading..."


def test_what_is_printed_at_once_is_kept_within_max_output(oet, scratch):
    path = scratch / "much.py"
    path.write_text("print('first')\nfor _ in range(11): print('x' * 100_000)\nprint('last')\ndef main(): pass\n")
    with oet.properties(MaxOutput="200 kB"):
        uid = oet.run(str(path))
        assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        text, offset, complete = "", 0, False
        while not complete:
            page = json.loads(oet.proxy.Output(json.dumps({"process_uid": uid, "offset": offset})))
            text, offset, complete = text + page["text"], page["next_offset"], page["complete"]
    assert text.startswith("first\n")
    assert text.endswith("x\nlast\n")
    assert "bytes of output were dropped here: MaxOutput" in text
    assert len(text) <= 210_000
    assert offset == 11 * 100_001 + 11


@pytest.mark.long
def test_a_recorder_that_ends_again_and_again_is_told_by_status_and_health_until_one_serves(own_server):
    oet = own_server()

    def recorders():
        return [pid for pid in children_of(oet.server.pid) if title_of(pid) == "oet-output" and not is_gone(pid)]

    oet.ready("good.py")
    for _ in range(3):
        recorder = wait_until(recorders, 20, "a recorder")[0]
        os.kill(recorder, signal.SIGKILL)
        wait_until(lambda: is_gone(recorder), 20, "it has ended")  # noqa: B023
    wait_until(lambda: oet.proxy.healthState.name == "DEGRADED", 20, "health says so")
    wait_until(lambda: "recorder of what scripts print ends again and again" in oet.proxy.Status(), 20, "Status does")
    wait_until(lambda: oet.proxy.healthState.name == "OK", 60, "a recorder has served")
    wait_until(lambda: "recorder" not in oet.proxy.Status(), 20, "Status does not say so any more")
    assert oet.recorder.wait_for_end(oet.run("good.py"))["state"] == "COMPLETE"
