"""Where the servers are: those that the settings name, or the embedded one."""

from __future__ import annotations

from nightshift.base.errors import BadSetting
from nightshift.machine import embedded
from nightshift.settings import Settings

STATE_DATABASE, BROKER_DATABASE = 0, 1


def state_url(settings: Settings) -> str:
    """The ledger's Redis."""
    url = settings.state_url
    return url.get_secret_value() if url else _embedded_url(settings)


def broker_url(settings: Settings) -> str:
    """Celery's Redis, as Celery writes it: named, or beside the ledger in a database of its own."""
    url = settings.broker_url
    if url:
        return url.get_secret_value()
    if settings.embedded:
        return embedded.broker_url(embedded.spec_from(settings), BROKER_DATABASE)
    base, _, database = state_url(settings).rpartition("/")
    if not database.isdigit():
        raise BadSetting(
            "setting 'state_url' names no database (…/0), so the broker's cannot be derived from it; "
            "add one, or set NIGHTSHIFT_BROKER_URL"
        )
    return f"{base}/{int(database) + 1}"


def plain_broker_url(settings: Settings) -> str:
    """Celery's Redis, as everybody but Celery writes it."""
    # What Celery calls redis+socket, and its database virtual_host, is unix and db everywhere else.
    return broker_url(settings).replace("redis+socket://", "unix://").replace("virtual_host=", "db=")


def graph_url(settings: Settings) -> str | None:
    """FalkorDB, if there is one."""
    url = settings.graph_url
    if url:
        return url.get_secret_value()
    return _embedded_url(settings) if settings.embedded else None


def _embedded_url(settings: Settings) -> str:
    return embedded.url(embedded.spec_from(settings), STATE_DATABASE)
