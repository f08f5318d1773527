"""Looks into channels that a person asks for."""

from __future__ import annotations

from nightshift.channels.channel import Channel
from nightshift.heartbeats.beating import Beaten, Beating
from nightshift.heartbeats.beats import Beats
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.store.client import store_now


async def beat_by_hand(beats: Beats, rule_book: RuleBook, beating: Beating, channel: Channel) -> Beaten:
    """Have a channel beat at once; one that did not beat so far does from now on."""
    rules, now = await rule_book.read(), await store_now(beats.redis)
    await beats.adopt({channel.ref: channel.last_human_at}, rules, now=now)
    beaten = await beating.beat_now(channel.ref)
    assert beaten is not None  # noqa: S101  it was adopted
    return beaten
