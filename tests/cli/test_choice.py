"""Which device is meant, and what the shell offers when Tab is pressed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable

import pytest
from support.shell import OetCommand
from support.tango_server import program
from support.waiting import wait_until


def test_the_device_may_be_named_before_or_behind_the_command_or_by_the_environment(oet, device):
    for arguments, more in (
        (["-d", device.name, "list"], {}),
        (["list", f"--device={device.name}"], {}),
        (["list"], {"OET_DEVICE": device.name}),
        (["list", "-d", device.name], {"OET_DEVICE": "no/such/device"}),
    ):
        assert oet(*arguments, **more).status == 0


def test_an_unknown_device_is_told_with_those_there_are(oet, device):
    done = oet("list", "-d", "no/such/device")
    assert (done.status, done.err.count("\n")) == (5, 1)
    assert "no/such/device not defined in the database" in done.err
    assert done.err.endswith(f"; the OetDevices there are: {device.name}\n")


def test_of_several_devices_one_must_be_named(oet, device):
    device.database.add_server("never-started", {"mid-oet/cli/other": {}})
    try:
        done = oet("list")
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert f"has 2 OetDevices: say which ({device.name}, mid-oet/cli/other)" in done.err
        health = oet("health", "--timeout", "20")
        assert (health.status, health.out) == (2, "")
        assert f"has 2 OetDevices: say which ({device.name}, mid-oet/cli/other)" in health.err
        assert json.loads(oet("health", "--json", "--timeout", "20").err)["error"] == "usage"
        assert oet("health", "--timeout", "20", OET_DEVICE=device.name).status == 0
        done = oet("list", "-d", "mid-oet/cli/other")
        assert (done.status, done.err.count("\n")) == (5, 1)
    finally:
        device.database.tango.delete_server("OetDevice/never-started")


def _without_tango_host(oet: OetCommand, *arguments: str) -> tuple[int, str, str]:
    """Call it where nothing says where the database is, /etc/tangorc included."""
    command = [program("oet"), *arguments]
    if os.path.exists("/etc/tangorc"):
        hidden = 'mount --bind /dev/null /etc/tangorc && exec "$@"'
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", hidden, "sh", *command]
    environment = {key: value for key, value in oet.environment().items() if key != "TANGO_HOST"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


NOT_SET = "TANGO_HOST is not set: it says where the Tango database is, as host:port\n"


@pytest.mark.parametrize("words", ["list", "run x.py", "stop -d a/b/c", "check x.py", "watch", "fleet", "fleet -f"])
def test_no_command_looks_for_a_database_that_nobody_has_named(oet, words):
    assert _without_tango_host(oet, *words.split()) == (2, "", f"oet: {NOT_SET}")


def test_health_says_that_nobody_has_named_a_database(oet, device):
    assert _without_tango_host(oet, "health", "a/b/c", "--timeout", "20") == (1, f"FAILED a/b/c: {NOT_SET}", "")
    assert _without_tango_host(oet, "list", "-d", f"tango://{device.database.host}/{device.name}")[0] == 0


def test_the_program_has_two_names():
    for name in ("oet", "oet-device"):
        done = subprocess.run([program(name), "run", "--help"], capture_output=True, text=True, env=os.environ)
        assert (done.returncode, done.stdout.startswith(f"Usage: {name} run [OPTIONS]")) == (0, True), done


# -- completion


def _offers(oet: OetCommand, words: str, **more: str) -> list[str]:
    done = oet(COMP_WORDS=words, COMP_CWORD=str(words.count(" ")), _OET_COMPLETE="complete_bash", **more)
    assert (done.status, done.err) == (0, "")
    return done.out.split()


def _wait_until_offered(oet: OetCommand, words: str, is_wanted: Callable[[list[str]], bool]) -> None:
    """Ask until this is offered: on a busy machine, where nobody answers in time, nothing is."""
    wait_until(lambda: is_wanted(_offers(oet, words)), 60, f"what is wanted behind {words!r}")


def test_scripts_devices_states_and_ids_are_offered(oet, device):
    uid = device.ready("good.py")
    _wait_until_offered(oet, "oet run ", lambda offered: {"good.py", "deaf.py"} <= set(offered))
    _wait_until_offered(oet, "oet check prog", lambda offered: offered == ["progress.py"])
    assert _offers(oet, "oet run ./") == [], "files are the shell's"
    _wait_until_offered(oet, "oet list -d ", lambda offered: offered == [device.name])
    assert _offers(oet, "oet history --state F") == ["FAILED"]
    _wait_until_offered(oet, "oet describe ", lambda offered: str(uid) in offered)
    _wait_until_offered(oet, f"oet -d {device.name} stop ", lambda offered: offered == [str(uid)])
    wanted = f"""_arguments '*: :(("{uid}":"good.py READY"))'"""
    zsh = {"_TYPER_COMPLETE_ARGS": "oet stop ", "_OET_COMPLETE": "complete_zsh"}
    wait_until(lambda: oet(**zsh).out.strip() == wanted, 60, wanted)
    device.tidy()


def test_scripts_are_offered_as_the_device_tells_them_whatever_folders_this_machine_has(oet, device):
    known = device.database.tango
    before = list(known.get_device_property(device.name, "ScriptRoots")["ScriptRoots"])
    known.put_device_property(device.name, {"ScriptRoots": ["/a/folder/of/another/machine"]})  # and no Init
    try:
        _wait_until_offered(oet, "oet run sle", lambda offered: "sleepy.py" in offered)
    finally:
        known.put_device_property(device.name, {"ScriptRoots": before})


def test_nothing_is_offered_and_nothing_said_where_there_is_no_database(oet):
    assert _offers(oet, "oet describe ", TANGO_HOST="127.0.0.1:1") == []
    assert _offers(oet, "oet run ", TANGO_HOST="nonsense") == []


def test_a_shell_completes_with_what_the_command_writes(oet, device):
    """As the how-to page has it: in a bash of its own, which nobody's files are read for."""
    with oet.terminal(command=["bash", "--norc", "--noprofile", "-i"], PS1="> ") as bash:
        bash.send('eval "$(oet --show-completion)"; echo loa""ded\n')
        bash.expect("loaded")
        bash.send("oet check sle")

        def is_completed() -> bool:
            """Press Tab: there is a bell where nothing is offered, as on a busy machine."""
            bash.send("\t")
            return bash.expect("epy.py |\a").endswith("epy.py ")

        wait_until(is_completed, 60, "the script's name is completed")
        bash.send("\x15exit\n")
        assert bash.wait() == 0
