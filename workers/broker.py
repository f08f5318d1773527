"""
Celery's Redis transport, except for four things.

What is no message does not end the worker. Stock: one malformed item on a queue is popped, raises in the
consumer's loop, and the process exits; one such item per worker stops the fleet. Here it is set aside under
``unreadable`` in the broker and the consumer goes on.

A lost connection does not end the worker either. Stock: whoever still uses a channel of a connection that is
closed meanwhile (a late acknowledgement, the channel's own closing) meets an AttributeError, which nobody on
the way to the consumer's loop expects. Here it is the connection error that it is.

A channel keeps its client. Stock: two clients are built for every message, which at a thousand concurrent
tasks takes about a tenth of what the worker does.

What is expendable is not kept twice. Stock: the broker holds a copy of each message until it is acknowledged,
which is two writes that the consumer waits for. Of a message that says that it is expendable there is none:
whoever sent it sends it again if it is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport import redis as stock
from redis.exceptions import ConnectionError

from nightshift.runs.queues import EXPENDABLE

log = structlog.get_logger("nightshift.broker")

UNREADABLE = "unreadable"
KEPT = 100


class QoS(stock.QoS):  # type: ignore[misc]  # kombu's types are not followed
    """Knows what is being worked on, and keeps a copy in the broker of what is not expendable."""

    def append(self, message: Any, delivery_tag: str) -> None:
        keeping = virtual.QoS if EXPENDABLE in message.headers else stock.QoS
        keeping.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        message = self._delivered.get(delivery_tag)
        keeping = virtual.QoS if message and EXPENDABLE in message.headers else stock.QoS
        keeping.ack(self, delivery_tag)


class BrokerChannel(stock.Channel):  # type: ignore[misc]  # kombu's types are not followed
    """A channel that survives items it cannot read, knows when it is closed, and keeps its client."""

    QoS = QoS
    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        if client is None:
            if self._kept is None or self._kept.connection_pool is not self.pool:
                self._kept = self._create_client()
            client = self._kept
        yield client

    def _connparams(self, **options: Any) -> Any:
        if self.connection.client is None:
            raise ConnectionError("the connection to the broker is closed")
        return super()._connparams(**options)

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
            # The one command here that kombu's client gives no prefix to.
            client.ltrim(self.global_keyprefix + UNREADABLE, 0, KEPT - 1)


class Transport(stock.Transport):  # type: ignore[misc]
    """The transport behind ``redis://`` and ``redis+socket://``."""

    Channel = BrokerChannel

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
