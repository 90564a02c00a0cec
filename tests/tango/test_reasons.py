"""Why a procedure has FAILED, as its clients are told: what a person would want to know first."""

import pytest


@pytest.fixture
def write(scratch, request):
    """Write a script below ScriptRoots, and return its name."""

    def write(source):
        path = scratch / f"{request.node.name.partition('[')[0]}.py"
        path.write_text(source)
        return path.name

    return write


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "proxy.Stop('999999')",
            "DevFailed: OET_UnknownProcedure: there is no procedure 999999 on {device} [OET_UnknownProcedure]",
        ),
        (
            "proxy.scriptOutput = 'x'",
            "DevFailed: API_AttrNotWritable: Attribute scriptOutput is not writable"
            " (attribute scriptOutput of {device})",
        ),
        (
            "tango.DeviceProxy('tango://127.0.0.1:1/no/such/device#dbase=no').ping()",
            "DevFailed: API_CantConnectToDevice: Failed to connect to device no/such/device",
        ),
        (
            "raise RuntimeError('Command failed:\\n  no such receiver')",
            "RuntimeError: Command failed: no such receiver",
        ),
        (
            "import argparse; argparse.ArgumentParser('scan').parse_args(['--n'])",
            "SystemExit: 2: scan: error: unrecognized arguments: --n",
        ),
        ("assert proxy is None", "AssertionError: assert proxy is None ({script}, line 4)"),
    ],
)
def test_is_what_went_wrong(oet, write, body, reason):
    script = write(f"import tango\ndef main():\n    proxy = tango.DeviceProxy({oet.name!r})\n    {body}\n")
    uid = oet.run(script)
    end = oet.recorder.wait_for_end(uid)
    reason = reason.format(device=oet.name, script=script)
    assert (end["state"], end["reason"][: len(reason)]) == ("FAILED", reason)
    oet.recorder.wait_for("Status", lambda status: reason in status)
