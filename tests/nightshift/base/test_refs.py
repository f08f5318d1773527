from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.base.errors import BadQuery
from nightshift.base.refs import LONGEST_ID, ChannelRef

IDS = st.text(min_size=1, max_size=LONGEST_ID).filter(str.isprintable)


@given(id=IDS)
def test_a_channel_is_found_again_by_its_name_whatever_its_id_holds(id: str) -> None:
    ref = ChannelRef("matrix", id)
    assert ChannelRef.parse(str(ref)) == ref


@given(id=IDS)
def test_a_channels_name_holds_nothing_that_means_something_in_a_key(id: str) -> None:
    name = str(ChannelRef("matrix", id)).removeprefix("matrix:")
    assert not set(name) & set(":{}*?[]@| \n")


@pytest.mark.parametrize(
    ("platform", "id"),
    [
        ("", "1"),
        ("Discord", "1"),
        ("a:b", "1"),
        ("discord", ""),
        ("discord", "x" * (LONGEST_ID + 1)),
        ("discord", "a\nb"),
        ("discord", "\ud800"),  # half a character, as broken clients send
    ],
)
def test_what_can_be_no_channel_is_refused(platform: str, id: str) -> None:
    with pytest.raises(BadQuery):
        ChannelRef(platform, id)


def test_a_name_without_a_platform_is_refused_with_what_one_looks_like() -> None:
    with pytest.raises(BadQuery, match="discord:1234"):
        ChannelRef.parse("1234")
