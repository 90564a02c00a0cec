"""What is read for uv from files that it does not read itself."""

from __future__ import annotations

import pytest

from ska_oet_device.procedure.environment._build import complaint_in
from ska_oet_device.procedure.environment._lockfiles import constraints_of, indexes_of, read_toml, requirements_of

POETRY = {
    "package": [
        {"name": "plain", "version": "1.0", "groups": ["main"]},
        {"name": "forked", "version": "1.0", "groups": ["main"], "markers": "python_version < '3.12'"},
        {"name": "forked", "version": "2.0", "groups": ["main"], "markers": {"main": "python_version >= '3.12'"}},
        {"name": "tool", "version": "3.0", "groups": ["dev"]},
        {"name": "extra", "version": "4.0", "groups": ["main"], "optional": True},
        {"name": "ska", "version": "5.0", "source": {"type": "legacy", "url": "https://ska.example/simple"}},
        {
            "name": "git",
            "version": "6.0",
            "source": {
                "type": "git",
                "url": "https://g.example/r.git",
                "reference": "main",
                "resolved_reference": "f00",
            },
        },
        {"name": "near", "version": "7.0", "groups": ["dev"], "source": {"type": "directory", "url": "../near"}},
    ]
}


def test_every_version_of_an_index_or_a_commit_is_a_constraint_unless_there_are_two():
    assert constraints_of(POETRY) == [
        "plain==1.0",
        "tool==3.0",
        "extra==4.0",
        "ska==5.0",
        "git @ git+https://g.example/r.git@f00",
    ]


def test_a_poetry_lock_alone_says_what_to_install():
    assert requirements_of(POETRY) == [
        "plain==1.0",
        "forked==1.0 ; python_version < '3.12'",
        "forked==2.0 ; python_version >= '3.12'",
        "ska==5.0",
        "git @ git+https://g.example/r.git@f00",
    ]


def test_indexes_of_poetry_are_named_besides_pypi():
    sources = [{"name": "PyPI"}, {"name": "ska", "url": "https://ska.example/simple"}]
    assert indexes_of({"tool": {"poetry": {"source": sources}}}) == ["https://ska.example/simple"]
    assert indexes_of({}) == []


def test_a_file_that_is_not_toml_is_named(tmp_path):
    assert read_toml(tmp_path / "none.toml") == {}
    (tmp_path / "bad.lock").write_text("[[[")
    with pytest.raises(ValueError, match=r"bad\.lock is not TOML"):
        read_toml(tmp_path / "bad.lock")


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (["Resolving", "× No solution found", "╰─▶ Because a was not found,", "we cannot.", "", "hint: x"],
         "No solution found: Because a was not found, we cannot."),
        (["error: No solution found", "cause: Because a was not found"],
         "No solution found: Because a was not found"),
        (["Traceback", "ValueError: 3", ""], "ValueError: 3"),
        ([], ""),
    ],
)  # fmt: skip
def test_an_installers_complaint_becomes_one_sentence(output, sentence):
    assert complaint_in(output) == sentence
