"""The device properties: each one's bounds and forms, against the one rule by which texts become settings."""

from __future__ import annotations

import dataclasses
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import wait_until

from ska_oet_device.config import LONGEST_TIME, Settings
from ska_oet_device.procedure.ui._properties import Configuration, DeviceProperties
from ska_oet_device.properties import BY_NAME, PROPERTIES, history_url_in, number_in, settings_from

MEGABYTE = "x" * 1_000_000
NO_NUMBERS = [
    "five",
    "5 s",
    "1,5",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "0x10",
    "1_000",
    "\u0663",
    "\u2080",
    "--1",
    MEGABYTE,
    "9" * 5000,
]
TIME = ["-1", "-0.001", str(LONGEST_TIME + 1), *NO_NUMBERS]
WHOLE = ["-1", "1.5", "1e3", "99999999999999999999", *NO_NUMBERS]
SIZE = ["-1", "5 furlongs", "1e9 GB", "1000001 GB", "9" * 400 + " GB", "nan", "MiB", MEGABYTE]
PATH = ["scripts", "./a", "~/a", "file:///a", "/a\nb", "/a\0b", "/" + MEGABYTE]

BAD = {
    "ScriptRoots": PATH,
    "GitRepositories": [
        "gitlab.com",
        "*",
        "https://user:secret@host/",
        "https://a b/",
        "ftp://host/",
        "h\u00f6st:a",
        MEGABYTE,
    ],
    "SubarrayId": WHOLE,
    "AbortScript": ["abort.py", "/abort.py", "git://abort.py", "file://a\nb", "file://" + MEGABYTE],
    "StopGracePeriod": TIME,
    "LoadTimeout": TIME,
    "InitTimeout": TIME,
    "EnvironmentTimeout": TIME,
    "RunTimeout": TIME,
    "MaxProcedures": ["0", "10001", *WHOLE],
    "HistoryLength": ["100001", *WHOLE],
    "SpareWorkers": ["65", "1000", *WHOLE],
    "Preload": ["a-b", "a.", ".a", "a b", "import", "1a", "a.b()", MEGABYTE],
    "MaxMemory": SIZE,
    "MaxOutput": SIZE,
    "AlarmOnFailure": ["maybe", "2", "-1", "truely", MEGABYTE],
    "StateWhileRunning": ["OFF", "running fast", MEGABYTE],
    "OetCompatibility": ["maybe", "2"],
    "HistoryUrl": [
        "history",
        "/a/b",
        "sqlite:",
        "://x",
        "postgresql://a\nb",
        "postgresql://a:b@c@d/e",
        "postgresql://a:b",
        MEGABYTE,
    ],
    "HistoryDays": ["-1", "36501", *NO_NUMBERS],
    "GitTokenFile": PATH,
    "EnvironmentDays": ["-1", "36501", *NO_NUMBERS],
    "EnvironmentQuota": SIZE,
    "StateDirectory": PATH,
}

GOOD = {
    "ScriptRoots": (["/a", "", "/b \u00e9\u4e2d"], ("/a", "/b \u00e9\u4e2d")),
    "GitRepositories": (
        ["https://h/a/", "http://127.0.0.1:80/", "ssh://git@h/", "git@h:a/", "file:///a/", "git://h/"],
        ("https://h/a/", "http://127.0.0.1:80/", "ssh://git@h/", "git@h:a/", "file:///a/", "git://h/"),
    ),
    "SubarrayId": (["16"], 16),
    "AbortScript": (["file:///a/b.py"], "file:///a/b.py"),
    "StopGracePeriod": (["0"], 0.0),
    "LoadTimeout": ([" 2.5 "], 2.5),
    "InitTimeout": (["1e3"], 1000.0),
    "EnvironmentTimeout": ([".5"], 0.5),
    "RunTimeout": ([str(LONGEST_TIME)], float(LONGEST_TIME)),
    "MaxProcedures": (["1"], 1),
    "HistoryLength": (["0"], 0),
    "SpareWorkers": (["64"], 64),
    "Preload": (["numpy", "a.b_c", " "], ("numpy", "a.b_c")),
    "MaxMemory": (["512 MiB"], 512 * 2**20),
    "MaxOutput": (["0"], 0),
    "AlarmOnFailure": (["True"], True),
    "StateWhileRunning": (["on"], "ON"),
    "OetCompatibility": (["yes"], True),
    "HistoryUrl": (["postgresql+psycopg://a:b@c/d"], "postgresql+psycopg://a:b@c/d"),
    "HistoryDays": (["0"], 0.0),
    "GitTokenFile": (["/a"], "/a"),
    "EnvironmentDays": (["7"], 7.0),
    "EnvironmentQuota": (["20 GB"], 20 * 10**9),
    "StateDirectory": (["/a"], "/a"),
}

