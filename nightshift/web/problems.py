"""Errors as RFC 9457 problem documents: what went wrong, in the words that the command line uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from nightshift.base.errors import (
    BadQuery,
    BadSchedule,
    BadSetting,
    Forbidden,
    LostLease,
    NightshiftError,
    NotPossible,
    RateLimited,
    StoreFull,
    TransientError,
    UnknownAgent,
    UnknownChannel,
    UnknownDelivery,
    UnknownJob,
    UnknownRun,
)
from nightshift.store.client import translated

log = structlog.get_logger("nightshift.web")

MEDIA_TYPE = "application/problem+json"
#: Seconds after which asking a store that is away makes sense again.
RETRY_AFTER = 2
STATUS: dict[type[NightshiftError], HTTPStatus] = {
    Forbidden: HTTPStatus.FORBIDDEN,
    UnknownRun: HTTPStatus.NOT_FOUND,
    UnknownDelivery: HTTPStatus.NOT_FOUND,
    UnknownChannel: HTTPStatus.NOT_FOUND,
    UnknownJob: HTTPStatus.NOT_FOUND,
    UnknownAgent: HTTPStatus.NOT_FOUND,
    NotPossible: HTTPStatus.CONFLICT,
    LostLease: HTTPStatus.CONFLICT,
    BadQuery: HTTPStatus.UNPROCESSABLE_ENTITY,
    BadSchedule: HTTPStatus.UNPROCESSABLE_ENTITY,
    BadSetting: HTTPStatus.UNPROCESSABLE_ENTITY,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    TransientError: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreFull: HTTPStatus.INSUFFICIENT_STORAGE,
}


class Problem(BaseModel):
    """What went wrong."""

    type: str = Field(description="which kind of problem, as a URN", examples=["urn:nightshift:unknown-run"])
    title: str = Field(description="the kind, in a few words")
    status: int
    detail: str = Field(description="what was wrong this time, and what to do about it")
    errors: list[dict[str, Any]] | None = Field(None, description="which parts of the request are malformed")


Answers = dict[int | str, dict[str, Any]]


def may_answer(problems: Mapping[int, str]) -> Answers:
    """How a route says which problems it may answer with, by status."""
    schema = Problem.model_json_schema()
    return {
        status: {"description": what, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, what in problems.items()
    }


class Unauthorized(NightshiftError):
    """Nobody is known by what the request shows."""


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    kind: str | None = None,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, Any]] | None = None,
) -> JSONResponse:
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", kind) if kind else status.phrase
    told = Problem(
        type=f"urn:nightshift:{words.lower().replace(' ', '-')}",
        title=words.capitalize(),
        status=status,
        detail=detail,
        errors=errors,
    )
    return JSONResponse(told.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE)


def _retry_after(error: TransientError) -> int:
    return ceil(error.retry_after.total_seconds()) if error.retry_after else RETRY_AFTER


def install(app: FastAPI) -> None:
    """Answer whatever goes wrong with a problem document."""

    @app.exception_handler(Unauthorized)
    async def unauthorized(_: Request, error: Unauthorized) -> JSONResponse:
        challenge = {"WWW-Authenticate": 'Bearer realm="nightshift"'}
        return problem(HTTPStatus.UNAUTHORIZED, str(error), headers=challenge)

    @app.exception_handler(NightshiftError)
    async def ours(_: Request, error: NightshiftError) -> JSONResponse:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), None)
        if status is None:
            raise error
        headers = {"Retry-After": str(_retry_after(error))} if isinstance(error, TransientError) else None
        return problem(status, str(error), kind=type(error).__name__, headers=headers)

    @app.exception_handler(RedisError)
    async def stores(request: Request, error: RedisError) -> JSONResponse:
        known = translated(error)
        if isinstance(known, NightshiftError):
            return await ours(request, known)
        raise error

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"where": ".".join(map(str, each["loc"])), "what": each["msg"]} for each in error.errors()]
        detail = "; ".join(f"{each['where']}: {each['what']}" for each in errors)
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, kind="MalformedRequest", errors=errors)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(HTTPStatus(error.status_code), str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _: Exception) -> JSONResponse:
        # The server logs the traceback; the answer tells nobody what is inside.
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"{request.method} {request.url.path} failed; the web's log says how",
        )
