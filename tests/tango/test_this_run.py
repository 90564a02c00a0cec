"""A script knows who it is and where it runs: its procedure, its device, and the device's subarray."""

import json
from pathlib import Path


def _identity(oet, uid, subarray_id):
    return {
        "process_uid": uid,
        "run_id": oet.summary(uid)["run_id"],
        "device": oet.name,
        "subarray_id": subarray_id,
    }


def test_a_script_and_all_that_it_starts_are_told_the_same(other, tmp_path):
    path = tmp_path / "found"
    uid = other.ready("who.py", str(path))
    expected = _identity(other, uid, 2)
    first = json.loads(path.read_text())
    assert first == {"context": {"wait_for_qa_ready": True, **expected}, "script": expected}
    other.start(uid, str(path))
    assert other.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert json.loads(path.read_text()) == dict.fromkeys(["context", "script", "fork", "spawn", "program"], expected)


def test_the_subarray_is_the_one_that_the_device_has_when_a_function_is_called(oet, tmp_path):
    path = tmp_path / "found"
    uid = oet.ready("who.py", str(path))
    assert json.loads(path.read_text())["script"] == _identity(oet, uid, 1)
    with oet.properties(SubarrayId=5):
        oet.call(uid, str(path), fn="again")
        found = json.loads(path.read_text())
        assert found["context"]["subarray_id"] == found["script"]["subarray_id"] == 5
    oet.call(uid, str(path), fn="again")
    assert json.loads(path.read_text())["script"] == _identity(oet, uid, 1)


def test_a_run_has_a_folder_of_its_own_if_its_script_asks_for_it(oet, tmp_path, scratch):
    (scratch / "asks.py").write_text(
        "import os\n"
        "from pathlib import Path\n"
        "from ska_oet_device.scripting import this_run\n"
        "def main(path, asks):\n"
        "    if asks:\n"
        "        (this_run().folder / 'data').write_text('42')\n"
        "    Path(path).write_text(os.environ['SKA_OET_FOLDER'])\n"
    )
    folders = []
    for asks in (True, False):
        path = tmp_path / str(asks)
        uid = oet.run("asks.py", str(path), asks)
        assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
        folders.append(Path(path.read_text()))
        assert folders[-1].name == str(uid)
    assert (folders[0] / "data").read_text() == "42"
    assert folders[0].stat().st_mode & 0o777 == folders[0].parent.stat().st_mode & 0o777 == 0o700
    assert not folders[1].exists()
