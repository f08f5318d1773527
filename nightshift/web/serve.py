"""The web process: the application and the console on one port, for whoever shows a token."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from redis.exceptions import RedisError

from nightshift import agents
from nightshift.access.tokens import Tokens
from nightshift.base.errors import BadSetting
from nightshift.deployment import Deployment
from nightshift.machine.credentials import WEB, bots_tokens, read, secret_file
from nightshift.processes.log import configure_logging
from nightshift.settings import Settings
from nightshift.store.client import translated
from nightshift.store.ground import QUICK
from nightshift.web.app import create_app
from nightshift.web.console import attach_console

log = structlog.get_logger("nightshift.web")

#: How long requests may take to end once the process is to stop.
GRACE_S = 5
#: What the system holds for a connection that does not take it, instead of megabytes.
SEND_BUFFER = 128 * 1024
TAKES_NOTHING_S = 60


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; refuses to start if nobody could sign in."""
    configure_logging(settings.log_format)
    try:
        asyncio.run(_serve(settings))
    except RedisError as error:
        raise translated(error) from error


async def _serve(settings: Settings) -> None:
    async with Deployment(settings, QUICK) as here:
        await install_bots_tokens(here.access.tokens, settings)
        await install_first_token(here.access.tokens, settings)
    app = create_app(settings)
    attach_console(app, settings)
    # Once it has stopped, the server raises the signal that stopped it again, which would kill.
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, lambda: None)
    with listening_socket(settings) as listening:
        log.info("web_serves", host=settings.web_host, port=settings.web_port)
        await new_server(app).serve(sockets=[listening])


class WebServer(uvicorn.Server):
    """Lets bots that wait for work go before it stops, rather than cutting them off."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: Any = self.config.app
        if web := getattr(app.state, "web", None):
            web.waiting.close()
        await super().shutdown(sockets)


def new_server(app: FastAPI) -> uvicorn.Server:
    return WebServer(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",  # else every page that opens is two lines
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


def listening_socket(settings: Settings) -> socket.socket:
    """Where the settings want the web; what is set here holds for every connection to it."""
    host, port = settings.web_host, settings.web_port
    here = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if sys.platform == "linux":
        # Otherwise a connection is closed only once its last bytes are taken, which may be never.
        here.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKES_NOTHING_S * 1000)
    return here


async def install_bots_tokens(tokens: Tokens, settings: Settings) -> None:
    """Let in the bots whose tokens are kept at home; of an agent that is no longer described, nobody."""
    known = {agent.name: agent for agent in agents.known(settings)}
    for name, secret in bots_tokens(settings.home).items():
        if agent := known.get(name):
            await tokens.install_bot(secret, tenant=agent.tenant, agent=name)


async def install_first_token(tokens: Tokens, settings: Settings) -> None:
    """Let in the token that the settings or the home's secrets name; without any token, refuse."""
    path = secret_file(settings.home, WEB)
    if settings.web_token:
        await tokens.install_first(settings.web_token.get_secret_value())
    elif path.exists():
        await tokens.install_first(read(path))
    elif not await tokens.list():
        raise BadSetting(
            "nobody could use the web, so it does not start; run `nightshift tokens create NAME`, or let "
            f"`nightshift up` make {path}, or set NIGHTSHIFT_WEB_TOKEN to 32 or more random characters"
        )
