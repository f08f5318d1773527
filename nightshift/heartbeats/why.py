"""Why a channel beats, or does not; answered from rows alone."""

from __future__ import annotations

from datetime import datetime

from nightshift.channels.channel import Channel
from nightshift.channels.channels import Channels
from nightshift.channels.ref import ChannelRef
from nightshift.heartbeats.row import BeatRow, source_of
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.phrases import clock, span, times, when
from nightshift.runs.ledger import Ledger, Skip
from nightshift.store import store_now, text_hash
from nightshift.switches import SwitchBoard
from nightshift.why import Why


async def why_channel(ledger: Ledger, board: SwitchBoard, rules: HeartbeatRules, ref: ChannelRef) -> Why:
    """Say whether this channel beats, what became of its last beats, and when the next comes."""
    channel = await Channels(ledger.redis, ledger.keys).get(ref)
    row = BeatRow.from_hash(await text_hash(ledger.redis, ledger.keys.beat(str(ref))))
    now = await store_now(ledger.redis)
    says = [_state(channel, row, board, rules, now)]
    if row and row.deferred:
        says.append(f"It was put off {times(row.deferred)}: {row.deferred_for}.")
    if row and row.failures:
        says.append(
            f"Its last {row.failures} looks failed; each pause after that is longer than the one before."
        )
    if row and row.thought_at:
        says.append(f"A model last looked into it {when(row.thought_at, now)}, at {clock(row.thought_at)}.")
    says += [_skipped(skip) for skip in (await ledger.skips(source_of(ref)))[:3]]
    coming = row.next_at if row else None
    if coming:
        says.append(f"Its next beat is {clock(coming)}, {when(coming, now)}.")
    return Why(source_of(ref), says, next=coming)


def _state(
    channel: Channel, row: BeatRow | None, board: SwitchBoard, rules: HeartbeatRules, now: datetime
) -> str:
    name = str(channel.ref)
    if not board.is_on("channel_heartbeat_enabled"):
        return f"{name} does not beat: the switch channel_heartbeat_enabled is off."
    if board.models_closed:
        return f"{name} does not beat: {board.models_closed}."
    if channel.paused_by:
        return f"{name} does not beat: it is paused by {channel.paused_by}."
    if row and row.suspended_at:
        return f"{name} has not beaten since {clock(row.suspended_at)}: no person had spoken for too long."
    if row is None or row.next_at is None:
        return f"{name} does not beat: it is not among the {rules.channels} most recently used channels."
    if row.unchanged >= rules.stretch_after:
        return f"{name} beats more rarely: {row.unchanged} beats in a row found nothing new."
    return f"{name} beats about every {span(rules.interval)}."


def _skipped(skip: Skip) -> str:
    detail = f": {skip.detail}" if skip.detail else ""
    if skip.times > 1 and skip.till:
        several = f"{skip.times} beats from {clock(skip.nominal)} to {clock(skip.till)} were"
        return f"{several} skipped by the rule {skip.reason}{detail}."
    return f"Its beat of {clock(skip.nominal)} was skipped by the rule {skip.reason}{detail}."
