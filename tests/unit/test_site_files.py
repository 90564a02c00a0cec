"""What is written for dsconfig and archivers is what the device has, and what the programs that read it take."""

from __future__ import annotations

import json

import pytest
from support.site_files import COMMANDS, FOLDER, written

from ska_oet_device.config import Settings
from ska_oet_device.interface import interface
from ska_oet_device.properties import BY_NAME, PROPERTIES, settings_from
from ska_oet_device.site_files import (
    ARCHIVED,
    LONGEST_ELEMENT,
    NOT_ARCHIVED,
    READERS_COMMANDS,
    SITE_PROPERTIES,
    Archiver,
    Subarrays,
    dsconfig_file,
)


def properties_of(text: str, device: str = "mid-oet/subarray/01") -> dict[str, list[str]]:
    server = json.loads(text)["servers"]["OetDevice"][device.rpartition("/")[2]]
    return server["OetDevice"][device]["properties"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_the_repository_is_what_the_command_writes(name):
    assert (FOLDER / name).read_text() == written(*COMMANDS[name]), "make site-files writes it anew"


def test_the_repository_has_no_other_files_for_a_site():
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()} == set(COMMANDS)


@pytest.mark.parametrize("count", [1, 3, 99])
def test_each_subarray_has_a_server_and_a_device_of_its_own(count):
    servers = json.loads(dsconfig_file(Subarrays("low", count), {}))["servers"]["OetDevice"]
    assert {instance: list(classes["OetDevice"]) for instance, classes in servers.items()} == {
        f"{number:02}": [f"low-oet/subarray/{number:02}"] for number in range(1, count + 1)
    }


@pytest.mark.parametrize("all_properties", [False, True])
def test_each_property_that_is_written_is_one_of_the_devices_and_valid(all_properties):
    properties = properties_of(dsconfig_file(Subarrays("mid", 1), {}, all_properties=all_properties))
    assert list(properties) == [item.name for item in PROPERTIES if all_properties or item.name in SITE_PROPERTIES]
    settings, problems = settings_from(properties, Settings(), 1)
    assert problems == []
    assert settings == Settings(script_roots=("/scripts",)), "what nobody has chosen is the device's default"


def test_what_a_site_has_chosen_stands_for_the_default():
    given = {"ScriptRoots": ["/a", "/b"], "HistoryUrl": ["postgresql://host/name"], "GitRepositories": [""]}
    properties = properties_of(dsconfig_file(Subarrays("mid", 1), given))
    assert {name: properties[name] for name in given} == given
    settings, problems = settings_from(properties, Settings(), 1)
    assert (settings.git_repositories, settings.history_url, problems) == ((), "postgresql://host/name", [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Scriptroots": ["/a"]}, "'Scriptroots' is no property; these are: ScriptRoots"),
        ({"MaxProcedures": ["many"]}, "Property MaxProcedures: 'many' is not a whole number from 1 to 10,000"),
        ({"MaxProcedures": ["1", "2"]}, "Property MaxProcedures: ['1', '2'] has 2 values"),
        ({"ScriptRoots": ["/Größe"]}, r"Property ScriptRoots: '/Gr\xf6\xdfe' is not ASCII"),
        ({"HistoryUrl": [r"a://\"b"]}, "Property HistoryUrl: a backslash before a quotation mark is lost"),
        ({"RunTimeout": ["1." + LONGEST_ELEMENT * "0"]}, "Property RunTimeout: 65,537 bytes are too many"),
    ],
    ids=["unknown", "bad", "several", "alphabet", "quotation", "long"],
)
def test_a_value_that_the_device_or_a_database_does_not_take_is_refused(given, said):
    with pytest.raises(ValueError, match=r"^'Script|^Property") as refused:
        dsconfig_file(Subarrays("mid", 1), given)
    assert said in str(refused.value)
    assert "stays in use" not in str(refused.value)


def test_what_is_not_set_at_all_fits_into_a_database():
    properties = properties_of(dsconfig_file(Subarrays("mid", 1), {}, all_properties=True))
    assert all(values and all(len(value) <= LONGEST_ELEMENT for value in values) for values in properties.values())
    assert set(properties) == set(BY_NAME)


def test_access_control_is_told_what_readers_may_call():
    classes = json.loads(dsconfig_file(Subarrays("mid", 1), {}))["classes"]
    assert classes == {"OetDevice": {"properties": {"AllowedAccessCmd": list(READERS_COMMANDS)}}}


@pytest.mark.parametrize(("telescope", "count"), [("mid", 0), ("mid", 100), ("mid", -1), ("vlbi", 1)])
def test_subarrays_that_nobody_has_are_refused(telescope, count):
    with pytest.raises(ValueError, match=r"is not a number of subarrays|is no telescope"):
        Subarrays(telescope, count)


def test_each_attribute_of_the_device_is_archived_or_it_is_said_why_not():
    assert not set(ARCHIVED) & set(NOT_ARCHIVED)
    attributes = set(interface().attributes)
    assert attributes - set(ARCHIVED) - set(NOT_ARCHIVED) == set(), "say in site_files/archiving.py whether it is"
    assert {*ARCHIVED, *NOT_ARCHIVED} - attributes == set()


@pytest.mark.parametrize(
    "archiver",
    [("host", "a/b/c", "a/b/c"), ("host:x", "a/b/c", "a/b/c"), ("h:1", "a/b", "a/b/c"), ("h:1", "a/b/c", "a/b/c: d")],
)
def test_an_archiver_that_cannot_be_is_refused(archiver):
    with pytest.raises(ValueError, match=r"is not HOST:PORT|is not the name of a device"):
        Archiver(*archiver)
