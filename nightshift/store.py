"""The state store's client: bounded waits, retries, and answers that are text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis.asyncio import Redis
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

from nightshift.errors import BadSetting, StoreFull, StoreUnreachable

#: What a server that is away, starting or frozen answers.
AWAY = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError)


def new_client(url: str, *, retries: int = 12, timeout: float = 5) -> Redis:
    """
    A client that answers in text and waits a bounded time.

    It retries, some seconds in all: what we send is safe to repeat, and a restarted server is back by then.
    """
    try:
        return Redis.from_url(
            url,
            decode_responses=True,
            encoding_errors="replace",
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=15,
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries),
            retry_on_error=list(AWAY),
        )
    except ValueError:
        # Not what the client says, which may quote a part of the password.
        raise BadSetting(
            "a server's URL is none of redis://HOST:PORT/0, rediss://HOST:PORT/0 and unix:///PATH?db=0; "
            "check NIGHTSHIFT_STATE_URL, NIGHTSHIFT_BROKER_URL and NIGHTSHIFT_GRAPH_URL"
        ) from None


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


# The client's types allow bytes everywhere; ours is made to answer in text.


async def text_hash(redis: Redis, key: str) -> dict[str, str]:
    return cast(dict[str, str], await redis.hgetall(key))


async def command(redis: Redis, *words: str | int) -> Any:
    """Send a command the client has no method for."""
    send: Any = redis.execute_command
    return await send(*words)


async def text_list(answer: Any) -> list[str]:
    return cast(list[str], await answer)
