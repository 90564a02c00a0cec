"""Where a script on the file system is, and whether it may be run."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.forked import in_a_child

from ska_oet_device.errors import InvalidArgumentError, NotAllowedError, OetError, ScriptNotFoundError
from ska_oet_device.procedure.domain import FileSystemScript, check_syntax, locate
from ska_oet_device.procedure.domain._locate import LARGEST_SCRIPT

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

    def test_percent_encoded_dots_do_not_lead_out_either(self, root, tmp_path):
        write(tmp_path / "outside.py")
        with pytest.raises(NotAllowedError):
            found("file://%2e%2e/outside.py", root)

    @pytest.mark.parametrize("uri", ["file://a\0.py", "file://a%00.py"])
    def test_refuses_nul(self, root, uri):
        with pytest.raises(InvalidArgumentError, match="NUL"):
            found(uri, root)

    @pytest.mark.parametrize("uri", ["file://nothing.py", "file://nothing/at/all.py", f"file://{'x' * 5000}"])
    def test_says_when_there_is_nothing(self, root, uri):
        with pytest.raises(ScriptNotFoundError, match="no file"):
            found(uri, root)

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

    def test_leaves_a_large_script_to_the_worker(self, root):
        check_syntax(write(root / "a.py", "def main(:\n" + "#" * 70_000))

    def test_a_script_that_has_gone_meanwhile_is_not_found(self, root):
        with pytest.raises(ScriptNotFoundError, match="cannot be read"):
            check_syntax(root / "gone.py")

    def test_runs_nothing(self, root):
        check_syntax(write(root / "a.py", "raise SystemExit('this ran')\n"))
