"""Who follows a procedure hears of its end, though the device server has crashed meanwhile."""

from __future__ import annotations

import re

import pytest

WAITS = """
import time
from pathlib import Path

def main(go):
    print("before", flush=True)
    while not Path(go).exists():
        time.sleep(0.01)
    print("behind", flush=True)
"""


@pytest.mark.long
def test_a_run_is_followed_to_its_end_across_a_crash_of_the_device_server(oet, device, scratch, tmp_path):
    (scratch / "waits.py").write_text(WAITS)
    go = tmp_path / "go"
    with oet.begun("run", "-f", "waits.py", "--arg", str(go)) as run:
        for line in run.stdout:
            if line == "before\n":
                break
        crashed = device.server.device_server()
        crashed.kill()
        crashed.wait(10)
        device.reconnect()
        go.touch()
        out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, "")
    assert re.search(r"^behind$", out, re.MULTILINE)
    assert out.rstrip().endswith("COMPLETE")
