"""Names of files for whatever a device, a host or an instance is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ska_oet_device.own_files import file_name_of
from ska_oet_device.procedure.ownership import state_folder, state_key

_texts = st.one_of(st.text(max_size=300), st.text("a/_.%:-2EF ", max_size=8), st.sampled_from(["output", "%6Futput"]))


@given(st.lists(_texts, min_size=2, max_size=2, unique=True))
def test_no_two_texts_share_a_name(two):
    assert len({file_name_of(text, {"output"}) for text in two}) == 2


@given(_texts)
def test_a_name_is_as_short_as_it_has_to_be(text):
    assert len(file_name_of(text, longest=90)) <= 90


@given(_texts)
def test_a_name_is_one_that_every_folder_takes(text):
    name = file_name_of(text, {"output"})
    assert "/" not in name
    assert "\0" not in name
    assert name not in ("", ".", "..", "output")
    assert len(name.encode()) <= 255


@pytest.mark.parametrize("plain", ["mid-oet", "01", "db.example.org:10000", "nodb"])
def test_an_ordinary_text_is_its_own_name(plain):
    assert file_name_of(plain) == plain


_names = st.lists(st.text("ab_/.é", max_size=3), min_size=1, max_size=4).map("/".join) | st.sampled_from(
    [
        "a",
        "a/output",
        "a/owner",
        "a//b",
        "a/b",
        "",
        "/",
        "é" * 200,
        "sub_array/x/01",
        "_sub/array/x/01",
        "sub/array_x/01",
    ]
)


@given(st.lists(_names.map(str.lower), min_size=2, max_size=2, unique=True))
def test_no_two_devices_get_into_each_others_folder(two):
    one, other = (state_folder(Path("/state"), state_key("engine", name)) for name in two)
    ours = {one / name for name in ("owner", "numbers", "output", "unheard.json")}
    assert one != other
    assert not ours & {other, *other.parents}
