"""Arguments reach the script as they were given, and the context where it is accepted."""

import json

import pytest


@pytest.fixture
def calls(tmp_path):
    """The file to which record.py writes, and how to read it."""

    class Calls:
        path = str(tmp_path / "calls")

        def read(self):
            return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]

    return Calls()


def _context(oet, uid):
    run_id = oet.summary(uid)["run_id"]
    return {"wait_for_qa_ready": True, "process_uid": uid, "run_id": run_id, "device": oet.name, "subarray_id": 1}


def test_init_and_main_get_their_own_arguments(oet, calls):
    uid = oet.ready("record.py", calls.path, 1, [2, {"three": None}], colour="red")
    oet.start(uid, calls.path, 2.5, deep={"a": [True, False]})
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    init, main = calls.read()
    context = _context(oet, uid)
    assert init == {"fn": "init", "args": [1, [2, {"three": None}]], "kwargs": {"colour": "red", "context": context}}
    assert main == {"fn": "main", "args": [2.5], "kwargs": {"deep": {"a": [True, False]}, "context": context}}


@pytest.mark.parametrize(
    "text", ["Größe", "Ωmega", "望遠鏡", "🔭", 'tab\tnewline\nquote"backslash\\', "\x7f\x01", "a\0b"]
)
def test_text_of_every_alphabet_reaches_the_script(oet, calls, text):
    uid = oet.ready("record.py", calls.path, text, key=text)
    assert calls.read()[0]["args"] == [text]
    assert calls.read()[0]["kwargs"]["key"] == text
    assert oet.summary(uid)["script_args"][0]["fn_args"]["kwargs"] == {"key": text}


def test_a_keyword_may_be_called_what_the_program_uses_itself(oet, calls):
    names = dict.fromkeys(("self", "name", "args", "kwargs", "function", "cls", "given"), 1)
    uid = oet.ready("record.py", calls.path, **{})
    oet.proxy.Start(json.dumps({"process_uid": uid, "run_args": {"args": [calls.path], "kwargs": names}}))
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    given = calls.read()[1]["kwargs"]
    given.pop("context")
    assert given == names


def test_a_function_that_accepts_no_context_is_given_none(oet, calls):
    uid = oet.ready("record.py", calls.path)
    oet.call(uid, calls.path, fn="narrow", number=3)
    assert calls.read()[1] == {"fn": "narrow", "number": 3}


def test_a_function_that_names_the_context_is_given_it(oet, calls):
    uid = oet.ready("record.py", calls.path)
    oet.call(uid, calls.path, fn="named")
    assert calls.read()[1] == {"fn": "named", "context": _context(oet, uid)}


def test_a_context_that_the_client_gives_wins(oet, calls):
    uid = oet.ready("record.py", calls.path)
    oet.call(uid, calls.path, fn="named", context="mine")
    assert calls.read()[1]["context"] == "mine"


@pytest.mark.parametrize("arguments", [([1, 2], {}), ([], {"unknown": 1}), ([1], {"number": 2})])
def test_arguments_that_do_not_fit_fail_before_the_call_and_show_the_signature(oet, calls, arguments):
    args, kwargs = arguments
    uid = oet.ready("record.py", calls.path)
    oet.start(uid, calls.path, *args, fn="narrow", **kwargs)
    end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert "narrow(path, number=0)" in end["reason"]
    assert len(calls.read()) == 1  # init's


def test_wrong_arguments_of_init_fail_and_show_the_signature(oet):
    uid = oet.prepare("good.py", colour="red")
    end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert end["previous"] == "INITIALISING"
    assert "init(subarray_id=1)" in end["reason"]
    assert oet.summary(uid)["history"]["stacktrace"] is None


def test_a_function_that_is_not_there_fails_and_those_that_are_there_are_named(oet):
    uid = oet.run("no_main.py")
    end = oet.recorder.wait_for_end(uid)
    assert end["state"] == "FAILED"
    assert "'main'" in end["reason"]
    assert "calibrate, measure" in end["reason"]


def test_a_script_without_main_can_still_be_used(oet):
    uid = oet.ready("no_main.py")
    oet.call(uid, fn="measure")
    assert oet.state(uid) == "READY"


def test_the_main_of_a_script_may_be_a_coroutine(oet, tmp_path):
    path = tmp_path / "awaited"
    uid = oet.run("async_main.py", str(path))
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    assert path.read_text() == "awaited"


def test_a_script_runs_in_the_main_thread_of_a_session_of_its_own(oet, tmp_path):
    path = tmp_path / "found"
    uid = oet.ready("where.py")
    pid = oet.pid(uid)
    oet.start(uid, str(path))
    assert oet.recorder.wait_for_end(uid)["state"] == "COMPLETE"
    summary = oet.summary(uid)
    assert json.loads(path.read_text()) == {
        "pid": pid,
        "session": pid,
        "main_thread": True,
        "run_id": summary["run_id"],
        "argv": [summary["provenance"]["path"]],
    }
