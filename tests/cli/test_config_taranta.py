"""`oet config taranta` writes dashboards without a device, a database or Tango, or says why not."""

from __future__ import annotations

import json

import pytest
from support.shell import OetCommand

from ska_oet_device.site_files import BOARDS, Site, board

FILES = [f"oet-{which}.wj" for which in ("engineer", "fleet", "operator")]


@pytest.fixture(scope="module")
def taranta(tmp_path_factory: pytest.TempPathFactory):
    """Call the command where no Tango can be imported."""
    poison = tmp_path_factory.mktemp("no-tango")
    (poison / "tango.py").write_text("raise RuntimeError('Tango is not to be loaded')\n")
    command = OetCommand("no-such-host:1")
    return lambda *arguments: command("config", "taranta", *arguments, PYTHONPATH=str(poison))


def test_it_writes_all_boards_into_a_folder_that_it_makes(taranta, tmp_path):
    folder = tmp_path / "new" / "boards"
    done = taranta("--output", str(folder))
    assert (done.status, done.out, done.err) == (0, "", "")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for which in BOARDS:
        assert (folder / f"oet-{which}.wj").read_text() == board(which, Site())


@pytest.mark.parametrize("which", BOARDS)
def test_it_writes_one_board_to_standard_output(taranta, which):
    done = taranta("--board", which, "--prefix", "low://", "--grid", "20", "-d", "low-oet/subarray/02")
    assert (done.status, done.err) == (0, "")
    assert done.out == board(which, Site(("low-oet/subarray/02",), "low://", 20))


def test_each_device_has_a_row(taranta):
    done = taranta("--board", "fleet", "-d", "a/b/1", "-d", "a/b/2")
    shown = json.loads(done.out)["widget"]
    rows = [each["inputs"]["device"] for each in shown if each["type"] == "DEVICE_STATUS"]
    assert rows == ["taranta://a/b/1", "taranta://a/b/2"]


@pytest.mark.parametrize(
    ("arguments", "devices"),
    [
        (("--mid",), ("mid-oet/subarray/01",)),
        (("--low", "--subarrays", "3"), tuple(f"low-oet/subarray/0{number}" for number in (1, 2, 3))),
        (("-n", "16", "--mid"), tuple(f"mid-oet/subarray/{number:02}" for number in range(1, 17))),
    ],
    ids=["one", "three", "sixteen"],
)
def test_a_telescopes_subarrays_are_the_devices_that_dsconfig_has(taranta, arguments, devices):
    done = taranta("--board", "fleet", *arguments)
    assert (done.status, done.err) == (0, "")
    assert done.out == board("fleet", Site(devices))
    site = json.loads(OetCommand("no-such-host:1")("config", "dsconfig", *arguments).out)
    of_site = {name for server in site["servers"].values() for each in server.values() for name in each["OetDevice"]}
    assert of_site == set(devices)


def test_a_board_that_is_there_is_replaced(taranta, tmp_path):
    (tmp_path / "oet-fleet.wj").write_text("{}")
    assert taranta("--board", "fleet", "-o", str(tmp_path)).status == 0
    assert (tmp_path / "oet-fleet.wj").read_text() == board("fleet", Site())
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--board", "pilot"), "--board 'pilot' is none of operator, engineer, fleet and all"),
        (("--grid", "15"), "--grid 15 is not 10 or 20"),
        (("--grid", "wide"), "'--grid'"),
        (("--prefix", "taranta"), "--prefix 'taranta' does not end in ://"),
        (("--prefix", ""), "--prefix '' does not end in ://"),
        (("--device", "subarray/01"), "--device 'subarray/01' is not domain/family/member"),
        (("--device", "tango://host:1/a/b/c"), "is not domain/family/member, without the address of a database"),
        (("--device", "(OetDevice)/b/c"), "--device '(OetDevice)/b/c' is not domain/family/member"),
        (("--device", "a/b/c", "--device", "A/B/C"), "--device names a device twice"),
        (("--device", "a/b/c", "--mid"), "--device or --mid and --low, and not both"),
        (("--mid", "--low"), "--mid or --low, and not both"),
        (("--subarrays", "4"), "--subarrays is of --mid or --low"),
        (("--device", "a/b/c", "--subarrays", "4"), "--subarrays is of --mid or --low"),
        (("--mid", "--subarrays", "0"), "0 is not a number of subarrays from 1 to 99"),
        (("--low", "--subarrays", "100"), "100 is not a number of subarrays from 1 to 99"),
    ],
    ids=[
        "board",
        "grid",
        "no-grid",
        "prefix",
        "no-prefix",
        "two-parts",
        "address",
        "variable",
        "twice",
        "device-and-telescope",
        "both-telescopes",
        "no-telescope",
        "device-and-number",
        "none",
        "too-many",
    ],
)
def test_arguments_that_do_not_fit_are_told_in_a_line(taranta, tmp_path, arguments, said):
    done = taranta(*arguments, "--output", str(tmp_path / "boards"))
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "boards").exists()


def test_standard_output_takes_one_board(taranta):
    done = taranta()
    assert (done.status, done.out) == (2, "")
    assert "standard output takes one board" in done.err


@pytest.mark.parametrize("folder", ["/proc/boards", "/dev/null", "/dev/null/boards"])
def test_a_folder_that_cannot_be_made_is_told(taranta, folder):
    done = taranta("-o", folder)
    assert done.status == 74
    assert f"oet: {folder} cannot be made: " in done.err
