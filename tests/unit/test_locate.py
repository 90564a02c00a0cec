"""Where a script on the file system is, and whether it may be run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.forked import in_a_child

from ska_oet_device.errors import InvalidArgumentError, NotAllowedError, OetError, ScriptNotFoundError
from ska_oet_device.procedure.domain import FileSystemScript, check_syntax, locate
from ska_oet_device.procedure.script import LARGEST_SCRIPT, ScriptMovedError, read_script

FLIPS = """
import os, sys
inside, outside, aside = sys.argv[1:]
print("begins", flush=True)
while True:
    os.symlink(outside, aside)
    os.replace(aside, inside)
    with open(aside, "w") as file:
        file.write("INSIDE\\n")
    os.replace(aside, inside)
"""
SOURCE = "def main():\n    pass\n"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def write(path: Path, text: str = SOURCE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(uri: str, *roots: Path) -> Path:
    return locate(FileSystemScript(uri), [str(root) for root in roots])


class TestLocate:
    def test_finds_an_absolute_path_below_a_root(self, root):
        script = write(root / "deep" / "down" / "a.py")
        assert found(f"file://{script}", root) == script.resolve()

    def test_looks_a_relative_name_up_in_each_root_in_order(self, root, tmp_path):
        second = tmp_path / "second"
        only_second, in_both = write(second / "b.py"), write(root / "a.py")
        write(second / "a.py")
        assert found("file://a.py", root, second) == in_both
        assert found("file://a.py", second, root) == second / "a.py"
        assert found("file://b.py", root, second) == only_second

    def test_allows_the_way_through_a_parent_folder_that_stays_inside(self, root):
        script = write(root / "a.py")
        (root / "sub").mkdir()
        assert found("file://sub/../a.py", root) == script
        assert found(f"file://{root}/sub/../a.py", root) == script

    @pytest.mark.parametrize("uri", ["file://../outside.py", "file://sub/../../outside.py", "file://{tmp}/outside.py"])
    def test_refuses_what_leads_outside(self, root, tmp_path, uri):
        write(tmp_path / "outside.py")
        (root / "sub").mkdir()
        with pytest.raises(NotAllowedError, match="ScriptRoots") as caught:
            found(uri.format(tmp=tmp_path), root)
        assert str(root) in str(caught.value)

    def test_does_not_tell_whether_something_exists_outside(self, root, tmp_path):
        with pytest.raises(NotAllowedError):
            found(f"file://{tmp_path}/nothing-here.py", root)

    def test_follows_a_symbolic_link_that_stays_inside(self, root):
        script = write(root / "a.py")
        (root / "link.py").symlink_to(script)
        assert found("file://link.py", root) == script

    def test_refuses_a_symbolic_link_that_leads_out(self, root, tmp_path):
        (root / "link.py").symlink_to(write(tmp_path / "outside.py"))
        with pytest.raises(NotAllowedError):
            found("file://link.py", root)

    def test_refuses_a_linked_folder_that_leads_out(self, root, tmp_path):
        write(tmp_path / "other" / "a.py")
        (root / "sub").symlink_to(tmp_path / "other")
        with pytest.raises(NotAllowedError):
            found("file://sub/a.py", root)

    def test_lets_a_link_from_outside_lead_in(self, root, tmp_path):
        script = write(root / "a.py")
        (tmp_path / "way-in").symlink_to(root)
        assert found(f"file://{tmp_path}/way-in/a.py", root) == script

    def test_a_root_may_itself_be_a_link(self, root, tmp_path):
        script = write(root / "a.py")
        (tmp_path / "link").symlink_to(root)
        assert found("file://a.py", tmp_path / "link") == script
        assert found(f"file://{tmp_path}/link/a.py", tmp_path / "link") == script

    def test_a_loop_of_links_is_no_script(self, root):
        (root / "a.py").symlink_to(root / "b.py")
        (root / "b.py").symlink_to(root / "a.py")
        with pytest.raises(OetError):
            found("file://a.py", root)

    def test_a_sibling_whose_name_begins_like_the_root_is_outside(self, root, tmp_path):
        write(tmp_path / "root-of-others" / "a.py")
        with pytest.raises(NotAllowedError):
            found(f"file://{tmp_path}/root-of-others/a.py", root)

    @pytest.mark.parametrize("name", ["with space.py", "ümlaut.py", "100%.py", "a#b?c.py", "weird\n.py"])
    def test_decodes_percent_encoding(self, root, name):
        script = write(root / name)
        assert found(f"file://{quote(name)}", root) == script

    def test_says_how_to_write_a_percent_sign(self, root):
        script = write(root / "per%cent.py")
        with pytest.raises(ScriptNotFoundError, match=r"written with %25: file://per%25cent\.py") as caught:
            found("file://per%cent.py", root)
        assert "which is per\ufffdnt.py" in str(caught.value)
        assert found("file://per%25cent.py", root) == script
        with pytest.raises(ScriptNotFoundError, match=r"which is a script\.py"):
            found("file://a%20script.py", root)

    def test_percent_encoded_dots_do_not_lead_out_either(self, root, tmp_path):
        write(tmp_path / "outside.py")
        with pytest.raises(NotAllowedError):
            found("file://%2e%2e/outside.py", root)

    @pytest.mark.parametrize("uri", ["file://a\0.py", "file://a%00.py"])
    def test_refuses_nul(self, root, uri):
        with pytest.raises(InvalidArgumentError, match="NUL"):
            found(uri, root)

    @pytest.mark.parametrize("uri", ["file://nothing.py", "file://nothing/at/all.py", f"file://{'x' * 256}"])
    def test_says_when_there_is_nothing(self, root, uri):
        with pytest.raises(ScriptNotFoundError, match="no file"):
            found(uri, root)

    @pytest.mark.parametrize(
        "name",
        ["/a" * 100_000, "a/" * 500_000 + "b", "%41ü" * 250_000, "/" * 1_000_000, "../" * 300_000, "x" * 1_000_000],
        ids=["absolute", "relative", "encoded", "slashes", "dots", "name"],
    )
    def test_a_name_that_no_file_can_have_is_refused_at_once(self, root, name):
        before = time.thread_time()
        with pytest.raises(ScriptNotFoundError, match="no file can be") as refused:
            found(f"file://{name}", root)
        assert time.thread_time() - before < 0.2  # it took 7 s for 200 kB, and four times that for twice as much
        assert len(str(refused.value)) < 500

    def test_the_longest_name_that_a_file_can_have_is_looked_for(self, root):
        folder = root / ("d" * 255) / ("e" * 255)
        script = write(folder / ("ü" * 126 + ".py"))
        assert found(f"file://{quote(str(script))}", root) == script
        before = time.thread_time()
        with pytest.raises(ScriptNotFoundError, match="no file for"):
            found("file://" + "d/" * 2047 + "x", *[root] * 10)
        assert time.thread_time() - before < 1.0

    def test_a_folder_is_no_script(self, root):
        (root / "sub").mkdir()
        with pytest.raises(ScriptNotFoundError):
            found("file://sub", root)

    def test_the_root_itself_is_no_script(self, root):
        with pytest.raises(OetError):
            found("file://.", root)

    def test_a_fifo_is_no_script_and_is_not_waited_for(self, root):
        os.mkfifo(root / "fifo.py")
        with pytest.raises(ScriptNotFoundError):
            found("file://fifo.py", root)

    def test_refuses_a_script_of_unreasonable_size(self, root):
        script = root / "large.py"
        script.touch()
        os.truncate(script, LARGEST_SCRIPT + 1)
        with pytest.raises(InvalidArgumentError, match=str(LARGEST_SCRIPT)):
            found("file://large.py", root)
        os.truncate(script, LARGEST_SCRIPT)
        assert found("file://large.py", root) == script

    def test_without_roots_nothing_is_allowed(self, root):
        script = write(root / "a.py")
        with pytest.raises(NotAllowedError, match=r"\(none\)"):
            found(f"file://{script}")
        with pytest.raises(ScriptNotFoundError):
            found("file://a.py")

    @in_a_child
    def test_a_script_that_may_not_be_read_is_not_there_and_the_message_says_why(self):
        folder = Path(tempfile.mkdtemp(prefix="oet-locate-"))
        try:
            folder.chmod(0o755)
            write(folder / "secret.py").chmod(0)
            if os.getuid() == 0:
                os.chown(folder, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            with pytest.raises(ScriptNotFoundError, match="cannot be read"):
                found("file://secret.py", folder)
        finally:
            shutil.rmtree(folder)

    @given(st.text(min_size=1))
    def test_whatever_is_asked_for_only_our_own_errors_come_out(self, name):
        with contextlib.suppress(OetError):
            locate(FileSystemScript(f"file://{name}"), ["/nowhere-at-all"])


class TestCheckSyntax:
    def test_accepts_python(self, root):
        check_syntax(write(root / "a.py"))

    def test_says_where_the_mistake_is(self, root):
        script = write(root / "a.py", "x = 1\ndef main(:\n")
        with pytest.raises(InvalidArgumentError, match=r"a\.py line 2"):
            check_syntax(script)

    @pytest.mark.parametrize("source", [b"x = '\0'\n", b"\xff\xfe", b"# coding: nonsense\n", b"  x\n y\n"])
    def test_refuses_what_python_cannot_read(self, root, source):
        script = root / "a.py"
        script.write_bytes(source)
        with pytest.raises(InvalidArgumentError):
            check_syntax(script)

    def test_refuses_what_nests_too_deeply(self, root):
        with pytest.raises(InvalidArgumentError):
            check_syntax(write(root / "a.py", "x = " + "(" * 5000 + ")" * 5000))

    def test_looks_again_when_the_script_has_changed(self, root):
        script = write(root / "a.py", "x = 1\n")
        check_syntax(script)
        write(script, "x = (\n")
        for _ in range(2):
            with pytest.raises(InvalidArgumentError):
                check_syntax(script)
        write(script, "x = 2\n")
        check_syntax(script)

    @pytest.mark.parametrize(
        "source",
        [
            "".join(f"{' ' * i}try:\n{' ' * i} pass\n{' ' * i}finally:\n" for i in range(25)) + " " * 25 + "pass\n",
            "def f():pass\n" * 5000,
            'f"' + "{a}" * 21_000 + '"\nx y\n',
            'f"' + "{a}" * 10_000 + '"\nx y\n',
        ],
        ids=["finally", "functions", "f-string", "smaller f-string"],
    )
    def test_what_would_be_compiled_for_long_is_not(self, root, source):
        script = write(root / "a.py", source)  # compiling takes 200 s, 0.4 s, 0.6 s and 0.2 s
        before = time.thread_time()
        check_syntax(script)
        assert time.thread_time() - before < 0.15

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
    def test_what_has_come_in_the_place_of_a_script_is_not_waited_for(self, root, make):
        make(root / "a.py")
        with pytest.raises((NotAllowedError, ScriptNotFoundError)):
            check_syntax(root / "a.py")

    def test_leaves_a_large_script_to_the_worker(self, root):
        check_syntax(write(root / "a.py", "def main(:\n" + "#" * 70_000))

    def test_a_script_that_has_gone_meanwhile_is_not_found(self, root):
        with pytest.raises(ScriptNotFoundError, match="cannot be read"):
            check_syntax(root / "gone.py")

    def test_runs_nothing(self, root):
        check_syntax(write(root / "a.py", "raise SystemExit('this ran')\n"))


class TestReadScript:
    def test_only_the_script_is_read_while_a_link_takes_its_place_again_and_again(self, root, tmp_path):
        inside, outside = write(root / "a.py", "INSIDE\n"), write(tmp_path / "outside.py", "OUTSIDE\n")
        arguments = [sys.executable, "-c", FLIPS, str(inside), str(outside), str(root / "aside")]
        flipper = subprocess.Popen(arguments, stdout=subprocess.PIPE)  # a thread would hardly ever come in between
        assert flipper.stdout is not None
        flipper.stdout.readline()
        read, refused, looks, deadline = set(), 0, 0, time.monotonic() + 20
        try:
            while looks < 1500 or (not refused and time.monotonic() < deadline):  # the flipper may be held up as well
                looks += 1
                try:
                    read.add(read_script(str(inside)))
                except ScriptMovedError:
                    refused += 1
                with contextlib.suppress(OetError):
                    found("file://a.py", root)
        finally:
            flipper.kill()
            flipper.communicate()
        assert read <= {b"INSIDE\n", b""}, "it was OUTSIDE once in a thousand times"
        assert refused

    def test_a_folder_on_the_way_may_not_lead_elsewhere_either(self, root, tmp_path):
        write(tmp_path / "other" / "a.py")
        (root / "sub").symlink_to(tmp_path / "other")
        with pytest.raises(ScriptMovedError, match="other"):
            read_script(str(root / "sub" / "a.py"))

    def test_a_fifo_is_not_waited_for(self, root):
        os.mkfifo(root / "a.py")
        with pytest.raises(ScriptMovedError, match="no file"):
            read_script(str(root / "a.py"))

    def test_no_more_is_read_than_a_script_may_have(self, root):
        write(root / "a.py")
        os.truncate(root / "a.py", LARGEST_SCRIPT + 1)
        with pytest.raises(OSError, match="more than"):
            read_script(str(root / "a.py"))
