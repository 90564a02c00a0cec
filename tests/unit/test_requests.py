"""What clients ask for: understood as the contract has it, or refused with the place that is wrong."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.config import LARGEST_ARGUMENT, MOST_VALUES
from ska_oet_device.errors import InvalidArgumentError, TooLargeError
from ska_oet_device.procedure.application import (
    PrepareProcessCommand,
    StartProcessCommand,
    StopProcessCommand,
)
from ska_oet_device.procedure.domain import FileSystemScript, GitArgs, GitScript, ProcedureInput
from ska_oet_device.procedure.ui import _requests as requests
from ska_oet_device.procedure.ui._devstring import to_json

PARSERS = [requests.parse_prepare, requests.parse_run, requests.parse_start, requests.parse_stop]
SCRIPT = {"script_type": "filesystem", "script_uri": "file:///a.py"}
HELLO = FileSystemScript("file:///a.py")
NONE = ProcedureInput()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
KEYS = [
    *("script", "init_args", "user", "process_uid", "fn_name", "run_args", "force_start", "run_abort"),
    *("script_type", "script_uri", "git_args", "git_repo", "create_env", "args", "kwargs"),
]
NEARLY_RIGHT = st.recursive(
    JSON | st.sampled_from([SCRIPT, "filesystem", "git", "file:///a.py", "git://a.py", 1, True]),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=15,
)


def parsers(function):
    return pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)(function)


class TestPrepare:
    def test_takes_what_the_contract_shows(self):
        text = """{"script": {"script_type": "filesystem", "script_uri": "file:///scripts/hello.py"},
                   "init_args": {"args": [], "kwargs": {"subarray_id": 1}}}"""
        command = PrepareProcessCommand(FileSystemScript("file:///scripts/hello.py"), ProcedureInput(subarray_id=1))
        assert requests.parse_prepare(text) == (command, None)

    def test_takes_a_git_script_as_the_contract_shows(self):
        text = """{"script": {"script_type": "git", "script_uri": "git://scripts/observe.py",
            "git_args": {"git_repo": "https://gitlab.com/a/b.git", "git_branch": "main", "git_commit": null},
            "create_env": true}, "init_args": {}}"""
        git_args = GitArgs("https://gitlab.com/a/b.git", "main", None)
        script = GitScript("git://scripts/observe.py", git_args, create_env=True)
        assert requests.parse_prepare(text) == (PrepareProcessCommand(script, NONE), None)

    @pytest.mark.parametrize("text", ["file:///a.py", "  file:///a.py\n"])
    def test_takes_a_bare_uri(self, text):
        assert requests.parse_prepare(text) == (PrepareProcessCommand(HELLO, NONE), None)

    def test_arguments_may_be_left_out_and_the_user_given(self):
        text = json.dumps({"script": SCRIPT, "user": "Ada"})
        assert requests.parse_prepare(text) == (PrepareProcessCommand(HELLO, NONE), "Ada")

    def test_keeps_arguments_as_they_are(self):
        kwargs = {"self": 1, "args": [True, None, 1.5, "ü"], "kwargs": {}}
        text = json.dumps({"script": SCRIPT, "init_args": {"args": [1, "1"], "kwargs": kwargs}})
        assert requests.parse_prepare(text)[0].init_args == ProcedureInput(1, "1", **kwargs)

    @pytest.mark.parametrize("uri", ["", "/a.py", "a.py", "git://a.py", "file://", "[]", "null", "3", '"file:///a.py"'])
    def test_refuses_what_is_no_uri_of_a_file(self, uri):
        with pytest.raises(InvalidArgumentError):
            requests.parse_prepare(uri)

    @pytest.mark.parametrize(
        ("request_", "where"),
        [
            ({}, "script"),
            ({"script": SCRIPT, "colour": "red"}, "colour"),
            ({"script": {**SCRIPT, "colour": "red"}}, "colour"),
            ({"script": {"script_type": "filesystem"}}, "script_uri"),
            ({"script": {"script_type": "oda", "script_uri": "oda://1"}}, "script_type"),
            ({"script": {"script_uri": "file:///a.py"}}, "script"),
            ({"script": {"script_type": "filesystem", "script_uri": 3}}, "script_uri"),
            ({"script": {"script_type": "filesystem", "script_uri": "git://a.py"}}, "file://"),
            ({"script": {"script_type": "git", "script_uri": "git://a.py"}}, "git_args"),
            ({"script": SCRIPT, "init_args": []}, "init_args"),
            ({"script": SCRIPT, "init_args": {"args": {}}}, "args"),
            ({"script": SCRIPT, "init_args": {"kwargs": []}}, "kwargs"),
            ({"script": SCRIPT, "init_args": {"more": []}}, "more"),
            ({"script": SCRIPT, "user": 3}, "user"),
            ({"script": SCRIPT, "fn_name": "main"}, "fn_name"),
        ],
        ids=repr,
    )
    def test_says_where_it_is_wrong(self, request_, where):
        with pytest.raises(InvalidArgumentError, match=where):
            requests.parse_prepare(json.dumps(request_))


class TestRun:
    def test_is_a_preparation_and_a_function(self):
        text = json.dumps({"script": SCRIPT, "fn_name": "observe", "run_args": {"args": [1]}, "user": "Ada"})
        expected = requests.RunRequest(PrepareProcessCommand(HELLO, NONE), "observe", ProcedureInput(1))
        assert requests.parse_run(text) == (expected, "Ada")

    def test_runs_main_of_a_bare_uri(self):
        expected = requests.RunRequest(PrepareProcessCommand(HELLO, NONE), "main", NONE)
        assert requests.parse_run("file:///a.py") == (expected, None)


class TestStart:
    def test_takes_what_the_contract_shows(self):
        text = '{"process_uid": 3, "fn_name": "main", "run_args": {"args": [], "kwargs": {}}, "force_start": false}'
        assert requests.parse_start(text) == (StartProcessCommand(3, "main", NONE, False), None)

    @pytest.mark.parametrize(("text", "uid"), [("3", 3), (" 42\n", 42), ("0", 0), ("9" * 18, 10**18 - 1)])
    def test_takes_a_bare_id(self, text, uid):
        assert requests.parse_start(text) == (StartProcessCommand(uid, "main", NONE), None)

    @pytest.mark.parametrize(
        "text", ["three", "-3", "+3", "3.0", "1e3", "³", "٣", "1_000", "9" * 19, "9" * 5000, "[3]", "null", "0x3"]
    )
    def test_refuses_what_is_no_id(self, text):
        with pytest.raises(InvalidArgumentError):
            requests.parse_start(text)

    def test_takes_nothing_for_the_newest_that_is_ready(self):
        assert requests.parse_start(" ") == (StartProcessCommand(None, "main", NONE), None)
        assert requests.parse_start('{"fn_name": "observe"}') == (StartProcessCommand(None, "observe", NONE), None)

    @pytest.mark.parametrize("uid", [True, False, "3", 3.0, 3.5, None, [], {}])
    def test_refuses_an_id_of_another_type(self, uid):
        with pytest.raises(InvalidArgumentError, match="process_uid"):
            requests.parse_start(json.dumps({"process_uid": uid}))

    @pytest.mark.parametrize("force", [1, 0, "true", None, []])
    def test_refuses_a_flag_that_is_no_boolean(self, force):
        with pytest.raises(InvalidArgumentError, match="force_start"):
            requests.parse_start(json.dumps({"process_uid": 3, "force_start": force}))

    def test_refuses_a_function_without_a_name(self):
        with pytest.raises(InvalidArgumentError, match="fn_name"):
            requests.parse_start('{"process_uid": 3, "fn_name": ""}')


class TestSizes:
    """Whatever a request is made of, it is parsed or refused in a time that a command has."""

    @pytest.mark.parametrize("piece", ["1,", "[],", "{},", '{"a":1},', "NaN,", "[[[[[[[[]]]]]]]],", "-1e-99,", '"",'])
    def test_a_request_of_too_many_values_is_refused_before_they_are_made(self, piece):
        text = f'{{"process_uid": 1, "run_args": {{"args": [{piece * ((2**20 - 100) // len(piece))}1]}}}}'
        before = time.thread_time()
        with pytest.raises(TooLargeError, match=f"more than {MOST_VALUES} values"):
            requests.parse_start(text)
        assert time.thread_time() - before < 0.2

    @pytest.mark.parametrize(
        "text", ["{" + '"k": 1, ' * 49_000 + '"k": 1}', '{"process_uid": [' + "1," * 49_000 + "1]}"]
    )
    def test_a_request_of_nearly_too_many_faults_is_refused_shortly(self, text):
        before = time.thread_time()
        with pytest.raises(InvalidArgumentError) as refused:
            requests.parse_start(text)
        assert time.thread_time() - before < 0.2
        assert len(str(refused.value)) < 500

    def test_commas_and_brackets_in_a_text_are_no_values(self):
        text = "[,{" * 300_000 + '\\"' + '"' * 10
        command, _ = requests.parse_start(json.dumps({"process_uid": 1, "run_args": {"args": [text]}}))
        assert command.run_args == ProcedureInput(text)

    def test_a_text_that_does_not_end_is_refused_at_once(self):
        before = time.thread_time()
        with pytest.raises((InvalidArgumentError, TooLargeError)):
            requests.parse_start('{"process_uid": "' + '\\",' * 349_000)
        assert time.thread_time() - before < 0.2

    @parsers
    @pytest.mark.parametrize(("key", "value"), [("user", "u" * 129), ("fn_name", "f" * 256)])
    def test_a_name_is_short(self, parse, key, value):
        with pytest.raises(InvalidArgumentError) as refused:
            parse(json.dumps({"process_uid": 1, "script": SCRIPT, key: value}))
        assert len(str(refused.value)) < 500

    @pytest.mark.parametrize("name", ["a\nb", "a b", "os.system", "\x1b[2J", "1", "a\u2028b", "main\0"])
    def test_a_function_has_the_name_of_one(self, name):
        with pytest.raises(InvalidArgumentError, match="fn_name: is no name of a function"):
            requests.parse_start(json.dumps({"process_uid": 1, "fn_name": name}))

    def test_a_function_may_be_called_as_python_allows(self):
        command, _ = requests.parse_start('{"process_uid": 1, "fn_name": "größe_2"}')
        assert command.fn_name == "größe_2"


class TestOutputAndRequests:
    def test_say_for_whom_they_ask(self):
        assert requests.parse_output('{"process_uid": 3, "user": "Ada"}') == (
            requests.OutputRequest(3, 0, 65536),
            "Ada",
        )
        assert requests.parse_requests('{"user": "Ada"}') == (requests.RequestsRequest(0, 100), "Ada")

    def test_take_what_stands_for_the_rest(self):
        assert requests.parse_output("3") == (requests.OutputRequest(3, 0, 65536), None)
        assert requests.parse_requests(" ") == (requests.RequestsRequest(0, 100), None)


class TestStop:
    @pytest.mark.parametrize(
        ("text", "abort"),
        [
            ("3", None),
            ('{"process_uid": 3}', None),
            ('{"process_uid": 3, "run_abort": null}', None),
            ('{"process_uid": 3, "run_abort": true}', True),
            ('{"process_uid": 3, "run_abort": false}', False),
        ],
    )
    def test_says_whether_the_abort_script_follows(self, text, abort):
        assert requests.parse_stop(text) == (StopProcessCommand(3, abort), None)

    def test_takes_nothing_for_the_active_one(self):
        assert requests.parse_stop("") == (StopProcessCommand(None), None)
        assert requests.parse_stop('{"reason": "clouds"}') == (StopProcessCommand(None, None, "clouds"), None)

    def test_refuses_null_for_an_id(self):
        with pytest.raises(InvalidArgumentError, match="process_uid: must be a whole number"):
            requests.parse_stop('{"process_uid": null}')

    def test_refuses_one_for_true(self):
        with pytest.raises(InvalidArgumentError, match="run_abort"):
            requests.parse_stop('{"process_uid": 3, "run_abort": 1}')


class TestEveryParser:
    @parsers
    @pytest.mark.parametrize(
        "text", ["{", "{}}", "{'a': 1}", '{"a": }', '{"a": 1,}', "{\0}", '{"a": "\ud800"}', "{" * 10_000]
    )
    def test_refuses_bad_json(self, parse, text):
        with pytest.raises(InvalidArgumentError):
            parse(text)

    @parsers
    def test_refuses_what_is_too_large_before_it_looks(self, parse):
        with pytest.raises(TooLargeError, match=str(LARGEST_ARGUMENT)):
            parse(" " * (LARGEST_ARGUMENT + 1))
        with pytest.raises(InvalidArgumentError):
            parse("x" * LARGEST_ARGUMENT)

    def test_takes_what_is_just_not_too_large(self):
        text = json.dumps({"process_uid": 3, "run_args": {"args": ["x"]}})
        text = text.replace('"x"', '"' + "x" * (LARGEST_ARGUMENT - len(text) + 1) + '"')
        assert len(text) == LARGEST_ARGUMENT
        assert len(requests.parse_start(text)[0].run_args.args[0]) > 1_000_000

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    @pytest.mark.parametrize("place", ['{"args": [%s]}', '{"kwargs": {"a": [{"b": %s}]}}'])
    def test_refuses_numbers_that_are_not_json(self, number, place):
        with pytest.raises(InvalidArgumentError):
            requests.parse_start(f'{{"process_uid": 3, "run_args": {place % number}}}')

    @pytest.mark.parametrize("depth", [50, 1_000, 100_000])
    @pytest.mark.parametrize("brackets", ["[]", "{}"])
    def test_survives_deep_nesting(self, depth, brackets):
        nested = "[" * depth + "]" * depth if brackets == "[]" else '{"a":' * depth + "1" + "}" * depth
        text = f'{{"process_uid": 3, "run_args": {{"args": [{nested}]}}}}'
        with contextlib.suppress(InvalidArgumentError, TooLargeError):
            command, _ = requests.parse_start(text)
            assert depth == 50
            to_json(command.run_args.as_data())

    @pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
    def test_takes_two_hundred_levels_and_says_so_of_more(self, opens, closes):
        text = '{"process_uid": 3, "run_args": {"args": [%s1%s]}}'  # three levels of its own
        command, _ = requests.parse_start(text % (opens * 197, closes * 197))
        assert json.loads(to_json(command.run_args.as_data()))
        for levels in (199, 100_000):
            with pytest.raises(InvalidArgumentError, match="nested more than 200 levels deep"):
                requests.parse_start(text % (opens * levels, closes * levels))

    @pytest.mark.parametrize("digits", [30, 4_000, 4_299, 4_301, 100_000])
    @pytest.mark.parametrize(
        "place",
        ['{"process_uid": %s}', '{"process_uid": 3, "run_args": {"args": [%s]}}', '{"process_uid": 3, "fn_name": %s}'],
    )
    def test_survives_huge_integers(self, digits, place):
        with contextlib.suppress(InvalidArgumentError, TooLargeError):
            command, _ = requests.parse_start(place % ("9" * digits))
            assert json.loads(to_json(command.run_args.as_data()))

    def test_an_explanation_is_short_whatever_was_given(self):
        with pytest.raises(InvalidArgumentError) as caught:
            requests.parse_start(
                json.dumps({"process_uid": "x" * 100_000, **{f"key{i}": "y" * 1000 for i in range(100)}})
            )
        assert len(str(caught.value)) < 2_000
        assert "98 more" in str(caught.value)

    @parsers
    @given(text=st.text(alphabet=st.characters()))
    def test_arbitrary_text_is_understood_or_refused(self, parse, text):
        with contextlib.suppress(InvalidArgumentError, TooLargeError):
            parse(text)

    @parsers
    @given(text=st.text(alphabet=st.characters(categories=["Cs", "Ll", "Nd", "Cc"])))
    def test_text_with_lone_surrogates_is_understood_or_refused(self, parse, text):
        for candidate in (text, "{" + text, f'{{"user": "{text}"}}', f"file://{text}"):
            with contextlib.suppress(InvalidArgumentError, TooLargeError):
                parse(candidate)

    @parsers
    @given(value=JSON)
    def test_arbitrary_json_is_understood_or_refused(self, parse, value):
        with contextlib.suppress(InvalidArgumentError, TooLargeError):
            parse(json.dumps(value))

    @parsers
    @given(value=NEARLY_RIGHT)
    def test_json_that_is_nearly_right_is_understood_or_refused(self, parse, value):
        with contextlib.suppress(InvalidArgumentError, TooLargeError):
            parse(json.dumps(value))

    @given(args=st.lists(JSON), kwargs=st.dictionaries(st.text(), JSON))
    def test_every_json_argument_arrives_as_it_was_given(self, args, kwargs):
        text = json.dumps({"process_uid": 1, "run_args": {"args": args, "kwargs": kwargs}})
        try:
            command, _ = requests.parse_start(text)
        except InvalidArgumentError:
            assert "NaN" in text or "Infinity" in text
        else:
            assert json.dumps(command.run_args.as_data()) == json.dumps({"args": args, "kwargs": kwargs})
