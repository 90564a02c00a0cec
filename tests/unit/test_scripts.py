"""Scripts, their arguments, and their form as plain data."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.procedure.domain import (
    ExecutableScript,
    FileSystemScript,
    GitArgs,
    GitScript,
    ProcedureInput,
    script_from_data,
)

VALUES = st.none() | st.booleans() | st.integers() | st.text()
INPUTS = st.builds(
    lambda args, kwargs: ProcedureInput(*args, **kwargs), st.lists(VALUES), st.dictionaries(st.text(), VALUES)
)
NAMES = st.text(min_size=1)
GIT_ARGS = st.builds(GitArgs, NAMES, st.none() | NAMES, st.none() | NAMES)
SCRIPTS = st.builds(lambda name: FileSystemScript(f"file://{name}"), NAMES) | st.builds(
    lambda name, git, env: GitScript(f"git://{name}", git, env), NAMES, GIT_ARGS, st.booleans()
)


class TestProcedureInput:
    def test_holds_positional_and_keyword_arguments(self):
        given_input = ProcedureInput(1, "two", three=3)
        assert given_input.args == (1, "two")
        assert given_input.kwargs == {"three": 3}

    def test_adds_positional_arguments_in_order_and_lets_right_hand_keywords_win(self):
        added = ProcedureInput(1, 2, a="left", b="left") + ProcedureInput(3, b="right", c="right")
        assert added == ProcedureInput(1, 2, 3, a="left", b="right", c="right")

    @given(INPUTS)
    def test_added_to_nothing_stays_what_it_is(self, some):
        assert some + ProcedureInput() == some == ProcedureInput() + some

    @given(INPUTS, INPUTS, INPUTS)
    def test_addition_is_associative_and_changes_no_operand(self, one, two, three):
        before = one.as_data(), two.as_data()
        assert (one + two) + three == one + (two + three)
        assert (one.as_data(), two.as_data()) == before

    def test_refuses_to_be_added_to_something_else(self):
        with pytest.raises(TypeError):
            ProcedureInput() + 3
        assert ProcedureInput() != ((), {})

    def test_takes_keyword_arguments_whatever_their_names(self):
        awkward = ProcedureInput(**{"self": 1, "args": 2, "kwargs": 3, "not an identifier": 4})
        assert awkward.args == ()
        assert awkward.kwargs == {"self": 1, "args": 2, "kwargs": 3, "not an identifier": 4}
        assert (awkward + awkward).kwargs == awkward.kwargs
        assert ProcedureInput.from_data(awkward.as_data()) == awkward

    @given(INPUTS)
    def test_survives_the_way_through_plain_data(self, some):
        assert ProcedureInput.from_data(some.as_data()) == some

    def test_cannot_be_hashed_since_it_holds_a_dictionary(self):
        with pytest.raises(TypeError):
            hash(ProcedureInput())

    def test_shows_itself_as_it_would_be_written(self):
        assert repr(ProcedureInput(1, a="b")) == "ProcedureInput(1, a='b')"


class TestScripts:
    def test_the_base_class_is_abstract(self):
        with pytest.raises(TypeError, match="abstract"):
            ExecutableScript("file:///a.py")

    @pytest.mark.parametrize("uri", ["", "file://", "a.py", "/a.py", "git://a.py", "FILE:///a.py", " file:///a.py"])
    def test_a_script_of_the_file_system_has_a_file_uri_that_names_something(self, uri):
        with pytest.raises(ValueError, match="file://") as caught:
            FileSystemScript(uri)
        assert repr(uri) in str(caught.value)

    @pytest.mark.parametrize("uri", ["", "git://", "file:///a.py", "https://example.org/a.py"])
    def test_a_git_script_has_a_git_uri_that_names_something(self, uri):
        with pytest.raises(ValueError, match="git://"):
            GitScript(uri, GitArgs("https://example.org/repo"))

    def test_scripts_are_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            FileSystemScript("file:///a.py").script_uri = "file:///b.py"

    def test_a_git_script_runs_in_the_servers_environment_unless_asked_otherwise(self):
        assert GitScript("git://a.py").create_env is False

    @given(SCRIPTS)
    def test_every_script_survives_the_way_through_plain_data(self, script):
        data = script.as_data()
        assert script_from_data(data) == script
        assert type(script_from_data(data)) is type(script)
        assert data["script_type"] == type(script).script_type

    def test_an_unknown_type_of_script_is_refused_by_name(self):
        with pytest.raises(ValueError, match="'oda'"):
            script_from_data({"script_type": "oda", "script_uri": "oda://1"})
