"""The other side may be slow, vast, or tell of times nobody can wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from nightshift.base.errors import NotTaken, PlatformDown, RateLimited, RefusedByPlatform, SendUnknown
from nightshift.platforms.endpoint import LARGEST_ANSWER, LONGEST_REASON, LONGEST_WAIT, Endpoint
from tests.nightshift.platforms.other_side import HANG, OtherSide, Reply

ANYTHING: TypeAdapter[object] = TypeAdapter(object)


@pytest.fixture
async def endpoint(other_side: OtherSide) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint("there", other_side.url)
    yield endpoint
    await endpoint.close()


async def test_an_answer_that_does_not_come_is_not_waited_for(other_side: OtherSide) -> None:
    endpoint = Endpoint("there", other_side.url, answer_within=timedelta(seconds=0.2))
    other_side.answer("POST", "/say", HANG)
    with pytest.raises(PlatformDown, match="did not answer in time"):
        await endpoint.ask(ANYTHING, "POST", "say")
    with pytest.raises(SendUnknown, match="did not answer in time"):
        await endpoint.ask(ANYTHING, "POST", "say", unclear=SendUnknown)
    await endpoint.close()


async def test_who_takes_a_request_and_then_is_gone_may_have_done_as_it_was_asked() -> None:
    async def take_and_go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        server.close()
        writer.transport.abort()

    server = await asyncio.start_server(take_and_go, "127.0.0.1", 0)
    endpoint = Endpoint("there", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    # Asking the same again by itself, as for a PUT, the HTTP client finds nobody.
    with pytest.raises(SendUnknown, match="cannot be reached"):
        await endpoint.ask(ANYTHING, "PUT", "say", unclear=SendUnknown)
    with pytest.raises(NotTaken, match="cannot be reached"):
        await endpoint.ask(ANYTHING, "PUT", "say", unclear=SendUnknown)
    await endpoint.close()


async def test_an_answer_without_end_is_left_unread(endpoint: Endpoint, other_side: OtherSide) -> None:
    other_side.answer("GET", "/all", Reply(b"[" + b" " * LARGEST_ANSWER + b"]"))
    with pytest.raises(PlatformDown, match="more than 8 MB"):
        await endpoint.ask(ANYTHING, "GET", "all")


@pytest.mark.parametrize(
    ("told", "heeded"),
    [
        ({"retry_after_ms": 120_000}, timedelta(minutes=2)),
        ({"retry_after": 0.25}, timedelta(seconds=0.25)),
        ({"retry_after": "1.5"}, timedelta(seconds=1.5)),
        ({"parameters": {"retry_after": 9}}, timedelta(seconds=9)),
        ({"retry_after": 1e300}, LONGEST_WAIT),
        ({"retry_after_ms": 10**400}, None),
        ({"retry_after": -3}, None),
        ({"retry_after": "NaN"}, None),
        ({"retry_after": {"a": 1}, "parameters": [1]}, None),
        ([], None),
    ],
    ids=lambda each: str(each)[:30],
)
async def test_how_long_to_wait_is_believed_within_reason(
    endpoint: Endpoint, other_side: OtherSide, told: object, heeded: timedelta | None
) -> None:
    other_side.answer("GET", "/x", Reply(told, 429))
    with pytest.raises(RateLimited) as raised:
        await endpoint.ask(ANYTHING, "GET", "x")
    assert raised.value.retry_after == heeded


async def test_a_refusal_is_quoted_in_few_plain_characters(endpoint: Endpoint, other_side: OtherSide) -> None:
    other_side.answer("GET", "/x", Reply({"error": "no\nway\x1b[31m" + "!" * 10_000}, 403))
    with pytest.raises(RefusedByPlatform) as raised:
        await endpoint.ask(ANYTHING, "GET", "x")
    assert str(raised.value).startswith("there answered 403: no way [31m!!")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < LONGEST_REASON + 30


async def test_headers_are_made_anew_for_each_request(other_side: OtherSide) -> None:
    tokens = iter(["old", "new"])
    endpoint = Endpoint("there", other_side.url, lambda: {"Authorization": next(tokens)})
    other_side.answer("GET", "/x", Reply({}))
    for _ in range(2):
        await endpoint.ask(ANYTHING, "GET", "x")
    await endpoint.close()
    assert [asked.headers["Authorization"] for asked in other_side.asked] == ["old", "new"]
