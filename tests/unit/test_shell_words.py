"""What `oet` makes of words, times and texts before it asks, and before it writes."""

from __future__ import annotations

import itertools
import random
import re
import time

import pytest
import typer

from ska_oet_device.cli._table import table
from ska_oet_device.cli._text import Harmless, lines_of, one_line
from ska_oet_device.cli._times import day_and_time, time_of
from ska_oet_device.cli._values import arguments_of, procedure_of, value_of

NOON = 1796040000.0  # 2026-11-30T12:00:00Z


@pytest.fixture(autouse=True)
def _east_of_greenwich(monkeypatch):
    monkeypatch.setenv("TZ", "XYZ-2")  # two hours ahead of UTC
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("x", "x"), ('"3"', "3"), ('"[1"', "[1"), ("NaN", "NaN"), ("-Infinity", "-Infinity"), ("1,2", "1,2")],
    ids=["number", "text", "quoted", "quoted bracket", "nan", "infinity", "numbers"],
)
def test_a_value_is_json_or_a_text(text, value):
    assert value_of(text, "--arg ") == value


BROKEN = {
    "list": (
        "[1, 2",
        r"^--arg '\[1, 2' is no JSON: Expecting ',' delimiter at character 6 \(its end\); a text that begins so",
    ),
    "object": (" {a: 1}", r"enclosed in double quotes at character 3 \('a: 1\}'\)"),
    "text": ('"M31" or so', r"Extra data at character 7 \('or so'\)"),
    "nan": ("[NaN]", "NaN is not JSON"),
    "deep": ("[" * 99_999, r"^--arg '\[{40}\.\.\.' is no JSON: it is too deep"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_begins_as_json_does_and_is_none_is_refused(name):
    text, fault = BROKEN[name]
    with pytest.raises(typer.BadParameter, match=fault):
        value_of(text, "--arg ")


@pytest.mark.parametrize(("named", "option"), [("--kwarg", "--arg"), ("--init-kwarg", "--init")])
def test_the_option_is_named_whose_value_is_broken(named, option):
    with pytest.raises(typer.BadParameter, match=rf"^{option} '\[' is no JSON"):
        arguments_of(["["], [], named)
    with pytest.raises(typer.BadParameter, match=rf"^{named} a='\[' is no JSON"):
        arguments_of([], ["a=["], named)


def test_arguments_are_taken_apart_at_the_first_equals_sign():
    found = arguments_of(["1"], ["a=b=c", "größe=[2]"], "--kwarg")
    assert (list(found.args), found.kwargs) == ([1], {"a": "b=c", "größe": [2]})


@pytest.mark.parametrize("named", [["a"], ["=1"], ["1a=1"], ["a b=1"], ["a=1", "a=2"]], ids=" ".join)
def test_what_names_no_argument_is_refused(named):
    with pytest.raises(typer.BadParameter, match=r"^--kwarg '.*' is"):
        arguments_of([], named, "--kwarg")


@pytest.mark.parametrize(("text", "which"), [("3", 3), (" 12 ", 12), ("01a2-77", "01a2-77"), ("\u0663", "\u0663")])
def test_a_procedure_has_an_id_or_a_run_id(text, which):
    assert procedure_of(text) == which


TIMES = {
    "2h": NOON - 7200,
    "90s": NOON - 90,
    "1.5 h ago": NOON - 5400,
    "30min": NOON - 1800,
    "3d": NOON - 3 * 86400,
    "1W": NOON - 7 * 86400,
    "now": NOON,
    "today": NOON - 14 * 3600,
    "Yesterday": NOON - 38 * 3600,
    "13:30": NOON - 1800,
    "2026-11-30": NOON - 14 * 3600,
    "2026-11-30T14:00": NOON,
    "2026-11-30 12:00:00Z": NOON,
    "2026-11-30T13:00+01:00": NOON,
}


@pytest.mark.parametrize("text", TIMES)
def test_a_time_is_local_unless_it_says_otherwise(text):
    assert time_of(text, utc=False, now=NOON) == pytest.approx(TIMES[text])


def test_a_time_is_utc_where_that_is_asked_for():
    assert time_of("today", utc=True, now=NOON) == NOON - 12 * 3600
    assert time_of("12:00", utc=True, now=NOON) == NOON
    assert day_and_time(NOON, utc=True) == "2026-11-30 12:00:00Z"
    assert day_and_time(NOON, utc=False) == "2026-11-30 14:00:00"


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2h30", "2026-13-01", "-1h", "1e400d", "9" * 40 + "d"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(typer.BadParameter, match="is no time; a time is 2026-11-30T20:00"):
        time_of(text, utc=False, now=NOON)


HARMLESS = {
    "plain\ttext\r\n": "plain\ttext\r\n",
    "\x1b[1;31mred\x1b[0m": "\x1b[1;31mred\x1b[0m",
    "\x1b[2J\x1b[H\x1b[?1049hgone": "gone",
    "\x1b]0;title\x07\x1b]52;c;eA==\x1b\\\x1bPq\x1b\\here": "here",
    "\x1bc\x1b(0\x1b7reset": "reset",
    "bell\x07 back\x08 c1\x9b zero\x00 del\x7f": "bell back c1 zero del",
    "abc\u202edef\u2066": "abcdef",
}


@pytest.mark.parametrize("text", HARMLESS, ids=map(str, range(len(HARMLESS))))
def test_a_terminal_is_steered_by_colours_alone_however_a_text_is_cut(text):
    for first, second in itertools.combinations_with_replacement(range(len(text) + 1), 2):
        harmless = Harmless(colours=True)
        shown = harmless.feed(text[:first]) + harmless.feed(text[first:second]) + harmless.feed(text[second:])
        assert shown == HARMLESS[text], (first, second)


def test_colours_that_were_left_on_are_put_back():
    harmless = Harmless(colours=True)
    assert harmless.feed("\x1b[31mred") + harmless.end() == "\x1b[31mred\x1b[0m"
    without = Harmless(colours=False)
    assert without.feed("\x1b[31mred") + without.end() == "red"


def test_no_text_holds_another_one_back_for_ever():
    harmless = Harmless(colours=True)
    assert "later" in harmless.feed("\x1b]0;" + "x" * 5000) + harmless.feed(" later")


@pytest.mark.parametrize("seed", range(5))
def test_no_text_is_left_that_could_steer_a_terminal(seed):
    chance = random.Random(seed)
    pieces = ["\x1b", "[", "]", "2J", "0;t", "\x07", "\\", "m", "31", ";", "a", "\n", "\x9b", "P", "(", "?", " "]
    for _ in range(300):
        text = "".join(chance.choice(pieces) for _ in range(30))
        assert "\x1b" not in re.sub(r"\x1b\[[0-9;:]*m", "", Harmless(colours=True).feed(text))
        assert not set(one_line(text)) & {"\x1b", "\n", "\x07", "\x9b"}
        assert "\x1b" not in lines_of(text)


HEAD = ("ID", "STATE", "REASON")
ROWS = [("1", "FAILED", "ValueError: " + "a long reason " * 8 + "end"), ("12", "COMPLETE", "x" * 90)]


def _words(lines):
    return "".join("".join(lines).split())


def test_a_table_through_a_pipe_has_a_line_a_row():
    lines = list(table(HEAD, ROWS, None))
    assert len(lines) == 3
    assert lines[1] == f"1   FAILED    {ROWS[0][2]}"


@pytest.mark.parametrize("width", [200, 80, 40, 34, 20, 5])
def test_a_table_fits_a_terminal_and_leaves_nothing_out(width):
    lines = list(table(HEAD, ROWS, width))
    assert all(len(line) <= max(width, 9) for line in lines)
    assert _words(lines).count("x") == 90
    for row in ROWS:
        assert "".join(row[2].split()) in _words(line[14 if width >= 34 else 8 :] for line in lines) or width < 20


def test_colours_of_a_cell_do_not_count_for_its_width():
    lines = list(table(HEAD, ROWS, None, lambda text: f"<{text}>"))
    assert lines[1].startswith("1   <FAILED  >  ValueError")
    assert lines[0].startswith("ID  STATE     REASON")
