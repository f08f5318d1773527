"""
Every event that may be on the stream: what it means, what it tells, and who may see it.

Features stand above the store and tell of their events by name. Whatever a script or ``publish_event`` tells
stands here first; ``docs/reference/events.md`` is made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Audience(StrEnum):
    """Whose tokens see an event."""

    #: It tells its ``tenant``: that tenant's tokens, and those that no tenant bounds.
    TENANT = "tenant"
    #: Tokens that no tenant bounds, and nobody else.
    DEPLOYMENT = "deployment"


@dataclass(frozen=True)
class ListedEvent:
    """One kind of event: its fields by name, each in a few words."""

    name: str
    means: str
    seen_by: Audience
    #: What every event of this kind tells.
    always: Mapping[str, str]
    #: What it tells where there is such a thing.
    sometimes: Mapping[str, str] = field(default_factory=dict)


OF_A_RUN = {
    "run": "the run's id",
    "source": "what the run is an occurrence of: `job:NAME`, `heartbeat:CHANNEL`, a schedule's id and so on",
    "tenant": "whose run it is",
}
AGENT = {"agent": "for which agent, if it is for one"}

OF_A_DELIVERY = {
    "delivery": "the delivery's id",
    "source": "what led to it, as the source of a run",
    "run": "the run that asked for it",
    "channel": "where it is to be said, as `PLATFORM:ID`",
    "tenant": "whose it is",
}

OF_A_SKIP = {
    "source": "`job:NAME`, a schedule's id, or `heartbeat:CHANNEL` for a channel's visit",
    "nominal": "the instant that it was for; of several the first",
    "reason": "why: `missed`, `overlap`, or the gate that a visit did not pass",
    "times": "how many slots it were",
}

OF_A_CAP = {
    "source": "`budget:LEVEL`",
    "level": "what the cap is on: `day`, `tenant`, `agent`, `channel`, `job`, `source`, `model` or `run`",
    "spent": "micro-USD spent so far",
    "cap": "the cap in micro-USD",
}
NAMED_CAP = {"name": "which one of its level; the day has no name"}

OF_A_CHANNEL = {
    "source": "`channel:PLATFORM:ID`",
    "status": "`ok`",
    "by": "who did it",
    "tenant": "whose channel it is",
    "agent": "the agent that it belongs to",
}

EVENTS = (
    # Runs
    ListedEvent(
        "run_recorded",
        "A run waits: it was written down, or is replayed.",
        Audience.TENANT,
        {**OF_A_RUN, "status": "`waiting`"},
        {
            **AGENT,
            "queue": "where it waits; not of a replay",
            "nominal": "the instant that it is for; not of a replay",
            "reason": "`replayed`, of a replay",
        },
    ),
    ListedEvent(
        "run_started",
        "Somebody carries a run out.",
        Audience.TENANT,
        {**OF_A_RUN, "status": "`running`", "worker": "who took it up", "queue": "where it waited"},
        AGENT,
    ),
    ListedEvent(
        "run_returned",
        "A run that was carried out waits again.",
        Audience.TENANT,
        {
            **OF_A_RUN,
            "status": "`waiting`",
            "reason": "why, in words; may quote an error",
            "ready": "when it may be taken up again",
        },
        {**AGENT, "spends": "what it counts against: `attempts` or `retries`; nothing if it costs neither"},
    ),
    ListedEvent(
        "run_settled",
        "A run has ended.",
        Audience.TENANT,
        {
            **OF_A_RUN,
            "status": "`done`, `skipped` or `failed`",
            "queue": "where it waited",
            "cost": "micro-USD that all its attempts cost",
        },
        {
            **AGENT,
            "reason": "why, in words; may quote an error",
            "worker": "who had it, unless it ended while it waited",
            "duration_ms": "since it was last taken up, if it ever was",
        },
    ),
    ListedEvent(
        "slot_skipped",
        "Slots of a job or schedule made no run; or a channel's visit was none, for a reason that is new.",
        Audience.DEPLOYMENT,
        OF_A_SKIP,
    ),
    ListedEvent(
        "beats_missed",
        "Nobody was there at the time of some channels' visits, so each gets another.",
        Audience.DEPLOYMENT,
        {"source": "`heartbeat`", "reason": "`missed`", "times": "how many channels it concerns"},
    ),
    # Deliveries
    ListedEvent(
        "delivery_requested",
        "Something is to be said: for the first time, or once more because somebody decided so.",
        Audience.TENANT,
        {**OF_A_DELIVERY, "status": "`requested`"},
        {**AGENT, "reason": "why it is asked for once more"},
    ),
    ListedEvent(
        "delivery_sent",
        "Something was said: its platform took it, or somebody decided that it did.",
        Audience.TENANT,
        {**OF_A_DELIVERY, "status": "`sent`"},
        {**AGENT, "reason": "why it counts as sent, if no platform said so"},
    ),
    ListedEvent(
        "delivery_failed",
        "Something was surely not said.",
        Audience.TENANT,
        {**OF_A_DELIVERY, "status": "`failed`"},
        {**AGENT, "reason": "why, in words; may quote an error"},
    ),
    ListedEvent(
        "delivery_unknown",
        "Nobody knows whether something was said.",
        Audience.TENANT,
        {**OF_A_DELIVERY, "status": "`unknown`"},
        {**AGENT, "reason": "why, in words; may quote an error"},
    ),
    ListedEvent(
        "delivery_suppressed",
        "Something was kept back and is not said.",
        Audience.TENANT,
        {**OF_A_DELIVERY, "status": "`suppressed`"},
        {**AGENT, "reason": "why, in words"},
    ),
    # Channels
    ListedEvent(
        "channel_changed",
        "Somebody set something of a channel.",
        Audience.TENANT,
        OF_A_CHANNEL,
        {"preview": "what was set: `agent`, `audience`, `quiet_hours`"},
    ),
    ListedEvent(
        "channel_paused",
        "Somebody stopped the visits of a channel.",
        Audience.TENANT,
        OF_A_CHANNEL,
    ),
    ListedEvent(
        "channel_resumed",
        "Somebody lets a channel be visited again.",
        Audience.TENANT,
        OF_A_CHANNEL,
    ),
    # Jobs, and who records their slots
    ListedEvent(
        "job_on",
        "A job comes due; told when a beat takes the lead, and when the job's row changes.",
        Audience.DEPLOYMENT,
        {"source": "`job:NAME`", "status": "`ok`"},
    ),
    ListedEvent(
        "job_off",
        "A job does not come due; told when a beat takes the lead, and when its row or the reason changes.",
        Audience.DEPLOYMENT,
        {"source": "`job:NAME`", "status": "`ok`", "preview": "why, in words; may quote an error"},
    ),
    ListedEvent(
        "job_paused",
        "Somebody keeps a job from coming due.",
        Audience.DEPLOYMENT,
        {"source": "`job:NAME`", "status": "`ok`", "by": "who"},
    ),
    ListedEvent(
        "job_resumed",
        "Somebody lets a job come due again.",
        Audience.DEPLOYMENT,
        {"source": "`job:NAME`", "status": "`ok`", "by": "who"},
    ),
    ListedEvent(
        "beat_leads",
        "A beat holds the lease from now on: it alone records slots.",
        Audience.DEPLOYMENT,
        {"source": "the beat, as `beat@HOST:PID`", "status": "`ok`"},
    ),
    # Models and money
    ListedEvent(
        "breaker_opened",
        "An endpoint of models is left alone for a while, because too many calls to it fail.",
        Audience.DEPLOYMENT,
        {"source": "`endpoint:NAME`", "status": "`open`", "pause_ms": "for how long"},
    ),
    ListedEvent(
        "breaker_closed",
        "An endpoint of models is trusted again.",
        Audience.DEPLOYMENT,
        {"source": "`endpoint:NAME`", "status": "`ok`"},
    ),
    ListedEvent(
        "key_changed",
        "A key of a model's endpoint came to another state.",
        Audience.DEPLOYMENT,
        {
            "source": "`keypool:NAME`",
            "status": "`ok`, `cooling`, `exhausted` or `invalid`",
            "key": "the start of the key's hash",
            "model": "the model of the call that showed it",
        },
        {"reason": "why it may not be used"},
    ),
    ListedEvent(
        "budget_warned",
        "Most of what a cap allows is spent; told once a day of each name.",
        Audience.DEPLOYMENT,
        {**OF_A_CAP, "status": "`warned`"},
        NAMED_CAP,
    ),
    ListedEvent(
        "budget_blocked",
        "A cap refused a call; told once a day of each name.",
        Audience.DEPLOYMENT,
        {**OF_A_CAP, "status": "`blocked`"},
        NAMED_CAP,
    ),
    ListedEvent(
        "cap_changed",
        "Somebody changed a cap on spending.",
        Audience.DEPLOYMENT,
        {
            "source": "`budget:LEVEL`",
            "status": "`ok`",
            "level": "what the cap is on, as in `budget_warned`",
            "cap": "the cap in micro-USD, `none`, or `as the settings say`",
            "by": "who did it",
        },
        {"name": "whose cap; every one of the level that has none of its own if there is no name"},
    ),
    # All of it
    ListedEvent(
        "frozen",
        "Somebody stopped every call and send.",
        Audience.DEPLOYMENT,
        {"source": "`freeze`", "status": "`frozen`", "by": "who"},
        {"reason": "why, in that person's words"},
    ),
    ListedEvent(
        "thawed",
        "Somebody lets calls and sends be made again.",
        Audience.DEPLOYMENT,
        {"source": "`freeze`", "status": "`ok`", "by": "who", "waited": "how many runs come back for it"},
    ),
    ListedEvent(
        "forgotten",
        "A user or a channel was forgotten.",
        Audience.DEPLOYMENT,
        {
            "source": "`forget:RECEIPT`; whom it was about is told nowhere",
            "status": "`ok`",
            "by": "who ordered it",
            "kind": "`user` or `channel`",
        },
        {
            "messages": "messages of that user, or in that channel, that are gone",
            "replies": "what agents said where that user has spoken, and is gone",
            "runs": "runs that were emptied",
            "deliveries": "deliveries whose text is gone",
            "rooms": "messages that are gone from rooms of our own",
            "heartbeats": "channels of which visits know nothing any more, or not what they were told",
            "recall": "messages that can no longer be recalled",
            "summaries": "summaries that are gone",
            "events": "events that were taken off the stream",
        },
    ),
)

BY_NAME = {event.name: event for event in EVENTS}


def why_not_listed(name: str, told: Iterable[str]) -> str | None:
    """What about an event with these fields is otherwise than the list says; nothing if it is as listed."""
    listed = BY_NAME.get(name)
    if listed is None:
        return "no such event is listed"
    fields = frozenset(told)
    unknown = sorted(fields - listed.always.keys() - listed.sometimes.keys())
    missing = sorted(listed.always.keys() - fields)
    words = [f"it may not tell {', '.join(unknown)}"] if unknown else []
    words += [f"it has to tell {', '.join(missing)}"] if missing else []
    return "; ".join(words) or None
