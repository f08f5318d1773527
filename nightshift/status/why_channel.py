"""Why a channel is visited, or is not; answered from rows alone."""

from __future__ import annotations

from datetime import datetime

from nightshift.base.refs import ChannelRef
from nightshift.base.words import clock, span, times, when
from nightshift.channels.channel import Channel
from nightshift.channels.channels import Channels
from nightshift.controls.switches import SwitchBoard
from nightshift.heartbeats.row import VisitRow, source_of
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.jobs.view import next_slot
from nightshift.runs.ledger import Ledger, Skip
from nightshift.status.why import Why
from nightshift.store.client import store_now, text_hash

#: The job that lets channels be visited.
ADOPTS = "channel_heartbeat"


async def why_channel(
    ledger: Ledger, channels: Channels, board: SwitchBoard, rules: HeartbeatRules, ref: ChannelRef
) -> Why:
    """Say whether this channel is visited, what became of its last visits, and when the next comes."""
    channel = await channels.get(ref)
    row = VisitRow.from_hash(await text_hash(ledger.redis, ledger.keys.visit(str(ref))))
    now = await store_now(ledger.redis)
    kept = _kept(channel, row, board)
    if not kept and (row is None or row.next_at is None):
        kept = f"is not visited: {await _unadopted(ledger, channels, ref, rules, now)}"
    says = [f"{ref} {kept or _pace(row, rules)}."]
    if row and row.deferred:
        says.append(f"It was put off {times(row.deferred)}: {row.deferred_for}.")
    if row and row.failures:
        says.append(
            f"Its last {row.failures} looks failed; each pause after that is longer than the one before."
        )
    if row and row.thought_at:
        says.append(f"A model last looked into it {when(row.thought_at, now)}, at {clock(row.thought_at)}.")
    says += [_skipped(skip) for skip in (await ledger.skips(source_of(ref)))[:3]]
    coming = row.next_at if row and not kept else None
    if coming:
        says.append(f"Its next visit is {clock(coming)}, {when(coming, now)}.")
    return Why(source_of(ref), says, next=coming)


def _kept(channel: Channel, row: VisitRow | None, board: SwitchBoard) -> str:
    """What keeps the channel from being visited; empty if nothing does."""
    if not board.is_on("channel_heartbeat_enabled"):
        return "is not visited: the switch channel_heartbeat_enabled is off"
    if board.models_closed:
        return f"is not visited: {board.models_closed}"
    if channel.paused_by:
        return f"is not visited: it is paused by {channel.paused_by}"
    if row and row.suspended_at:
        return f"has not been visited since {clock(row.suspended_at)}: no person had spoken for too long"
    return ""


async def _unadopted(
    ledger: Ledger, channels: Channels, ref: ChannelRef, rules: HeartbeatRules, now: datetime
) -> str:
    """Why a channel that nothing keeps from being visited has no visit."""
    before = await channels.rank(ref)
    if before is None:
        return "nothing was said there yet"
    if before >= rules.channels:
        return f"it is not among the {rules.channels} most recently used channels"
    coming = await next_slot(ledger, ADOPTS)
    if coming is None:
        return f"the job {ADOPTS}, which would adopt it, has no slot; `nightshift why {ADOPTS}` says why"
    return f"the job {ADOPTS} has not adopted it yet; it comes {when(coming, now)}"


def _pace(row: VisitRow | None, rules: HeartbeatRules) -> str:
    if row and row.unchanged >= rules.stretch_after:
        return f"is visited more rarely: {row.unchanged} visits in a row found nothing new"
    return f"is visited about every {span(rules.interval)}"


def _skipped(skip: Skip) -> str:
    detail = f": {skip.detail}" if skip.detail else ""
    if skip.times > 1 and skip.till:
        several = f"{skip.times} visits from {clock(skip.nominal)} to {clock(skip.till)} were"
        return f"{several} skipped by the rule {skip.reason}{detail}."
    return f"Its visit of {clock(skip.nominal)} was skipped by the rule {skip.reason}{detail}."
