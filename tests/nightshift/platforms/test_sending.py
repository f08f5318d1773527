"""What every platform's send comes to, whatever the other side does."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import (
    NightshiftError,
    NotTaken,
    PlatformDown,
    RateLimited,
    RefusedByPlatform,
    SendUnknown,
)
from nightshift.platforms.platform import Outgoing, Platform
from nightshift.platforms.settings import PlatformSettings
from nightshift.platforms.wiring import new_platform
from nightshift.store.ground import Ground
from nightshift.store.keys import Keys
from tests.nightshift.platforms import shapes
from tests.nightshift.platforms.other_side import RESET, OtherSide, Reply

TOKEN = "whsec_c2VjcmV0LW9mLXRoZXNlLXRlc3Rz"


@dataclass(frozen=True)
class Case:
    """A platform, what it is asked when something is sent, and what it answers."""

    kind: Any
    channel: str
    method: str
    sent: Any
    limited: Reply
    unauthorized: Reply
    forbidden: Reply
    repeatable: bool
    #: Method and answer of the question who we are.
    who: tuple[str, Any] = field(default=("GET", None))


CASES = [
    Case(
        "matrix",
        "!room:example.org",
        "PUT",
        shapes.MATRIX_SENT,
        limited=Reply(shapes.MATRIX_LIMITED, 429),
        unauthorized=Reply(shapes.MATRIX_UNKNOWN_TOKEN, 401),
        forbidden=Reply(shapes.MATRIX_FORBIDDEN, 403),
        repeatable=True,
        who=("GET", shapes.MATRIX_WHOAMI),
    ),
    Case(
        "discord",
        "1001",
        "POST",
        shapes.discord_message("5005", "Hello"),
        limited=Reply(shapes.DISCORD_LIMITED, 429, {"Retry-After": "3"}),
        unauthorized=Reply(shapes.DISCORD_UNAUTHORIZED, 401),
        forbidden=Reply(shapes.DISCORD_FORBIDDEN, 403),
        repeatable=True,
        who=("GET", shapes.DISCORD_ME),
    ),
    Case(
        "slack",
        "C123456",
        "POST",
        shapes.SLACK_POSTED,
        limited=Reply({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "3"}),
        unauthorized=Reply({"ok": False, "error": "invalid_auth"}),
        forbidden=Reply({"ok": False, "error": "not_in_channel"}),
        repeatable=False,
        who=("GET", shapes.SLACK_IDENTITY),
    ),
    Case(
        "telegram",
        "-1001234",
        "POST",
        shapes.TELEGRAM_SENT,
        limited=Reply(shapes.TELEGRAM_LIMITED, 429),
        unauthorized=Reply(shapes.TELEGRAM_UNAUTHORIZED, 401),
        forbidden=Reply(shapes.TELEGRAM_FORBIDDEN, 403),
        repeatable=False,
        who=("GET", shapes.TELEGRAM_ME),
    ),
    Case(
        "webhook",
        "any",
        "POST",
        b"",
        limited=Reply(b"slow down", 429, {"Retry-After": "3"}),
        unauthorized=Reply(b"who?", 401),
        forbidden=Reply(b"no", 403),
        repeatable=True,
        who=("HEAD", b""),
    ),
]
#: Those that tell more of a message than that they took it.
TELLING = [case for case in CASES if case.kind != "webhook"]


def new(kind: Any, url: str, redis: Redis, keys: Keys) -> Platform:
    return new_platform("there", PlatformSettings(kind=kind, url=url, token=TOKEN), Ground(redis, keys))


@pytest.fixture(params=CASES, ids=lambda case: case.kind)
def case(request: pytest.FixtureRequest) -> Case:
    given: Case = request.param
    return given


@pytest.fixture
async def platform(case: Case, other_side: OtherSide, redis: Redis, keys: Keys) -> AsyncIterator[Platform]:
    platform = new(case.kind, other_side.url, redis, keys)
    yield platform
    await platform.close()


async def attempt(
    platform: Platform, case: Case, other_side: OtherSide, *replies: Reply | str
) -> NightshiftError:
    """Send while the other side answers so, and have what went wrong, in which no secret is."""
    other_side.answer(case.method, "*", *replies)
    with pytest.raises(NightshiftError) as raised:
        await platform.send(Outgoing(case.channel, "Hello", key="run/0"))
    assert TOKEN not in repr(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return raised.value


async def test_a_message_is_sent(platform: Platform, case: Case, other_side: OtherSide) -> None:
    other_side.answer(case.method, "*", Reply(case.sent))
    sent = await platform.send(Outgoing(case.channel, "Hello", key="run/0"))
    assert sent.message_id
    assert sent.at.utcoffset() == timedelta(0)
    assert platform.repeatable is case.repeatable


async def test_too_many_requests_name_the_time_to_come_back(
    platform: Platform, case: Case, other_side: OtherSide
) -> None:
    error = await attempt(platform, case, other_side, case.limited)
    assert isinstance(error, RateLimited)
    assert error.retry_after == timedelta(seconds=3)


async def test_a_token_that_is_refused_may_be_replaced(
    platform: Platform, case: Case, other_side: OtherSide
) -> None:
    error = await attempt(platform, case, other_side, case.unauthorized)
    assert isinstance(error, NotTaken)
    assert str(error).endswith("; check the token in [platforms.there]")
    assert ".;" not in str(error)


async def test_what_is_not_allowed_is_not_tried_again(
    platform: Platform, case: Case, other_side: OtherSide
) -> None:
    assert isinstance(await attempt(platform, case, other_side, case.forbidden), RefusedByPlatform)


@pytest.mark.parametrize("trouble", [Reply(b"", 500), Reply(b"<html>", 502), Reply({}, 504), RESET], ids=str)
async def test_a_message_that_may_have_arrived_is_sent_again_only_where_that_is_safe(
    platform: Platform, case: Case, other_side: OtherSide, trouble: Reply | str
) -> None:
    error = await attempt(platform, case, other_side, trouble)
    assert type(error) is (PlatformDown if case.repeatable else SendUnknown)


async def test_no_message_that_may_not_be_repeated_is_lost_to_a_connection_that_was_closed_meanwhile(
    platform: Platform, case: Case, other_side: OtherSide
) -> None:
    other_side.answer(case.method, "*", Reply(case.sent))
    for key in "ab":
        await platform.send(Outgoing(case.channel, "Hello", key=key))
    connections = {asked.peer for asked in other_side.asked}
    assert len(connections) == (1 if case.repeatable else 2)


async def test_a_message_that_nobody_looked_at_may_be_sent_again(
    platform: Platform, case: Case, other_side: OtherSide
) -> None:
    error = await attempt(platform, case, other_side, Reply(b"", 503, {"Retry-After": "7"}))
    assert isinstance(error, PlatformDown)
    assert error.retry_after == timedelta(seconds=7)


async def test_a_message_that_reached_nobody_may_be_sent_again(case: Case, redis: Redis, keys: Keys) -> None:
    with socket.socket() as taken:  # and never listened on
        taken.bind(("127.0.0.1", 0))
        platform = new(case.kind, f"http://127.0.0.1:{taken.getsockname()[1]}", redis, keys)
        with pytest.raises(NotTaken, match="cannot be reached"):
            await platform.send(Outgoing(case.channel, "Hello", key="run/0"))
        assert not (await platform.ready()).ready
        await platform.close()


@pytest.mark.parametrize("case", TELLING, ids=lambda case: case.kind, indirect=True)
@pytest.mark.parametrize(
    "garbage",
    [
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,  # deeper than anybody reads
        {"ok": False},
        {"ok": True, "ts": 5, "event_id": 5, "id": 5, "channel_id": 5, "result": 5},
        {
            "ok": True,
            "ts": "soon",
            "event_id": "\x00",
            "id": "",
            "result": {"message_id": "x", "date": 1e300},
        },
    ],
    ids=lambda garbage: str(garbage)[:20],
)
async def test_an_answer_that_makes_no_sense_leaves_open_what_happened(
    platform: Platform, case: Case, other_side: OtherSide, garbage: Any
) -> None:
    error = await attempt(platform, case, other_side, Reply(garbage))
    assert isinstance(error, PlatformDown if case.repeatable else SendUnknown)


async def test_nobody_is_led_to_another_host(platform: Platform, case: Case, other_side: OtherSide) -> None:
    error = await attempt(
        platform, case, other_side, Reply(b"", 307, {"Location": "http://elsewhere.example/"})
    )
    assert isinstance(error, RefusedByPlatform)
    assert "leads to elsewhere.example; set url in [platforms.there]" in str(error)
    assert [asked.method for asked in other_side.asked].count(case.method) == 1


async def test_an_empty_message_is_refused_before_it_is_sent(
    platform: Platform, case: Case, other_side: OtherSide
) -> None:
    for text in ("", " \n", "\x00\x07"):
        with pytest.raises(RefusedByPlatform, match="no text"):
            await platform.send(Outgoing(case.channel, text, key="run/0"))
    assert not other_side.asked


async def test_no_channel_id_leads_to_another_request(
    platform: Platform, case: Case, other_side: OtherSide
) -> None:
    other_side.answer(case.method, "*", Reply(case.sent))
    plain = await _path(platform, other_side, "plain")
    for id in ("..", ".", "a/../../b", "a?b=c", "a#b", "%2e%2e", "ü {}*", "a\\b"):
        found = await _path(platform, other_side, id)
        assert found is None or len(found) == len(plain or [])
        assert not {".", ".."} & set(found or [])  # which whoever stands in between would resolve


async def _path(platform: Platform, other_side: OtherSide, channel: str) -> list[str] | None:
    """The steps of the path that is asked when something is sent there, if anything is."""
    other_side.asked.clear()
    with suppress(NightshiftError):  # it is not the channel that the answer is of
        await platform.send(Outgoing(channel, "Hello", key="run/0"))
    return other_side.asked[0].path.split("/") if other_side.asked else None


async def test_a_ready_platform_says_who_we_are_there(
    platform: Platform, case: Case, other_side: OtherSide
) -> None:
    method, answer = case.who
    other_side.answer(method, "*", Reply(answer))
    readiness = await platform.ready()
    assert readiness.ready
    assert readiness.user_id or case.kind == "webhook"


@pytest.mark.parametrize(
    "trouble",
    [RESET, Reply(b"", 500), Reply(b"", 401), Reply(b"", 429), Reply(b"", 503)],
    ids=str,
)
async def test_a_platform_that_is_not_ready_says_why(
    platform: Platform, case: Case, other_side: OtherSide, trouble: Reply | str
) -> None:
    other_side.answer(case.who[0], "*", trouble)
    readiness = await platform.ready()
    assert not readiness.ready
    assert readiness.why
    assert TOKEN not in readiness.why
