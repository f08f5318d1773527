"""The state store's client: bounded waits, retries, and answers that are text."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from nightshift.base.errors import BadSetting, StoreFull, StoreUnreachable

#: Entries of an index that are read at once.
FIRST_READ, LARGEST_READ = 50, 500

#: At most so many to one server from one loop, however much is done at once.
CONNECTIONS = 100
#: What a server that is away, starting or frozen answers.
AWAY = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError)


def new_client(url: str, *, retries: int = 12, timeout: float = 5) -> Redis:
    """
    A client that answers in text and waits a bounded time.

    It retries, some seconds in all: what we send is safe to repeat, and a restarted server is back by then.
    """
    try:
        # Whoever finds all connections in use waits for one; the stock pool would refuse.
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            decode_responses=True,
            encoding_errors="replace",
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=15,
            driver_info=None,  # two commands for every connection, to say what nobody asks
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries),
            retry_on_error=list(AWAY),
        )
    except ValueError:
        # Not what the client says, which may quote a part of the password.
        raise BadSetting(
            "a server's URL is none of redis://HOST:PORT/0, rediss://HOST:PORT/0 and unix:///PATH?db=0; "
            "check NIGHTSHIFT_STATE_URL, NIGHTSHIFT_BROKER_URL and NIGHTSHIFT_GRAPH_URL"
        ) from None
    return Redis.from_pool(pool)


def translated(error: RedisError) -> Exception:
    """The error as the rest of nightshift knows it."""
    if isinstance(error, OutOfMemoryError):
        return StoreFull(
            "the state store refuses to record: its memory limit (maxmemory) is reached; "
            "raise it with `CONFIG SET maxmemory`, or shorten the retention"
        )
    if isinstance(error, AWAY):
        return StoreUnreachable(f"the state store does not answer: {error}")
    return error


async def store_now(redis: Redis) -> datetime:
    """The store's clock: the one by which runs are ready and leases lapse."""
    seconds, micros = await redis.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


async def walk_index(
    redis: Redis, key: str, after: tuple[float, str] | None, *, descending: bool = False
) -> AsyncGenerator[tuple[float, str]]:
    """The scores and members of a sorted set past this entry, in order, a few at a time."""
    ends: list[Any] = ["-inf", "+inf"]
    if descending:
        ends.reverse()
    if after:
        ends[0] = after[0]
    known, size = 0, FIRST_READ
    while True:
        entries: Any = await redis.zrange(
            key, ends[0], ends[1], desc=descending, byscore=True, offset=known, num=size, withscores=True
        )
        for member, score in entries:
            entry = (score, member)
            if after is None or (entry < after if descending else entry > after):
                yield entry
        if len(entries) < size:
            return
        # Go on from the last score, so that an entry that goes meanwhile moves none past us unseen.
        last = entries[-1][1]
        known = sum(score == last for _, score in entries) + (known if last == ends[0] else 0)
        ends[0], size = last, min(size * 2, LARGEST_READ)


async def take[T](entries: AsyncGenerator[T], number: int) -> list[T]:
    """The next few, fewer only at the end."""
    taken: list[T] = []
    while len(taken) < number:
        try:
            taken.append(await anext(entries))
        except StopAsyncIteration:
            break
    return taken


# The client's types allow bytes everywhere; ours is made to answer in text.


async def text_hash(redis: Redis, key: str) -> dict[str, str]:
    return cast(dict[str, str], await redis.hgetall(key))


async def text_value(redis: Redis, key: str) -> str | None:
    return cast(str | None, await redis.get(key))


async def text_field(redis: Redis, key: str, field: str) -> str | None:
    return cast(str | None, await cast(Awaitable[Any], redis.hget(key, field)))


async def command(redis: Redis, *words: str | int) -> Any:
    """Send a command the client has no method for."""
    send: Any = redis.execute_command
    return await send(*words)


async def text_list(answer: Any) -> list[str]:
    return cast(list[str], await answer)
