"""What stands behind `%oet_run` is read as a person means it."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.error import UsageError

from ska_oet_device.itango._arguments import RunLine, parse_run, split, value_of

NAMES: dict[str, Any] = {"pause": 2, "where": [(20, 60)]}

VALUES = [
    ("3", 3),
    ("-2.5e3", -2500.0),
    ("true", True),
    ("True", True),
    ("null", None),
    ("None", None),
    ('"3"', "3"),
    ("'a b'", "a b"),
    ("[1, (2, 3)]", [1, (2, 3)]),
    ('{"a": 1}', {"a": 1}),
    ("{'a': 1}", {"a": 1}),
    ("$pause", 2),
    ("{pause * 2}", 4),
    ("{where}", [(20, 60)]),
    ("M31", "M31"),
    ("007", "007"),
    ("NaN", "NaN"),
    ("pause", "pause"),
    ("don't", "don't"),
    ("a/b.c", "a/b.c"),
]


@pytest.mark.parametrize(("word", "value"), VALUES, ids=[word for word, _ in VALUES])
def test_a_word_is_json_or_python_or_a_name_of_the_shell_or_text(word: str, value: Any) -> None:
    found = value_of(word, NAMES)
    assert (found, type(found)) == (value, type(value))


def test_spaces_in_brackets_and_in_quotes_divide_nothing() -> None:
    line = "scan.py  [[20, 60], [35, 45]] name='a b' note=\"x ] y\" {pause + 1} don't f(1, 2)"
    assert split(line) == [
        "scan.py",
        "[[20, 60], [35, 45]]",
        "name='a b'",
        'note="x ] y"',
        "{pause + 1}",
        "don't",
        "f(1, 2)",
    ]


def test_options_stand_before_the_script_and_arguments_behind_it() -> None:
    assert parse_run("-w -f point -i 1 -i mount_name=sim/mount/2 scan.py -3 dwell=$pause -w", NAMES) == RunLine(
        script="scan.py",
        function="point",
        args=[-3, "-w"],
        kwargs={"dwell": 2},
        init_args=[1],
        init_kwargs={"mount_name": "sim/mount/2"},
        watch=True,
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "which script"),
        ("-w", "which script"),
        ("-f", "-f: what"),
        ("-x scan.py", "-x: there is no such option"),
        ("scan.py [1, 2", r"\] is missing"),
        ("scan.py name='a b", "' is missing"),
        ("scan.py $nobody", "nobody: NameError"),
        ("scan.py {1/0}", "1/0: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_understood_says_what_is_wrong(line: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_run(line, NAMES)


def test_a_script_may_be_an_object_of_the_shell() -> None:
    script = object()
    assert parse_run("$script 1", {"script": script}).script is script
    assert parse_run("'a name.py'", {}).script == "a name.py"
