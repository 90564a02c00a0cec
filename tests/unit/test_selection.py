"""What is selected is kept, and taken up again as far as it is a selection."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.hanging import hold_writes

from ska_oet_device.procedure.application._selection import KeptSelection, Selection


def test_what_is_selected_is_there_again(tmp_path):
    path = tmp_path / "selection.json"
    kept = KeptSelection(path)
    assert kept.now == Selection()
    kept.change(script="file://見.py")
    kept.change(arguments='["ü"]', process_uid=3)
    kept.close(10)
    assert KeptSelection(path).now == kept.now == Selection("file://見.py", '["ü"]', 3)
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Selection()),
        ("no JSON", Selection()),
        ("[]", Selection()),
        ("[" * 100_000, Selection()),
        ('{"script": 3, "arguments": "[1]"}', Selection("", "[1]")),
        ('{"process_uid": true, "unknown": 1}', Selection()),
        ('{"script": "file://a.py", "process_uid": "3"}', Selection("file://a.py")),
        ('{"script": "file://a.py", "process_uid": -1}', Selection("file://a.py")),
        ('{"script": "file://a.py", "process_uid": 9223372036854775808}', Selection("file://a.py")),
        (json.dumps({"script": "x" * 900_000, "arguments": "[1]"}), Selection("", "[1]")),
    ],
    ids=[
        "empty",
        "no JSON",
        "list",
        "deep",
        "wrong type",
        "unknown key",
        "text for a number",
        "negative",
        "no number of Tango's",
        "long",
    ],
)
def test_of_what_is_no_selection_nothing_is_taken(tmp_path, text, wanted):
    path = tmp_path / "selection.json"
    path.write_text(text)
    assert KeptSelection(path).now == wanted


def test_a_file_that_a_script_has_put_there_is_not_followed(tmp_path):
    path = tmp_path / "selection.json"
    os.mkfifo(path)
    kept = KeptSelection(path)
    assert kept.now == Selection()
    kept.change(script="file://a.py")
    kept.close(10)
    assert json.loads(path.read_text())["script"] == "file://a.py"


def test_where_it_cannot_be_kept_it_counts_all_the_same(caplog):
    kept = KeptSelection(Path("/dev/null/selection.json"))
    kept.change(script="file://a.py")
    kept.close(10)
    assert kept.now == Selection("file://a.py")
    assert "cannot be kept" in caplog.text


def test_a_selection_that_is_the_same_is_not_written_again(tmp_path):
    path = tmp_path / "selection.json"
    kept = KeptSelection(path)
    kept.change(script="file://a.py")
    kept.close(10)
    path.unlink()
    kept.change(script="file://a.py")
    assert not path.exists()


def test_nobody_waits_for_a_disk_that_hangs_and_the_newest_selection_is_kept_when_it_is_back(
    tmp_path, monkeypatch, caplog
):
    goes_on = hold_writes(monkeypatch)
    path = tmp_path / "selection.json"
    kept = KeptSelection(path)
    for number in range(1, 4):
        kept.change(process_uid=number)
    assert kept.now == Selection(process_uid=3)
    kept.close(0.01)
    assert "is not kept" in caplog.text
    goes_on.set()
    kept.close(10)
    assert KeptSelection(path).now == kept.now