BEFORE = Settings(
    **{
        item.field: item.parse(values[0]) if not item.several else wanted
        for item in PROPERTIES
        for values, wanted in [GOOD[item.name]]
    }
)
"""Settings that differ from the defaults, as an administrator has made them."""


def test_the_tables_of_this_test_are_complete():
    assert set(BAD) == set(GOOD) == set(BY_NAME)
    assert {item.field for item in PROPERTIES} == {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://oet:a%40b%3Ac@host:5432/name",
        "postgresql://oet:a/b?c@host/name",
        "postgresql://oet@[::1]:5432/name?sslmode=require",
        "postgresql+psycopg://oet@/name?host=a:5432&host=b:5432",
        "sqlite:////var/lib/a:b@c/history.sqlite3",
    ],
)
def test_the_environments_url_of_the_history_is_one_that_the_property_may_have(url):
    assert history_url_in(f" {url}\n") == (url, "")
    assert settings_from({"HistoryUrl": [url]}, Settings(), 1)[0].history_url == url


@pytest.mark.parametrize("text", ["secret", "postgresql://oet:secret", "postgresql://oet:se@cret@host", "/a/secret"])
def test_what_is_no_url_of_a_history_is_told_without_the_value(text):
    url, problem = history_url_in(text)
    assert (url, "OET_HISTORY_URL is not the URL of a database" in problem, "cret" in problem) == ("", True, False)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_text_in_the_environment_names_no_history(text):
    assert history_url_in(text) == ("", "")


def test_no_part_of_a_password_is_shown_of_a_bad_url():
    _, (problem,) = settings_from({"HistoryUrl": ["postgresql://oet:first@second@third@host/name"]}, Settings(), 1)
    assert [word for word in ("oet", "first", "second", "third") if word in problem] == []
    assert "://***@host/name" in problem


def test_the_device_declares_each_property_once():
    declared = {name: value for name, value in vars(DeviceProperties).items() if name in BY_NAME}
    assert set(declared) == set(BY_NAME)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
@pytest.mark.parametrize("before", [Settings(), BEFORE], ids=["first start", "Init"])
def test_a_bad_value_keeps_what_was_and_is_named_with_its_rule(name, text, before):
    settings, problems = settings_from(
        {name: [text], "LoadTimeout" if name != "LoadTimeout" else "InitTimeout": ["7"]}, before, 3
    )
    item = BY_NAME[name]
    assert getattr(settings, item.field) == getattr(before, item.field)
    assert (settings.load_timeout if name != "LoadTimeout" else settings.init_timeout) == 7  # the others are taken
    (problem,) = problems
    assert problem.startswith(f"Property {name}: ")
    assert item.rule in problem
    assert text[:30].replace("user:secret", "***")[:8] in problem or repr(text)[:20] in problem
    assert len(problem) < 500
    assert problem.isprintable()
    assert "secret" not in problem


@pytest.mark.parametrize("name", GOOD)
def test_a_good_value_is_taken_in_each_form(name):
    texts, wanted = GOOD[name]
    settings, problems = settings_from({name: texts}, Settings(), 1)
    assert problems == []
    assert getattr(settings, BY_NAME[name].field) == wanted


@pytest.mark.parametrize("item", PROPERTIES, ids=lambda item: item.name)
@pytest.mark.parametrize("texts", [{}, {"": []}, None], ids=["missing", "another", "empty array"])
def test_what_is_not_set_has_its_default_whatever_was_before(item, texts):
    settings, problems = settings_from({item.name: []} if texts is None else texts, BEFORE, 1)
    assert problems == []
    assert getattr(settings, item.field) == getattr(Settings(), item.field)


@pytest.mark.parametrize("item", PROPERTIES, ids=lambda item: item.name)
def test_an_empty_text_is_none_for_several_values_and_the_default_for_one(item):
    settings, problems = settings_from({item.name: [" "]}, BEFORE, 1)
    assert problems == []
    assert getattr(settings, item.field) == (() if item.several else getattr(Settings(), item.field))


@pytest.mark.parametrize("item", [item for item in PROPERTIES if not item.several], ids=lambda item: item.name)
def test_several_values_for_a_property_of_one_are_refused(item):
    good = GOOD[item.name][0][0]
    settings, problems = settings_from({item.name: [good, good]}, Settings(), 1)
    assert getattr(settings, item.field) == getattr(Settings(), item.field)
    assert "has 2 values" in problems[0]
    assert item.rule in problems[0]


