"""Whatever a client sends, up to a megabyte: it is answered, or refused for a reason, and keeps nobody waiting.

OET_HYPOTHESIS_EXAMPLES sets the number of examples of the long test.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import pytest
import tango
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.tango_server import SCRIPTS, TERMINAL, Oet
from support.waiting import wait_until

EXAMPLES = int(os.environ.get("OET_HYPOTHESIS_EXAMPLES", "1500"))
MIB = 1024 * 1024
LONGEST = 2.0  # seconds of the processor for one request, and for what else goes on: ten times what is promised
SLOWEST_READ = 20.0  # seconds: ten times that, since others may use the machine, too
MEMORY = 120 * MIB  # what a thousand requests may leave in the device server's allocator
HISTORY = 100 * MIB
REASONS = {
    *("OET_InvalidArgument", "OET_UnknownProcedure", "OET_InvalidState", "OET_Busy", "OET_ScriptNotFound"),
    *("OET_NotAllowed", "OET_TooMany", "OET_TooLarge"),
}

# -- what is sent: a request that is right but for one thing, which is exploded

BASES: dict[str, list[dict[str, Any]]] = {
    "Prepare": [
        {"script": {"script_type": "filesystem", "script_uri": "file://takes.py"}, "init_args": {"args": [1]}},
        {
            "script": {
                "script_type": "git",
                "script_uri": "git://a/b.py",
                "git_args": {"git_repo": "https://host.invalid/a.git", "git_branch": "main", "git_commit": None},
                "create_env": False,
            }
        },
    ],
    "Start": [{"process_uid": 1, "fn_name": "step", "run_args": {"args": [], "kwargs": {"a": 1}}, "force_start": True}],
    "Stop": [{"process_uid": 1, "run_abort": False, "user": "Ada"}],
    "Output": [{"process_uid": 1, "offset": 0, "limit": 100}],
    "Requests": [{"before": 0, "limit": 10}],
}
BASES["Run"] = [{**base, "fn_name": "main", "run_args": {"kwargs": {"a": [None]}}} for base in BASES["Prepare"]]

PIECES = {
    "text": '"{}"',
    "list": "[{}1]",
    "object": '{{"k":{}1}}',
}
FILLINGS = [
    *("a", "é", "%41", "/a", "../", ".", " ", "\\n", "\\u00e9", "\\ud83d\\ude00", "'", "@", "://", "%", "\\\\", "|"),
    *("\\u0000", "\\u001b[2J", "\\u2028"),
]
ITEMS = [
    "1,",
    "[],",
    "{},",
    '"",',
    "null,",
    '{"a":1},',
    "-1.5e300,",
    "[[[[[[[[1]]]]]]]],",
    "123456789012345678901234567890,",
]
ODD = [
    *(
        "NaN",
        "Infinity",
        "1e999",
        "-0.0",
        "9" * 4000,
        "9" * 5000,
        "1" + "0" * 100_000,
        "null",
        "true",
        "",
        "{",
        "[",
        '"',
    ),
    *("[" * 100, "[" * 100_000, '{"a":' * 50_000, "[" * 90 + "]" * 90, '"\\ud800"', "\\", "\ufeff", "'a'"),
]
SIZES = [0, 1, 30, 4_000, 60_000, 1_000_000, MIB + 10]
MARK = "@@@"


class Sent(NamedTuple):
    """A request; shown shortly when it fails."""

    command: str
    argument: Any

    def __repr__(self) -> str:
        text = repr(self.argument)
        return f"{self.command}({text[:400]}{'...' if len(text) > 400 else ''}), {len(text)} characters"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something may be put in the place of something else."""
    yield path
    for key in value if isinstance(value, dict) else ():
        yield from places(value[key], (*path, key))


def with_mark(value: Any, path: tuple[Any, ...], *, as_key: bool) -> Any:
    if not path:
        return {**value, MARK: 1} if as_key and isinstance(value, dict) else MARK
    return {key: with_mark(item, path[1:], as_key=as_key) if key == path[0] else item for key, item in value.items()}


