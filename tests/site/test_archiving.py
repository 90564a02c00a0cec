"""What `oet config archiving` names is there to be archived: each entry gets archive events of its own.

The schemas beside this file are written from what archivers' configurations look like in SKA's repositories
(ska-mid-psi, ska-tango-images): yaml2archiving itself is on no package index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tango
import yaml
from support.site_files import COMMANDS, FOLDER, written
from support.tango_server import SCRIPTS, Database, EventRecorder, Oet, serving

DEVICE = "mid-oet/subarray/01"
ONLINE, ENGINEERING = 0, 2
NEVER_CHANGES = {"versionId"}
"""What an archiver hears once, when it subscribes."""

FAILS = '''
"""Tells how far it has come, and fails."""

from pubsub import pub


def main(what):
    for percent in (10.0, 60.0):
        pub.sendMessage("script.progress", percent=percent, activity=f"at {percent}")
    pub.sendMessage("user.note", text="clouds")
    raise RuntimeError(f"the {what} dish has stopped")
'''


def parsed(text: str, kind: str) -> Any:
    """Return what a file says, held against its schema."""
    said = yaml.safe_load(text)
    schema = json.loads(Path(__file__).with_name(f"{kind}.schema.json").read_text())
    jsonschema.validate(said, schema, jsonschema.Draft202012Validator)
    return said


def entries(said: Any) -> list[tuple[str, str]]:
    """Return device and attribute of each entry, of a file of either kind."""
    if "attributes" in said:
        return [tuple(each["trl"].rsplit("/", 1)) for each in said["attributes"]]
    return [
        (device, name)
        for part in said["configuration"]
        for device in part["filtering"]["device"]
        for name in part["attributes"]
    ]


def is_note(message: dict[str, Any], uid: int) -> bool:
    return (message.get("topic"), message.get("process_uid")) == ("user.note", uid)


@pytest.fixture(scope="module")
def oet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oet]:
    folder = tmp_path_factory.mktemp("archiving")
    for kind in ("hdbpp", "eda"):
        (folder / f"{kind}.py").write_text(FAILS)
    database = Database(folder)
    try:
        with serving(database, "01", DEVICE, folder / "server", ScriptRoots=[SCRIPTS, folder]) as oet:
            yield oet
    finally:
        database.stop()


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith(".yaml")])
def test_a_file_has_the_form_that_its_archiver_reads(name):
    kind = name.split(".")[1]
    said = parsed((FOLDER / name).read_text(), kind)
    assert {device for device, _ in entries(said)} == {f"{name[10:13]}-oet/subarray/01"}


def test_both_archivers_are_told_of_the_same_attributes_of_each_subarray():
    command = ("archiving", "--low", "-n", "12", "--tango-host", "db.site:10000", "--manager", "a/cm/1")
    hdbpp, eda = parsed(written(*command), "hdbpp"), parsed(written(*command, "--eda"), "eda")
    assert entries(hdbpp) == entries(eda)
    assert len({device for device, _ in entries(eda)}) == 12
    assert (hdbpp["db"], hdbpp["manager"], hdbpp["archiver"]) == ("db.site:10000", "a/cm/1", "low-eda/es/01")
    assert eda["tango_hosts"] == [{"th1": {"host": "db.site", "port": "10000"}}]
    assert eda["configuration_managers"] == [{"cm1": {"trl": "a/cm/1", "th": "th1"}}]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["hdbpp", "eda"])
def test_each_entry_gets_archive_events_of_its_own_through_a_procedure(oet, kind):
    named = entries(parsed((FOLDER / f"archiving/mid-oet.{kind}.yaml").read_text(), kind))
    assert {device for device, _ in named} == {oet.name}
    names = tuple(name for _, name in named)
    assert set(names) <= set(oet.proxy.get_attribute_list()), "names are looked up as they are written"
    archive = EventRecorder(oet.proxy, names, tango.EventType.ARCHIVE_EVENT)
    try:
        first = {name: archive.latest[name] for name in names}
        oet.proxy.waitForQaReady = not oet.proxy.waitForQaReady
        oet.proxy.adminMode = ENGINEERING
        oet.proxy.Check(json.dumps({"script": {"script_type": "filesystem", "script_uri": f"file://{kind}.py"}}))
        with oet.properties(Preload=["no_such_module_at_all"]):
            archive.wait_for("healthState", lambda value: value != first["healthState"])
        uid = oet.run(f"{kind}.py", kind)
        assert oet.recorder.wait_for_end(uid)["state"] == "FAILED"
        for name in set(names) - NEVER_CHANGES:
            archive.wait_for(name, lambda value, name=name: value != first[name])
        assert not [event for events in archive.events.values() for event in events if event.error]
        archive.wait_for("activeProgress", lambda value: value == 60.0)
        archive.wait_for("stacktrace", lambda value: f"the {kind} dish has stopped" in value)
        archive.wait_for("scriptEvent", lambda value: is_note(json.loads(value), uid))
        assert all(len(archive.events[name]) == 1 for name in NEVER_CHANGES & set(names))
    finally:
        archive.close()
        oet.proxy.adminMode = ONLINE
        oet.tidy()
