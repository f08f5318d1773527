"""Probes and metrics. The probes are open to all and tell nothing but yes or no."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError

from nightshift.web.guard import REFUSALS, Scraper
from nightshift.web.metrics import read_metrics
from nightshift.web.state import Web

router = APIRouter(tags=["health"])

#: A store that takes longer to answer does not count as there.
PATIENCE_S = 2


@router.get("/livez", summary="Whether this process works", response_class=PlainTextResponse)
async def livez() -> Response:
    return PlainTextResponse("ok\n")


@router.get(
    "/readyz",
    summary="Whether it can answer: its store is there, and its reader of events lives",
    response_class=PlainTextResponse,
    responses={503: {"description": "it cannot", "content": {"text/plain": {}}}},
)
async def readyz(request: Request) -> Response:
    web = Web.of(request)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await web.here.runs.ledger.redis.exists(web.here.runs.ledger.keys.events)
    except (RedisError, TimeoutError):
        return PlainTextResponse("the state store does not answer\n", 503)
    if web.hub.away is not None or web.following.done():
        return PlainTextResponse("events are not followed\n", 503)
    return PlainTextResponse("ok\n")


@router.get(
    "/metrics", summary="Figures for Prometheus", responses=REFUSALS, response_class=PlainTextResponse
)
async def metrics(request: Request, token: Scraper) -> Response:
    web = Web.of(request)
    told = await read_metrics(web.here.runs.ledger, web.here.controls.switches, web.here.broker)
    return Response(told, media_type=CONTENT_TYPE_LATEST)