@st.composite
def exploded(draw: st.DrawFn) -> str:
    """Return a value, as text, that is large, deep, long or none at all."""
    size = draw(st.sampled_from(SIZES))
    kind = draw(st.sampled_from(["text", "list", "keys", "odd", "uri", "digits"]))
    if kind == "odd":
        return draw(st.sampled_from(ODD))
    if kind == "digits":
        return "7" * size
    if kind == "keys":
        return "{" + ",".join(f'"k{number}":1' for number in range(size // 10)) + "}"
    if kind == "list":
        item = draw(st.sampled_from(ITEMS))
        return f"[{item * (size // len(item))}1]"
    filling = draw(st.sampled_from(FILLINGS))
    prefix = draw(st.sampled_from(["file://", "git://", "https://host.invalid/"])) if kind == "uri" else ""
    return f'"{prefix}{filling * (size // len(filling))}"'


@st.composite
def requests(draw: st.DrawFn, command: str) -> str:
    base = draw(st.sampled_from(BASES[command]))
    value = draw(exploded())
    if draw(st.integers(0, 9)) == 0:
        return value.strip('"') if draw(st.booleans()) else value
    arguments = [path for path in places(base) if path[:1] in (("init_args",), ("run_args",))]
    path = draw(st.sampled_from(list(places(base))) | st.sampled_from(arguments or [()]))
    as_key = value.startswith('"') and draw(st.integers(0, 4)) == 0
    return json.dumps(with_mark(base, path, as_key=as_key)).replace(f'"{MARK}"', value)


numbers = st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)


@st.composite
def arrays(draw: st.DrawFn) -> list[int]:
    size = draw(st.sampled_from([0, 1, 2, 249, 251, 20_000, 130_000]))
    first, step = draw(numbers), draw(st.sampled_from([0, 1]))
    return [max(-(2**63), min(2**63 - 1, first + step * number)) for number in range(size)]


COMMANDS: dict[str, st.SearchStrategy[Any]] = {
    **{name: requests(name) for name in BASES},
    "Summarise": arrays(),
    "LifecycleEvents": numbers,
    "ScriptEvents": numbers,
    "RemoveEnvironment": exploded(),
    "OverrideWaitForQaReady": st.none(),
    "Environments": st.none(),
}
anything = st.sampled_from(sorted(COMMANDS)).flatmap(
    lambda name: COMMANDS[name].map(lambda argument: Sent(name, argument))
)


# -- a second client, in a process of its own

WATCH = """
import json, sys, threading, time, tango
proxy = tango.DeviceProxy(sys.argv[1])
proxy.set_timeout_millis(60_000)
slowest, ended = 0.0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
proxy.state()
print("reads", flush=True)
count = 0
while not ended.is_set():
    begun = time.monotonic()
    proxy.read_attribute("State")
    slowest, count = max(slowest, time.monotonic() - begun), count + 1
    time.sleep(0.002)
print(json.dumps([slowest, count]), flush=True)
"""


@contextmanager
def state_is_read(oet: Oet) -> Iterator[list[float]]:
    """Have another client read State all the time; the list has the slowest read (seconds) and the number of reads."""
    client = subprocess.Popen(
        [sys.executable, "-c", WATCH, oet.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told: list[float] = []
    try:
        assert client.stdout is not None
        assert client.stdout.readline() == "reads\n"
        yield told
    finally:
        answer, _ = client.communicate("\n", timeout=60)
        if answer.strip():
            told += json.loads(answer)


TAKES = """
def init(*args, **kwargs): pass
def step(*args, **kwargs): pass
def main(*args, **kwargs): pass
"""


class Sender:
    """Sends requests to one device, and looks what each costs."""

    def __init__(self, oet: Oet) -> None:
        self.oet = oet
        self.server: psutil.Process = oet.server.device_server()
        self.slowest: tuple[float, str, str] = (0.0, "", "")
        self.reasons: set[str] = set()
        self.accepted = 0
        self.uid = 0
        self.calls: dict[str, Callable[..., Any]] = {name: getattr(oet.proxy, name) for name in COMMANDS}

    def send(self, command: str, argument: Any) -> None:
        if isinstance(argument, str):  # what a DevString can carry; escapes in JSON bring the rest
            argument = argument.replace('"process_uid": 1,', f'"process_uid": {self.uid},')
            argument = argument.encode("latin-1", "replace").decode("latin-1").replace("\0", "")
        before = self._processor()
        answer = None
        try:
            answer = self.calls[command](*() if argument is None else (argument,))
        except tango.DevFailed as failure:
            reason, text = failure.args[0].reason, failure.args[0].desc
            self.reasons.add(reason)
            assert reason in REASONS, (reason, text[:300], command, str(argument)[:300])
            assert len(text) < 5000
        took = self._processor() - before
        self.slowest = max(self.slowest, (took, command, str(argument)[:200]))
        if isinstance(answer, str):
            self.accepted += 1
            self._stop_what_it_began(json.loads(answer))

    def keep_one_alive(self) -> None:
        """See that there is a procedure that can be started; the requests name it as number 1."""
        if not self.uid or self.oet.state(self.uid) in TERMINAL:
            self.uid = wait_until(self._prepared, 30, "one more may be prepared")
            self.oet.recorder.wait_for_state(self.uid, "READY")

    def _prepared(self) -> int | None:
        try:
            return self.oet.prepare("takes.py")
        except tango.DevFailed as failure:
            if failure.args[0].reason != "OET_TooMany":  # those that were stopped may still be ending
                raise
            return None

    def _processor(self) -> float:
        times = self.server.cpu_times()
        return float(times.user + times.system)

    def _stop_what_it_began(self, answer: Any) -> None:
        if isinstance(answer, dict) and answer.get("state") == "CREATING":
            self.oet.proxy.Stop(json.dumps({"process_uid": answer["id"], "run_abort": False}))


relaxed = settings(
    deadline=None,
    database=None,
    derandomize="OET_HYPOTHESIS_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


def test_some_requests_of_every_kind_and_size_are_answered_or_refused(oet):
    sender = Sender(oet)
    chance = random.Random(1)
    for command, bases in sorted(BASES.items()):
        base = chance.choice(bases)
        path = chance.choice(list(places(base)))
        for value in ('"' + "/a" * 450_000 + '"', "[" + "[]," * 300_000 + "1]", "9" * 5000):
            sender.send(command, json.dumps(with_mark(base, path, as_key=False)).replace(f'"{MARK}"', value))
    sender.send("Summarise", [1] * 100_000)
    sender.send("Prepare", "file://" + "/a" * 100_000)
    assert sender.slowest[0] < LONGEST, sender.slowest
    assert sender.reasons >= {"OET_TooLarge", "OET_ScriptNotFound", "OET_InvalidArgument"}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_whatever_is_sent_nobody_else_has_to_wait_and_nothing_grows(own_server, tmp_path):
    (tmp_path / "takes.py").write_text(TAKES)
    oet = own_server(MaxProcedures=8, ScriptRoots=[SCRIPTS, tmp_path])
    sender = Sender(oet)
    with state_is_read(oet) as idle:
        for _ in range(20):
            oet.recorder.wait_for_end(oet.run("good.py"))
    memory = sender.server.memory_full_info().uss
    stored = _stored(sender.server)

    @settings(relaxed, max_examples=EXAMPLES)
    @given(anything)
    def send(request: Sent) -> None:
        sender.keep_one_alive()
        sender.send(*request)

    with state_is_read(oet) as busy:
        send()
    print(f"slowest read of State: {busy[0]:.3f} s of {busy[1]} reads, {idle[0]:.3f} s of {idle[1]} with one script")
    print(f"{sender.accepted} of {EXAMPLES} were accepted")
    print(f"most of the processor: {sender.slowest}; reasons: {sorted(sender.reasons)}")
    print(f"memory: {memory / MIB:.0f} to {sender.server.memory_full_info().uss / MIB:.0f} MiB")
    print(f"history: {stored / MIB:.1f} to {_stored(sender.server) / MIB:.1f} MiB")
    assert sender.slowest[0] < LONGEST, sender.slowest
    assert busy[0] < SLOWEST_READ + 2 * idle[0], (busy, idle)
    assert sender.server.memory_full_info().uss < memory + MEMORY
    assert _stored(sender.server) < stored + HISTORY
    assert oet.server.device_server().pid == sender.server.pid, "the device server has never ended"
    oet.recorder.wait_for_end(oet.run("good.py"))


def _stored(server: psutil.Process) -> int:
    """Return the size of the files of the history that a device server has open."""
    files = {file.path for file in server.open_files() if "history.sqlite3" in file.path}
    assert files, "the history is a file"
    return sum(os.stat(path).st_size for path in files)
