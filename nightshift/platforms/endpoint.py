"""
A platform's HTTP API: bounded waits and answers, and every failure in our own words.

An answer is checked against the shape it must have before anybody sees it. No error quotes a URL or a header,
nor of an answer more than the platform's own words for its refusal, for any of these may hold a secret.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, StringConstraints, TypeAdapter, ValidationError

import nightshift
from nightshift.base.errors import (
    MissingOnPlatform,
    NightshiftError,
    NotTaken,
    PlatformDown,
    RateLimited,
    RefusedByPlatform,
)
from nightshift.base.refs import LONGEST_ID

if TYPE_CHECKING:
    from aiohttp import ClientSession  # 0.3 s, for whoever sends

CONNECT_WITHIN = timedelta(seconds=10)
ANSWER_WITHIN = timedelta(seconds=30)
#: Of an answer, what is read at most. A hundred of Matrix's largest events are 6.5 MB.
LARGEST_ANSWER = 8 << 20
CHUNK = 1 << 16
#: Nobody is told to wait longer, whatever the other side says.
LONGEST_WAIT = timedelta(days=1)
#: What is told of a refusal's words is cut to this.
LONGEST_REASON = 200
USER_AGENT = f"nightshift/{nightshift.__version__}"


def _visible(text: str) -> str:
    if not text.isprintable():
        raise ValueError("an id is made of visible characters")
    return text


#: What a platform calls a message, a user or a channel.
Id = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID), AfterValidator(_visible)]


class _Complaint(BaseModel):
    """Where platforms put what they object to, and how long to wait; any of it may be missing or nonsense."""

    error: Any = None  # Matrix, Slack
    message: Any = None  # Discord
    description: Any = None  # Telegram
    retry_after_ms: Any = None
    retry_after: Any = None
    parameters: Any = None

    @property
    def reason(self) -> str:
        words = (self.error, self.message, self.description)
        said = next((each for each in words if isinstance(each, str) and each), "")
        plain = "".join(letter if letter.isprintable() else " " for letter in said[:LONGEST_REASON])
        return plain.rstrip(" .")  # what to do about it follows

    @property
    def wait(self) -> timedelta | None:
        nested = self.parameters.get("retry_after") if isinstance(self.parameters, dict) else None  # Telegram
        return (
            time_in(self.retry_after_ms, timedelta(milliseconds=1))
            or time_in(self.retry_after)
            or time_in(nested)
        )


def time_in(told: object, unit: timedelta = timedelta(seconds=1)) -> timedelta | None:
    """A time to wait as the other side told it, if it is one."""
    try:
        number = float(cast(Any, told))
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number) or number < 0:
        return None
    return min(unit * min(number, 1e12), LONGEST_WAIT)


class Endpoint:
    """One API, asked by one event loop."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: Callable[[], Mapping[str, str]] = dict,
        *,
        token_in: str = "",
        learn: Callable[[str, int, Mapping[str, str]], None] | None = None,
        reuse: bool = True,
        answer_within: timedelta = ANSWER_WITHIN,
    ) -> None:
        """
        ``headers`` are made anew for each request, as the token in them may change. ``token_in`` is where
        whoever must replace it finds it, if the settings do not hold it themselves.

        ``learn`` is told the method and path, the status and the headers of each answer. ``reuse`` suits a
        platform where a send can be repeated: a connection kept open may be found closed only after the
        request went out on it, and then nobody knows.
        """
        self.name = name
        self.token_in = token_in or f"[platforms.{name}]"
        self._url = url.rstrip("/")
        self._headers = headers
        self._learn = learn
        self._reuse = reuse
        self._answer_within = answer_within
        self._kept: ClientSession | None = None

    async def ask[T](
        self,
        shape: TypeAdapter[T],
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        unclear: Callable[[str], NightshiftError] = PlatformDown,
    ) -> T:
        """
        Ask, and have the answer in this shape.

        ``unclear`` is what is raised if nobody knows whether the other side did as it was asked.
        """
        data = None if body is None else json.dumps(body).encode()
        content = await self.call(method, *path, query=query, body=data, unclear=unclear)
        try:
            return shape.validate_json(content)
        except ValidationError:
            raise unclear(f"{self.name} answered with what makes no sense") from None

    async def call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        unclear: Callable[[str], NightshiftError] = PlatformDown,
    ) -> bytes:
        """Ask, and have the bytes of an answer that is no refusal."""
        import aiohttp
        from yarl import URL

        where = "/".join([self._url, *(self._segment(each) for each in path)])
        sent = (
            {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
            | dict(self._headers())
            | dict(headers or {})
        )
        # The HTTP client repeats a PUT by itself: one that went out may meet nobody the second time.
        went_out: list[None] = []
        try:
            async with self._session().request(
                method,
                URL(where, encoded=True),
                params=query,
                data=body,
                headers=sent,
                allow_redirects=False,
                trace_request_ctx=went_out,
            ) as response:
                if self._learn:
                    self._learn("/".join([method, *path]), response.status, response.headers)
                content = bytearray()
                async for chunk in response.content.iter_chunked(CHUNK):
                    content += chunk
                    if len(content) > LARGEST_ANSWER:
                        raise unclear(f"{self.name} answered more than {LARGEST_ANSWER >> 20} MB")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            says = f"{self.name} cannot be reached ({type(error).__name__})"
            raise (unclear if went_out else NotTaken)(says) from None
        except TimeoutError:
            raise unclear(f"{self.name} did not answer in time") from None
        except aiohttp.ClientError as error:
            raise unclear(f"{self.name} broke off before its answer ({type(error).__name__})") from None
        if response.status // 100 != 2:
            raise self._refusal(response.status, response.headers, content, unclear)
        return bytes(content)

    def _segment(self, text: str) -> str:
        """One step of a path, whatever is in it."""
        if text in (".", ".."):
            raise RefusedByPlatform(f"{self.name} has nothing of the name {text!r}")
        return quote(text, safe=":@!$")

    def _session(self) -> ClientSession:
        import aiohttp

        if self._kept is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_request_headers_sent.append(_note)
            self._kept = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=self._answer_within.total_seconds(), connect=CONNECT_WITHIN.total_seconds()
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(force_close=not self._reuse),
                trace_configs=[tracing],
            )
        return self._kept

    def _refusal(
        self,
        status: int,
        headers: Mapping[str, str],
        content: bytes | bytearray,
        unclear: Callable[[str], NightshiftError],
    ) -> NightshiftError:
        try:
            complaint = _Complaint.model_validate_json(content)
        except ValidationError:
            complaint = _Complaint()
        said = f"{self.name} answered {status}" + (f": {complaint.reason}" if complaint.reason else "")
        wait = complaint.wait or time_in(headers.get("Retry-After"))
        if status == 429:
            return RateLimited(said, retry_after=wait)
        if status == 401:
            return NotTaken(f"{said}; check the token in {self.token_in}")
        if status == 503:
            return PlatformDown(said, retry_after=wait)
        if status >= 500 or status == 408:
            return unclear(said)
        if status // 100 == 3:
            host = urlsplit(headers.get("Location", "")).hostname or "elsewhere"
            return RefusedByPlatform(
                f"{said}, which leads to {host}; set url in [platforms.{self.name}] to where it is"
            )
        return (MissingOnPlatform if status == 404 else RefusedByPlatform)(said)

    async def close(self) -> None:
        """Close what connections there are."""
        if self._kept:
            await self._kept.close()
            self._kept = None


async def _note(_session: ClientSession, context: SimpleNamespace, _sent: object) -> None:
    context.trace_request_ctx.append(None)
