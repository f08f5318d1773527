"""Looks into channels that a person asks for."""

from __future__ import annotations

from nightshift.channels.channel import Channel
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.heartbeats.visiting import Visited, Visiting
from nightshift.heartbeats.visits import Visits
from nightshift.store.client import store_now


async def visit_by_hand(visits: Visits, rule_book: RuleBook, visiting: Visiting, channel: Channel) -> Visited:
    """Visit a channel at once; one that was not visited so far is from now on."""
    rules, now = await rule_book.read(), await store_now(visits.redis)
    await visits.adopt({channel.ref: channel.last_human_at}, rules, now=now)
    visited = await visiting.visit_now(channel.ref)
    assert visited is not None  # noqa: S101  it was adopted
    return visited
