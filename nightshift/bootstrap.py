"""
Where the real parts are chosen and put together; every process asks here, once.

Clients belong to the event loop they were made on, so there is one set per loop.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import cache
from weakref import WeakKeyDictionary

from redis.asyncio import Redis

from nightshift import embedded
from nightshift.errors import BadSetting
from nightshift.graph.census import graph_part
from nightshift.keys import Keys
from nightshift.liveness import Liveness
from nightshift.llm.probe import model_part
from nightshift.parts import Parts
from nightshift.runs.ledger import Ledger
from nightshift.runs.states import Rules
from nightshift.settings import Settings, load_settings
from nightshift.store import new_client
from nightshift.supervise import private_folder
from nightshift.switches import Switches

BROKER_DATABASE = 1

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Redis]] = WeakKeyDictionary()
_parts: WeakKeyDictionary[asyncio.AbstractEventLoop, Parts] = WeakKeyDictionary()


@cache
def settings() -> Settings:
    return load_settings()


@cache
def keys() -> Keys:
    return Keys()


def state_url() -> str:
    """The ledger's Redis."""
    url = settings().state_url
    return url.get_secret_value() if url else _embedded_url(0)


def broker_url() -> str:
    """Celery's Redis: named, or beside the ledger in a database of its own."""
    url = settings().broker_url
    if url:
        return url.get_secret_value()
    if settings().embedded:
        return embedded.broker_url(embedded.spec_from(settings()), BROKER_DATABASE)
    base, _, database = state_url().rpartition("/")
    if not database.isdigit():
        raise BadSetting(
            "setting 'state_url' names no database (…/0), so the broker's cannot be derived from it; "
            "add one, or set NIGHTSHIFT_BROKER_URL"
        )
    return f"{base}/{int(database) + 1}"


def graph_url() -> str | None:
    """FalkorDB, if there is one."""
    url = settings().graph_url
    if url:
        return url.get_secret_value()
    return _embedded_url(0) if settings().embedded else None


def plain_broker_url() -> str:
    """The same, as everybody but Celery writes it."""
    # What Celery calls redis+socket, and its database virtual_host, is unix and db everywhere else.
    return broker_url().replace("redis+socket://", "unix://").replace("virtual_host=", "db=")


def broker() -> Redis:
    """Celery's Redis, as plain Redis."""
    return client(plain_broker_url())


def _embedded_url(database: int) -> str:
    return embedded.url(embedded.spec_from(settings()), database)


def client(url: str) -> Redis:
    """The running loop's client of this server."""
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if url not in clients:
        clients[url] = new_client(url)
    return clients[url]


def state() -> Redis:
    return client(state_url())


def ledger() -> Ledger:
    return Ledger(state(), keys(), rules())


@cache
def rules() -> Rules:
    return Rules.for_lease(timedelta(seconds=settings().lease_seconds))


def switches() -> Switches:
    return Switches(state(), keys(), settings())


def parts() -> Parts:
    """The running loop's parts; each starts when it is first used."""
    loop = asyncio.get_running_loop()
    if loop not in _parts:
        _parts[loop] = Parts(model_part(settings().model), graph_part(graph_url()))
    return _parts[loop]


def liveness(name: str) -> Liveness:
    """The file that says whether the process of this name works."""
    file = settings().liveness_file
    return Liveness(file or private_folder(settings().home / "run") / f"{name.replace('/', '_')}.alive")


async def close() -> None:
    """Close the running loop's clients and parts."""
    if running := _parts.pop(asyncio.get_running_loop(), None):
        await running.close()
    for each in _clients.pop(asyncio.get_running_loop(), {}).values():
        await each.aclose()
