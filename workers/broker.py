"""
Celery's Redis transport, except for two things.

What is no message does not end the worker. Stock: one malformed item on a queue is popped, raises in the
consumer's loop, and the process exits; one such item per worker stops the fleet. Here it is set aside under
``unreadable`` in the broker and the consumer goes on.

A channel keeps its client. Stock: two clients are built for every message, which at a thousand concurrent
tasks takes about a tenth of what the worker does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as stock

log = structlog.get_logger("nightshift.broker")

UNREADABLE = "unreadable"
KEPT = 100


class Channel(stock.Channel):  # type: ignore[misc]  # kombu's types are not followed
    """A channel that survives items it cannot read, and keeps its client."""

    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        if client is None:
            if self._kept is None or self._kept.connection_pool is not self.pool:
                self._kept = self._create_client()
            client = self._kept
        yield client

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except json.JSONDecodeError as error:
            self.set_aside(error.doc, f"not JSON: {error.msg}")
            raise Empty from error

    def set_aside(self, item: str, why: str) -> None:
        """Keep the item where somebody can look at it, the latest hundred of them."""
        log.error("message_unreadable", why=why, size=len(item))
        with self.conn_or_acquire() as client:
            client.lpush(UNREADABLE, item)
            client.ltrim(UNREADABLE, 0, KEPT - 1)


class Transport(stock.Transport):  # type: ignore[misc]
    """The transport behind ``redis://`` and ``redis+socket://``."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        channel = next(channel for channel in self.channels if channel)
        try:
            whence = channel.Message(message, channel=channel).delivery_info
            _ = whence["exchange"], whence["routing_key"]  # the consumer keeps it under these
        except Exception as error:  # whatever a thing that is no message makes it raise
            channel.set_aside(json.dumps(message), f"no message: {type(error).__name__}: {error}")
        else:
            super()._deliver(message, queue)


def install() -> None:
    """Have kombu use this transport from now on."""
    TRANSPORT_ALIASES["redis"] = f"{__name__}:Transport"