def test_the_subarray_is_the_devices_where_no_property_says_another():
    assert settings_from({}, Settings(), 5)[0].subarray_id == 5
    assert settings_from({"SubarrayId": ["0"]}, Settings(), 5)[0].subarray_id == 5
    assert settings_from({"SubarrayId": ["9"]}, Settings(), 5)[0].subarray_id == 9


@pytest.mark.parametrize(
    ("device", "number"),
    [
        ("mid-oet/subarray/01", 1),
        ("a/b/16", 16),
        ("a/b/c", None),
        ("a/b/-1", None),
        ("a/b/\u0663", None),
        ("a/b/" + "9" * 5000, None),
    ],
)
def test_the_number_in_a_devices_name(device, number):
    assert number_in(device) == number


@given(
    st.dictionaries(
        st.sampled_from(sorted(BY_NAME)), st.lists(st.text(max_size=30) | st.from_regex(r"[-+0-9.eE]{1,8}"), max_size=3)
    )
)
def test_no_text_raises(texts):
    settings, problems = settings_from(texts, BEFORE, 1)
    for item in PROPERTIES:
        named = any(problem.startswith(f"Property {item.name}: ") for problem in problems)
        assert not named or getattr(settings, item.field) == getattr(BEFORE, item.field)


class TestAFileSystemThatHangs:
    """None here hangs at will: looking at a folder waits in its place."""

    @pytest.fixture
    def local(self, tmp_path):
        (tmp_path / "abort.py").write_text("def main(): pass\n")
        return tmp_path

    @pytest.fixture
    def hangs(self, monkeypatch):
        """The beginning of the paths that do not answer, once it is given."""
        paths: list[str] = []
        answers = threading.Event()
        for name in ("isdir", "realpath"):
            real = getattr(os.path, name)

            def look(path, real=real):
                return real(path) if not str(path).startswith(tuple(paths)) or answers.wait(60) else None

            monkeypatch.setattr(os.path, name, look)
        yield paths
        answers.set()
        wait_until(lambda: not any(each.name == "finder" for each in threading.enumerate()), 20, "it answers")

    def test_is_told_and_keeps_nothing_else_from_being_taken(self, local, hangs):
        hangs.append("/nfs")
        texts = {
            "ScriptRoots": ["/nfs", str(local)],
            "AbortScript": [f"file://{local}/abort.py"],
            "StateDirectory": [str(local)],
        }
        configuration = Configuration("test/d/1", lambda device, names: texts)
        configuration.read(20.0)
        found = configuration.current
        assert found.settings.script_roots == ("/nfs", str(local))
        assert found.abort_path == str(local / "abort.py")
        assert [problem for problem in found.problems if "/nfs" in problem and "has not answered" in problem]
        assert not found.nothing_runs

    def test_leaves_the_abort_script_where_it_was_found_before(self, local, hangs):
        texts = {"ScriptRoots": [str(local)], "AbortScript": [f"file://{local}/abort.py"]}
        configuration = Configuration("test/d/1", lambda device, names: texts)
        configuration.read(20.0)
        assert (configuration.current.abort_path, configuration.current.problems) == (str(local / "abort.py"), ())
        hangs.append(str(local))
        configuration.read(20.0)
        assert configuration.current.abort_path == str(local / "abort.py")
        assert any("AbortScript" in problem for problem in configuration.current.problems)

    def test_an_abort_script_that_has_gone_is_nowhere(self, local):
        texts = {"ScriptRoots": [str(local)], "AbortScript": [f"file://{local}/abort.py"]}
        configuration = Configuration("test/d/1", lambda device, names: texts)
        configuration.read(20.0)
        (local / "abort.py").unlink()
        configuration.read(20.0)
        assert configuration.current.abort_path == ""
        assert any("AbortScript" in problem for problem in configuration.current.problems)


def test_a_database_that_fails_and_then_hangs_is_told_with_all_the_time_that_it_had(monkeypatch):
    # Time for two attempts, also where the machine is busy for a second or two.
    monkeypatch.setattr("ska_oet_device.procedure.ui._properties.READ_AT_START", 3.0)
    answers, asked = threading.Event(), []

    def fail_then_hang(device, names):
        asked.append(device)
        if len(asked) == 1:
            raise OSError("nobody is there")
        answers.wait(60)
        return {}

    configuration = Configuration("test/d/1", fail_then_hang)
    configuration.start()
    try:
        assert len(asked) == 2
        assert "(it has not answered within 3 s); the defaults are in use." in " ".join(configuration.current.problems)
    finally:
        answers.set()
        wait_until(lambda: not any(each.name == "properties" for each in threading.enumerate()), 20, "it answers")
