"""What scripts import of an environment is what was built, whatever an earlier script has done to it."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
from pathlib import Path

import pytest
from support.packages import make_project
from support.two_users import as_an_ordinary_owner

from ska_oet_device.errors import InvalidStateError
from ska_oet_device.procedure.environment import Environment, EnvironmentState
from ska_oet_device.procedure.environment.manager import EnvironmentManager


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path / "p", requirements_txt="shared==1.0\n")


def module_of(environment) -> Path:
    return Path(environment.site_packages) / "shared" / "__init__.py"


def writes_in_place(environment):
    module = module_of(environment)
    noted = module.stat()
    module.write_text(module.read_text().replace("1.0", "6.6"))
    os.utime(module, ns=(noted.st_atime_ns, noted.st_mtime_ns))


def runs_sed(environment):
    subprocess.run(["sed", "-i", "s/1.0/6.6/", str(module_of(environment))], check=True)


def plants_a_pth(environment):
    (Path(environment.site_packages) / "planted.pth").write_text("import sys; sys.planted = True\n")


def plants_a_module(environment):
    (Path(environment.site_packages) / "numpy.py").touch()


def removes_a_package(environment):
    module_of(environment).unlink()


CHANGES = [
    (writes_in_place, "shared/__init__.py was changed"),
    (runs_sed, "shared/__init__.py was changed"),
    (plants_a_pth, "planted.pth was added"),
    (plants_a_module, "numpy.py was added"),
    (removes_a_package, "shared/__init__.py is missing"),
]


class TestAnEnvironmentThatWasChanged:
    @pytest.mark.parametrize(
        ("change", "said"),
        [pytest.param(*each, id=each[0].__name__, marks=pytest.mark.long) for each in CHANGES],
    )
    def test_is_made_anew_for_the_next_who_asks(self, manager, project, ask, caplog, change, said):
        first = manager.prepare(project, "c1")
        attempt = first.attempt
        manager.close()
        change(first)
        with caplog.at_level(logging.WARNING):
            again = manager.prepare(project, "c1")
        assert again.location == first.location
        assert again.attempt != attempt
        assert said in caplog.text
        assert ask(again, "[shared.version, hasattr(sys, 'planted')]", "shared, sys") == ["1.0", False]
        manager.close()
        kept = manager.prepare(project, "c1").attempt
        assert kept == again.attempt

    @pytest.mark.long
    def test_in_place_is_told_by_all_that_share_the_file_and_not_taken_from_the_cache(self, manager, tmp_path, ask):
        wanted = {"one": "shared==1.0\n", "two": "shared==1.0\nuser\n", "three": "shared==1.0\nuser==1.0\n"}
        projects = [make_project(tmp_path / name, requirements_txt=text) for name, text in wanted.items()]
        first, second = (manager.prepare(each, "c1") for each in projects[:2])
        manager.close()
        assert module_of(first).samefile(module_of(second))
        writes_in_place(first)
        for each in projects:
            assert ask(manager.prepare(each, "c1"), "shared.version", "shared") == "1.0"

    @pytest.mark.long
    def test_and_is_in_use_is_made_anew_beside_it(self, manager, project, store, ask):
        first = manager.prepare(project, "c1")
        plants_a_module(first)
        other = EnvironmentManager(base_dir=store)
        beside = other.prepare(project, "c1")
        assert beside.env_id == f"{first.env_id}-2"
        assert ask(beside, "shared.version", "shared") == "1.0"
        assert (Path(first.site_packages) / "numpy.py").exists(), "whoever uses it keeps what he has"
        other.close()
        assert other.prepare(project, "c1").env_id == beside.env_id
        other.close()
        manager.close()
        assert other.prepare(project, "c1").env_id == first.env_id, "nobody uses it any more"
        other.close()
        assert {info.state for info in other.list()} == {EnvironmentState.READY}
        other.remove(beside.env_id)

    @pytest.mark.long
    def test_is_not_what_python_does_or_what_other_environments_do(self, manager, project, store, tmp_path, ask):
        first = manager.prepare(project, "c1")
        attempt = first.attempt
        manager.close()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        subprocess.run([first.python, "-c", "import shared"], env=clean, check=True)
        assert list(module_of(first).parent.glob("__pycache__/*.pyc"))
        os.link(module_of(first), tmp_path / "another name")  # as an environment that has the same package
        before = first.manifest.read_bytes()
        assert manager.prepare(project, "c1").attempt == attempt
        assert first.manifest.read_bytes() != before

    @pytest.mark.long
    def test_is_taken_as_it_is_where_an_earlier_version_has_made_it(self, manager, project):
        first = manager.prepare(project, "c1")
        attempt = first.attempt
        manager.close()
        first.manifest.unlink()
        record = json.loads(first.record.read_text())
        del record["has_manifest"]
        first.record.write_text(json.dumps(record))
        assert manager.prepare(project, "c1").attempt == attempt


ODD = {
    "no JSON": b"{",
    "nothing": b"",
    "no text": b"\xff\xfe\xfa",
    "a list": b"[1, 2]",
    "a number": b"7",
    "null": b"null",
    "deep": b"[" * 100_000,
    "huge": b'{"reason": "' + b"x" * 2_000_000 + b'"}',
    "a huge number": b'{"size": ' + b"9" * 4_000 + b"}",
    "infinity": b'{"started": Infinity}',
    "NaN": b'{"ended": NaN}',
    "true": b'{"size": true}',
    "a text for a time": b'{"started": "yesterday"}',
    "a text for a size": b'{"size": "large", "outcome": "READY"}',
    "a list for a text": b'{"reason": [1]}',
    "numbers for packages": b'{"packages": [1, 2]}',
    "a text for packages": b'{"packages": "shared"}',
    "an outcome that is none": b'{"outcome": "GREAT"}',
}


@pytest.fixture
def known(manager, store):
    """The store with an environment that was asked for, and its folder."""
    folder = store / "0123456789abcdef0123"
    folder.mkdir(parents=True)
    (folder / "created").touch()
    return folder


def only(manager):
    (info,) = manager.list()
    json.dumps(info.__dict__)
    assert manager.collect(30, 10**12) == []
    assert manager.size() >= 0
    return info


class TestARecordThatIsOdd:
    @pytest.mark.parametrize("content", ODD.values(), ids=ODD)
    def test_is_told_of_and_harms_nobody(self, manager, known, content):
        (known / "record.json").write_bytes(content)
        info = only(manager)
        assert (info.state, info.size) == (EnvironmentState.FAILED, 0)
        assert "record.json is not what was written there" in info.reason
        assert len(info.reason) <= 300
        manager.remove(known.name)
        assert not known.exists()

    @pytest.mark.parametrize("name", ["record.json", "using", "creating", "created", "build.log", "manifest"])
    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
    def test_or_is_no_file_is_told_of_and_can_be_removed(self, manager, known, name, make):
        (known / name).unlink(missing_ok=True)
        make(known / name)
        assert only(manager).state != EnvironmentState.READY
        manager.remove(known.name)
        assert not known.exists()

    def test_of_a_later_version_is_no_odd_one(self, manager, known):
        (known / "record.json").write_text('{"attempt": "1", "outcome": "FAILED", "reason": "why", "colour": "red"}')
        assert only(manager).reason.startswith(("why", "its interpreter"))

    @pytest.mark.long
    def test_has_the_environment_made_anew(self, manager, project, ask):
        first = manager.prepare(project, "c1")
        manager.close()
        for make in (os.mkfifo, os.mkdir):
            for path in (first.record, first.log, first.manifest):
                if not path.is_dir():
                    path.unlink()
                    make(path)
            assert manager.prepare(project, "c1").attempt
            manager.close()
            for path in (first.record, first.log, first.manifest):
                assert path.is_file()

    @pytest.mark.long
    def test_or_a_lock_or_mark_that_is_none_gives_way(self, manager, project):
        first = manager.prepare(project, "c1")
        manager.close()
        makes = (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path))
        for make in makes:
            for path in (first.using, first.creating.path):
                path.unlink()
                make(path)
                assert manager.prepare(project, "c1").attempt == first.attempt
                manager.close()
        first.created.path.unlink()
        first.created.path.mkdir()
        plants_a_module(first)
        again = manager.prepare(project, "c1")
        assert all(stat.S_ISREG(path.lstat().st_mode) for path in (again.using, again.creating.path))
        assert again.created.path.is_file()

    @pytest.mark.long
    @pytest.mark.parametrize("what", ["using", "creating", ".", "venv", "venv/lib"])
    def test_nor_does_one_that_nobody_may_open_stay_so(self, manager, project, what):
        """For a server that is not root."""
        first = manager.prepare(project, "c1")
        manager.close()
        (first.folder / what).chmod(0)
        code = (
            "import sys, pathlib; from ska_oet_device.procedure.environment.manager import EnvironmentManager; "
            "print(EnvironmentManager(base_dir=sys.argv[1]).prepare(pathlib.Path(sys.argv[2]), 'c1').is_ready())"
        )
        assert as_an_ordinary_owner(code, manager.base_dir, project) == "True"

    def test_or_a_lock_that_is_none_is_no_error_of_the_system_for_main(self, known):
        os.mkfifo(known / "using")
        with pytest.raises(InvalidStateError, match="cannot be held"):
            Environment.at(known).use()
