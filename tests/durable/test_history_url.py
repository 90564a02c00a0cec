"""The history's URL may come from the server's environment, and goes no further than to the device server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango
from support.durable import QUICK
from support.tango_server import Database, Oet, serving
from support.waiting import wait_until

pytestmark = pytest.mark.long

VARIABLE = "OET_HISTORY_URL"
PASSWORD = "open-sesame-7f3a"
LOOKS = f"""
import glob, os
def main():
    found = [name for name in os.environ if name == "{VARIABLE}"]
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            text = open(path, "rb").read()
        except OSError:
            continue
        if b"SKA_OET_TEST_MARK=" + os.environb[b"SKA_OET_TEST_MARK"] in text and b"{VARIABLE}" in text:
            found.append(path)
    print("found:", found)
"""

_numbers = itertools.count(1)


@pytest.fixture
def serve(database: Database, tmp_path: Path) -> Iterator[Callable[..., Oet]]:
    """Return a function that starts a server with a value of the variable; it is to end well."""
    (tmp_path / "looks.py").write_text(LOOKS)
    with ExitStack() as started:

        def start(value: str, **properties: Any) -> Oet:
            name = f"url-{next(_numbers)}"
            served = serving(
                database,
                name,
                f"mid-oet/{name}/01",
                tmp_path / name,
                environment={VARIABLE: value},
                ScriptRoots=[tmp_path],
                **QUICK,
                **properties,
            )
            return started.enter_context(served)

        yield start


def completes(oet: Oet) -> int:
    uid = oet.run("looks.py")
    wait_until(lambda: oet.state(uid) == "COMPLETE", 60, "the script completes")
    return uid


def printed(oet: Oet, uid: int) -> str:
    return str(json.loads(oet.proxy.Output(str(uid)))["text"])


def shown_of(process: psutil.Process) -> str:
    """Return what ps shows of a process: its arguments, and with the option e its environment; "" if it has ended."""
    folder = Path(f"/proc/{process.pid}")
    try:
        return " ".join((folder / name).read_text(errors="replace") for name in ("cmdline", "environ"))
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_it_is_used_again_behind_a_crash_and_no_script_log_status_or_ps_shows_it(serve, postgresql):
    oet = serve(postgresql.url.replace("postgres@", f"postgres:{PASSWORD}@") + "\n")
    first = completes(oet)
    assert "found: []" in printed(oet, first)
    before = oet.server.device_server()
    before.kill()
    wait_until(lambda: [each.pid for each in oet.server.device_servers()] not in ([], [before.pid]), 60)
    oet.reconnect()
    second = completes(oet)
    assert "found: []" in printed(oet, second)
    wait_until(
        lambda: postgresql.execute("SELECT id FROM procedure WHERE state = 8 ORDER BY id") == [(first,), (second,)], 20
    )
    assert list(oet.server.state_folder.glob("history*")) == []
    assert [process.pid for process in oet.server.tree() if PASSWORD in shown_of(process)] == []
    assert PASSWORD not in oet.server.log_text()
    assert PASSWORD not in oet.proxy.Status()


def test_the_property_goes_before_it(serve, tmp_path):
    oet = serve(f"sqlite:///{tmp_path}/variable.sqlite3", HistoryUrl=f"sqlite:///{tmp_path}/property.sqlite3")
    completes(oet)
    assert [path.name for path in tmp_path.glob("*.sqlite3")] == ["property.sqlite3"]


def test_a_value_that_is_no_url_is_told_without_being_shown(serve):
    oet = serve(f"postgresql://oet:{PASSWORD}@1@host/name")
    assert oet.proxy.state() == tango.DevState.ALARM
    assert f"The environment variable {VARIABLE} is not the URL of a database" in oet.proxy.Status()
    completes(oet)
    assert (oet.server.state_folder / "history.sqlite3").exists()
    assert PASSWORD not in oet.proxy.Status()
    assert PASSWORD not in oet.server.log_text()
