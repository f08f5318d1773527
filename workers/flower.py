"""
Flower with its door closed: what ``nightshift flower`` and ``celery -A workers.app flower`` start.

Stock: it starts without a password, and with one ``/metrics`` is still open. Here it does not start without
credentials, and every address asks for them except ``/healthcheck``, which says OK and nothing else.
"""

from __future__ import annotations

import hmac
import json
import sys
from base64 import b64encode
from typing import Any

from flower import app as stock
from flower import command
from flower.options import options as defaults
from flower.views import BaseHandler
from flower.views.monitor import Healthcheck
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from nightshift.base.errors import BadSetting
from nightshift.base.masking import masked
from nightshift.deployment import process_settings
from nightshift.machine.credentials import flower_credentials
from nightshift.processes.log import configure_logging

MAX_TASKS = 10_000
#: The exit code of the command line for wrong settings.
WRONG_USE = 2


class Closed(BaseHandler):  # type: ignore[misc]  # Flower ships no types
    """What is at every address for whoever brings no credentials."""

    def prepare(self) -> None:
        raise HTTPError(401)


class Flower(stock.Flower):  # type: ignore[misc]
    """The stock application, except that it asks for credentials wherever a request goes."""

    def __init__(self, *, options: Any, **settings: Any) -> None:
        try:
            credentials = _credentials(options)
        except BadSetting as error:
            sys.stderr.write(f"Error: {error}\n")
            sys.exit(WRONG_USE)
        configure_logging(process_settings().log_format)
        options.basic_auth = [credentials]
        self._key = b"Basic " + b64encode(credentials.encode())
        super().__init__(options=options, **settings)

    def get_handler_delegate(
        self, request: HTTPServerRequest, target_class: type, *found: Any, **named: Any
    ) -> Any:
        if target_class is Healthcheck or self._admits(request):
            return super().get_handler_delegate(request, target_class, *found, **named)
        return super().get_handler_delegate(request, Closed)

    @property
    def workers(self) -> Any:
        """What workers tell of themselves, less passwords, such as those in their servers' addresses."""
        return json.loads(masked(json.dumps(super().workers)))

    def _admits(self, request: HTTPServerRequest) -> bool:
        return hmac.compare_digest(request.headers.get("Authorization", "").encode(), self._key)


def _credentials(options: Any) -> str:
    if options.basic_auth:
        raise BadSetting(
            "Flower takes its credentials from NIGHTSHIFT_FLOWER_AUTH or the file that `nightshift up` made; "
            "set that, not --basic_auth, which everybody on this machine can see, nor FLOWER_BASIC_AUTH"
        )
    return flower_credentials(process_settings())


def install() -> None:
    """Have Celery's command line start this one; its own options and FLOWER_… still count before these."""
    settings = process_settings()
    command.Flower = Flower
    defaults.address = settings.flower_host
    defaults.port = settings.flower_port
    defaults.max_tasks = MAX_TASKS
    defaults.read_only = True
    # Whoever has said whether workers send events is not overruled every five seconds.
    defaults.enable_events = "task_events" not in settings.model_fields_set
