"""Getting rid of files and folders, whatever they allow."""

from __future__ import annotations

import pytest
from support.two_users import as_an_ordinary_owner

from ska_oet_device.files import remove_tree


@pytest.fixture
def folder(tmp_path):
    """A folder with something in it, and something beside it."""
    made = tmp_path / "folder"
    (made / "inner").mkdir(parents=True)
    (made / "inner" / "file").write_text("x")
    (tmp_path / "beside").write_text("stays")
    return made


def test_a_folder_goes_with_all_that_is_in_it(folder):
    remove_tree(folder)
    assert not folder.exists()
    assert (folder.parent / "beside").exists()


def test_a_folder_goes_that_nobody_may_write_to(folder):
    (folder / "inner" / "file").chmod(0o400)
    (folder / "inner").chmod(0o500)
    folder.chmod(0o500)
    remove_tree(folder)
    assert not folder.exists()


def test_a_folder_goes_that_nobody_may_read(folder):
    link = folder / "link"
    link.symlink_to(folder.parent)
    folder.parent.chmod(0o750)
    for path in (folder / "inner", folder):
        path.chmod(0)
    code = "import sys, pathlib; from ska_oet_device.files import remove_tree; remove_tree(pathlib.Path(sys.argv[1]))"
    as_an_ordinary_owner(code, folder)
    assert not folder.exists()
    assert folder.parent.stat().st_mode & 0o777 == 0o750, "where a link leads is left alone"


def test_a_file_goes(folder):
    remove_tree(folder / "inner" / "file")
    assert list((folder / "inner").iterdir()) == []


def test_of_a_symbolic_link_only_the_link_goes(folder):
    link = folder.parent / "link"
    link.symlink_to(folder)
    remove_tree(link)
    assert not link.is_symlink()
    assert (folder / "inner" / "file").exists()


def test_what_is_not_there_is_no_error(tmp_path):
    remove_tree(tmp_path / "nothing")
