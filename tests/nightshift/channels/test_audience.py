from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.base.errors import BadSetting
from nightshift.base.refs import ChannelRef
from nightshift.channels.audience import (
    EVERYONE,
    NOBODY,
    audience_of,
    chosen_audience,
    may_see,
    merged,
    seen_by,
    server_audience,
)
from nightshift.channels.channel import Channel

PLATFORMS, SERVERS = ("discord", "matrix"), ("", "1", "2", "1:x")
AUDIENCES = ("", EVERYONE, "server:discord:1", "server:discord:1%3Ax", "server:matrix:2", "nonsense")

channels = st.builds(
    lambda platform, id, server, is_dm, audience: Channel(
        ChannelRef(platform, id), server_id=server, is_dm=is_dm, audience=audience
    ),
    st.sampled_from(PLATFORMS),
    st.sampled_from(("a", "b", "everyone", "server:discord:1", "1")),
    st.sampled_from(SERVERS),
    st.booleans(),
    st.sampled_from(AUDIENCES),
)


@given(channels, channels)
def test_what_is_said_stays_in_its_channel_unless_a_person_says_otherwise(
    here: Channel, there: Channel
) -> None:
    if may_see(audience_of(here), there) and here.ref != there.ref:
        assert not here.is_dm
        assert here.audience == EVERYONE or here.audience == server_audience(there)
    assert may_see(audience_of(here), here)


def test_a_conversation_between_two_hears_nothing_that_is_for_a_server() -> None:
    between_two = Channel(ChannelRef("discord", "d"), server_id="1", is_dm=True)
    of_the_server = Channel(ChannelRef("discord", "r"), server_id="1", audience="server:discord:1")
    assert may_see(audience_of(of_the_server), Channel(ChannelRef("discord", "s"), server_id="1"))
    assert not may_see(audience_of(of_the_server), between_two)
    assert may_see(EVERYONE, between_two)


@given(channels, st.lists(channels), channels)
def test_merging_never_widens(made_in: Channel, sources: list[Channel], reader: Channel) -> None:
    audiences = [audience_of(each) for each in sources]
    together = merged(audiences, made_in)
    if reader.ref == made_in.ref:
        reader = made_in  # there is one row of each channel
    if may_see(together, reader):
        assert all(may_see(each, reader) for each in audiences)
        assert may_see(audience_of(made_in), reader)


@given(channels, st.lists(st.sampled_from(AUDIENCES)))
def test_merging_is_the_same_in_any_order_and_in_steps(made_in: Channel, audiences: list[str]) -> None:
    together = merged(audiences, made_in)
    assert merged(reversed(audiences), made_in) == together
    assert merged([merged(audiences[:1], made_in), *audiences[1:]], made_in) == together
    assert merged([together], made_in) == together


@given(channels, channels)
def test_no_id_can_pass_for_a_wider_audience(here: Channel, there: Channel) -> None:
    """A channel may be called what an audience is called."""
    if here.ref != there.ref:
        assert str(here.ref) not in seen_by(there)
    assert not may_see(NOBODY, here)
    assert not may_see("", here)


@pytest.mark.parametrize("choice", ["server", EVERYONE])
def test_a_conversation_between_two_is_never_wider_than_itself(choice: str) -> None:
    between_two = Channel(ChannelRef("matrix", "!x"), server_id="1", is_dm=True)
    with pytest.raises(BadSetting, match="between two"):
        chosen_audience(choice, between_two)


def test_a_choice_that_means_nothing_here_is_refused() -> None:
    room = Channel(ChannelRef("matrix", "!x"))
    with pytest.raises(BadSetting, match="no server is known"):
        chosen_audience("server", room)
    with pytest.raises(BadSetting, match="'all' is no audience"):
        chosen_audience("all", room)
    assert chosen_audience("channel", room) == ""


def test_a_channel_that_moves_to_another_server_takes_no_audience_along() -> None:
    moved = Channel(ChannelRef("discord", "1"), server_id="2", audience="server:discord:1")
    assert audience_of(moved) == "discord:1"
