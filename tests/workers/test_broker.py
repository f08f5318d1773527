"""The transport, where it differs from Celery's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue
from redis import Redis
from redis.exceptions import ConnectionError

from nightshift.runs.queues import EXPENDABLE
from workers import broker

DATABASE = 8


@pytest.fixture
def connection(redis_socket: Path) -> Iterator[Any]:
    broker.install()
    url = f"redis+socket://{redis_socket}?virtual_host={DATABASE}"
    with Connection(url, transport_options={"global_keyprefix": "p:"}) as connection:
        yield connection


@pytest.fixture
def stored(redis_socket: Path) -> Iterator[Redis]:
    with Redis(unix_socket_path=str(redis_socket), db=DATABASE) as client:
        yield client
        client.flushdb()


def test_a_late_acknowledgement_on_a_closed_connection_meets_a_connection_error(connection: Any) -> None:
    channel = connection.channel()
    late = channel.qos
    channel.connection.client = None  # as closing a connection leaves it
    with pytest.raises(ConnectionError, match="connection to the broker is closed"):
        late.ack("1")


def test_no_more_than_the_latest_hundred_unreadable_items_are_kept(connection: Any, stored: Redis) -> None:
    channel = connection.channel()
    for number in range(broker.KEPT + 5):
        channel.set_aside(f"rubbish {number}", "not JSON")
    assert stored.llen("p:unreadable") == broker.KEPT
    assert stored.lindex("p:unreadable", 0) == f"rubbish {broker.KEPT + 4}".encode()


@pytest.mark.parametrize("expendable", [True, False])
def test_the_broker_keeps_a_copy_of_what_is_worked_on_unless_it_is_expendable(
    connection: Any, stored: Redis, expendable: bool
) -> None:
    queue = Queue("work", Exchange("work"), "work")
    headers = {EXPENDABLE: True} if expendable else {}
    with connection.Producer() as producer:
        producer.publish({}, exchange=queue.exchange, routing_key="work", declare=[queue], headers=headers)
    taken: list[Any] = []
    with connection.Consumer([queue], callbacks=[lambda _, message: taken.append(message)]) as consumer:
        consumer.qos(prefetch_count=1)
        connection.drain_events(timeout=5)
        assert stored.hlen("p:unacked") == (0 if expendable else 1)
        assert not consumer.channel.qos.can_consume()  # it counts as being worked on all the same
        taken[0].ack()
        assert stored.hlen("p:unacked") == stored.zcard("p:unacked_index") == 0
        assert consumer.channel.qos.can_consume()
