"""Modules of a checkout are what their sources say, whatever somebody has put where Python keeps byte code."""

from __future__ import annotations

import importlib.util
import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest

WAYS = {
    "import": "import near; print(near.VALUE)",
    "of a package": "import package.inner; print(package.inner.VALUE)",
    "reload": "import importlib, near; print(importlib.reload(near).VALUE)",
    "run_module": "import runpy; print(runpy.run_module('near')['VALUE'])",
    "by its path": (
        "import importlib.util; spec = importlib.util.spec_from_file_location('other', {top!r} + '/near.py');"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module); print(module.VALUE)"
    ),
    "by a link": "sys.path.insert(0, {link!r}); import near; print(near.VALUE)",
    "from its folder": "import os; os.chdir({top!r}); sys.path[0] = ''; import near; print(near.VALUE)",
    "after a fork": "import multiprocessing.pool, os; os.fork() or (exec('import near; print(near.VALUE)'), os._exit("
    "sys.stdout.flush() or 0)); os.wait()",
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "checkout"
    (top / "package").mkdir(parents=True)
    for name in ("near.py", "package/inner.py", "package/__init__.py"):
        (top / name).write_text("VALUE = 'source'\n")
    (tmp_path / "link").symlink_to(top)
    return top


def poison(top: Path, prefix: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put byte code of another source wherever Python looks for that of these: with their times and sizes."""
    monkeypatch.setattr(sys, "pycache_prefix", prefix and str(prefix))
    code = marshal.dumps(compile("VALUE = 'poison'", "near.py", "exec"))
    for source in top.rglob("*.py"):
        noted = source.stat()
        header = importlib.util.MAGIC_NUMBER + b"".join(
            number.to_bytes(4, "little") for number in (0, int(noted.st_mtime), noted.st_size)
        )
        for known_as in (source, top.with_name("link") / source.relative_to(top)):
            for level in ("", 1, 2):
                kept = Path(importlib.util.cache_from_source(str(known_as), optimization=level))
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(header + code)


def executed(code: str, top: Path, prefix: Path | None, *, protected: bool = True) -> str:
    begin = f"import sys; sys.path.insert(0, {str(top)!r});"
    if protected:
        begin += f"from ska_oet_device.procedure.worker._byte_code import import_from_source as i;i({str(top)!r});"
    code = begin + code.format(top=str(top), link=str(top.with_name("link")))
    option = ["-X", f"pycache_prefix={prefix}"] if prefix else []
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHONDONT")}
    done = subprocess.run([sys.executable, *option, "-c", code], capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_byte_code_that_somebody_has_put_there_does_not_run(way, is_elsewhere, top, tmp_path, monkeypatch):
    prefix = tmp_path / "prefix" if is_elsewhere else None
    poison(top, prefix, monkeypatch)
    assert executed(WAYS[way], top, prefix, protected=False) == "poison", "the test poisons what Python reads"
    assert executed(WAYS[way], top, prefix) == "source"


def test_none_is_written_by_the_process_or_by_what_it_starts(top):
    code = "import near, subprocess; subprocess.run([sys.executable, '-c', 'import package.inner'], cwd={top!r})"
    executed(code, top, None)
    assert not list(top.rglob("__pycache__"))


def test_packages_elsewhere_keep_theirs(top, tmp_path):
    (tmp_path / "checkout-of-another").mkdir()
    (tmp_path / "checkout-of-another" / "far.py").write_text("")
    executed(f"sys.path.insert(0, {str(tmp_path / 'checkout-of-another')!r}); import far, near", top, None)
    assert [path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc")] == ["far"]
