"""The scripts of examples/, run to their end, and stopped half-way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .tango_server import Oet
from .waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"


def python_blocks(page: str) -> list[str]:
    """Return the blocks of Python on a page of docs/how-to."""
    text = (EXAMPLES.parent / "docs" / "how-to" / page).read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _output(oet: Oet, uid: int) -> str:
    return str(json.loads(oet.proxy.Output(str(uid)))["text"])


def _requested(oet: Oet, script: str, init_args: dict[str, Any], run_args: dict[str, Any]) -> int:
    request = {
        "script": {"script_type": "filesystem", "script_uri": f"file://{script}"},
        "init_args": {"kwargs": init_args},
        "run_args": {"kwargs": run_args},
    }
    return int(json.loads(oet.proxy.Run(json.dumps(request)))["id"])


def run_to_its_end(oet: Oet, script: str, init: dict[str, Any] | None = None, **arguments: Any) -> str:
    """Run a script until it is COMPLETE, and return what it printed."""
    uid = _requested(oet, script, init or {}, arguments)
    end = oet.recorder.wait_for_end(uid, 60)
    assert end["state"] == "COMPLETE", f"{end}\n{_output(oet, uid)}"
    return _output(oet, uid)


def stop_half_way(
    oet: Oet, script: str, is_half_way: Callable[[str], object], init: dict[str, Any] | None = None, **arguments: Any
) -> str:
    """Run a script, stop it when its activity is the wanted one, and return what it printed: all of its clean-up.

    Its process has ended by itself: nothing had to be killed, and nothing went wrong while it cleaned up.
    """
    uid = _requested(oet, script, init or {}, arguments)
    oet.recorder.wait_for_state(uid, "RUNNING")
    wait_until(lambda: is_half_way(oet.proxy.activeActivity or ""), 60, f"{script} is half-way")
    oet.stop(uid, run_abort=False)
    end = oet.recorder.wait_for_end(uid, 60)
    assert (end["state"], end["reason"]) == ("STOPPED", "stopped on request"), f"{end}\n{_output(oet, uid)}"
    end_of_process = oet.summary(uid)["history"]["exit"]
    assert "SIGKILL" not in end_of_process["signals_sent"], end_of_process
    return _output(oet, uid)
