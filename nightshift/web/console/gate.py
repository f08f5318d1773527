"""The console's door: signing in and out, and nothing but a sign-in page for whoever has not."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Receive, Scope, Send

from nightshift.access.tokens import SESSION, Token, Tokens
from nightshift.machine.credentials import WEB, secret_file
from nightshift.store.client import translated
from nightshift.web.console.pages import page
from nightshift.web.state import Web

log = structlog.get_logger("nightshift.web")

COOKIE = "nightshift_session"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
#: What is answered without the console's cookie: the routes here have a guard of their own, or tell nothing.
ELSEWHERE = {"/livez", "/readyz", "/metrics", "/v1", SIGN_IN, SIGN_OUT}
BELOW = ("/v1/", "/console-static/")
#: A form with a token in it is no longer than this.
LONGEST_FORM = 8_192
#: What Starlette raises when a browser leaves before it has its answer.
LEFT = "No response returned."
#: Where the page that is asked for finds who asks.
ASKING = "nightshift.asking"

router = APIRouter(include_in_schema=False)


class ConsoleGate:
    """Lets pages and their live connection through for browsers that are signed in."""

    def __init__(self, app: ASGIApp, web: FastAPI) -> None:
        self._app = app
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        elsewhere = path in ELSEWHERE or path.startswith(BELOW)
        if elsewhere or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        cookie = session_cookie(headers.get("cookie", ""))
        tokens: Tokens = self._web.state.web.here.access.tokens
        try:
            token = await tokens.signed_in(cookie) if cookie else None
        except RedisError as error:
            await self._refuse(scope, receive, send, _store_away(error))
            return
        if scope["type"] == "websocket" and not _same_host(headers.get("origin"), headers.get("host")):
            token = None
        if token is None:
            wanted = quote(
                scope["path"]
                + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            )
            await self._refuse(scope, receive, send, RedirectResponse(f"{SIGN_IN}?next={wanted}", 303))
            return
        scope[ASKING] = token
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:
            if str(error) != LEFT:
                raise

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, answer: Response) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4401, "reason": "sign in"})
        else:
            await answer(scope, receive, send)


def session_cookie(header: str) -> str | None:
    """The console's cookie among those that a browser sent."""
    try:
        cookies = SimpleCookie(header)
    except CookieError:
        return None
    return cookies[COOKIE].value if COOKIE in cookies else None


@router.get(SIGN_IN)
async def show_sign_in(request: Request, next: str = "/") -> Response:
    return _form(request, next)


@router.post(SIGN_IN)
async def sign_in(request: Request) -> Response:
    """Exchange a token for a cookie."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            return _form(request, "/", "That is too long for a token.", 413)
    form = parse_qs(body.decode("utf-8", "replace"))
    wanted, secret = form.get("next", ["/"])[0], form.get("token", [""])[0].strip()
    if not _same_host(request.headers.get("origin"), request.headers.get("host")):
        return _form(request, "/", "That form came from another site.", 403)
    try:
        cookie = await Web.of(request).here.access.tokens.sign_in(secret)
    except RedisError as error:
        return _store_away(error)
    if cookie is None:
        log.info("sign_in_refused")
        return _form(request, wanted, "No such token, or it has expired, was revoked or may not read.", 401)
    answer = RedirectResponse(_within(wanted), 303)
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=round(SESSION.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post(SIGN_OUT)
async def sign_out(request: Request) -> Response:
    cookie = request.cookies.get(COOKIE)
    if cookie and _same_host(request.headers.get("origin"), request.headers.get("host")):
        await Web.of(request).here.access.tokens.sign_out(cookie)
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(COOKIE)
    return answer


async def still_signed_in(request: Request) -> Token | None:
    """Who the page's browser stands for now, which may be nobody: tokens end while pages are open."""
    cookie = session_cookie(request.headers.get("cookie", ""))
    return await Web.of(request).here.access.tokens.signed_in(cookie) if cookie else None


def _form(request: Request, wanted: str, problem: str = "", status: int = 200) -> HTMLResponse:
    facts = {"next": _within(wanted), "problem": problem, "kept": _where_first_token_is(request)}
    return HTMLResponse(page("sign_in.html", **facts), status)


def _where_first_token_is(request: Request) -> str:
    """The file of the token that was made for this home, below whatever folder; empty if there is none."""
    settings = Web.of(request).here.settings
    file = secret_file(settings.home, WEB)
    return "" if settings.web_token or not file.exists() else str(file.relative_to(settings.home.parent))


def _store_away(error: RedisError) -> HTMLResponse:
    return HTMLResponse(page("away.html", problem=str(translated(error))), 503, headers={"Retry-After": "2"})


def _within(path: str) -> str:
    """A path of this console; anything else leads home."""
    parts = urlsplit(path)
    safe = (
        path.startswith("/")
        and not path.startswith(("//", "/\\"))
        and not parts.netloc
        and path.isprintable()
    )
    return path if safe else "/"


def _same_host(origin: str | None, host: str | None) -> bool:
    """Browsers say where a form or a live connection comes from; others say nothing."""
    return origin is None or urlsplit(origin).netloc == host
