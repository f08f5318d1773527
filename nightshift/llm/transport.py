"""
The HTTP below the models' clients: one aiohttp session behind the interface that OpenAI's SDK calls.

It costs half of the SDK's own at hundreds of concurrent calls (``bench/models.py``). No redirect is followed,
so that a key goes nowhere but to its endpoint, and no more of a body is read than an answer may be long.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache

import aiohttp
import httpx2
from yarl import URL

from nightshift.base.errors import BadAnswer

#: The longest body that is read, unpacked: more than any answer or batch of embeddings that is asked for.
LONGEST_BODY = 4 * 1024 * 1024
CONNECT_WITHIN = timedelta(seconds=10)
#: What aiohttp itself writes for the connection it uses.
OWN_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
#: What no longer holds of a body that aiohttp has unpacked.
PACKING = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class AnswerTooLong(BadAnswer):
    """The endpoint went on and on, and was cut off."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Carries httpx2's requests over one aiohttp session; belongs to the event loop it is first used on."""

    def __init__(self, longest_body: int = LONGEST_BODY) -> None:
        self._longest_body = longest_body
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request and return once the answer's headers are there."""
        body = await request.aread()
        headers = [(name, value) for name, value in request.headers.items() if name not in OWN_HEADERS]
        url = str(request.url)
        with _translated(request):
            response = await self._open_session().request(
                request.method,
                _parse(url),
                headers=headers,
                data=body or None,
                proxy=_proxy_of(request.url.scheme, request.url.host),
                allow_redirects=False,
            )
        body_as_it_comes = _Body(response, request, self._longest_body)
        told = [each for each in response.raw_headers if each[0].lower() not in PACKING]
        return httpx2.Response(response.status, headers=told, stream=body_as_it_comes, request=request)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # How many calls are made at once is decided by who makes them.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                # How long a call may take is its caller's deadline.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN.total_seconds()),
                headers={"accept-encoding": "identity"},
            )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Body(httpx2.AsyncByteStream):
    """An answer's body as it comes, up to a length."""

    def __init__(self, response: aiohttp.ClientResponse, request: httpx2.Request, longest: int) -> None:
        self._response = response
        self._request = request
        self._longest = self._left = longest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(self._request):
            async for chunk in self._response.content.iter_any():
                self._left -= len(chunk)
                if self._left < 0:
                    raise AnswerTooLong(
                        f"{self._request.url.host} sent more than the {self._longest >> 20} MB "
                        "that an answer may have; the rest was not read"
                    )
                yield chunk

    async def aclose(self) -> None:
        # A connection whose body was read to its end has gone back to the pool already.
        self._response.close()


@contextmanager
def _translated(request: httpx2.Request) -> Iterator[None]:
    """Raise what goes wrong below as httpx2 would, which is what the SDK knows."""
    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
        raise httpx2.ConnectError(str(error), request=request) from error
    except aiohttp.ClientPayloadError as error:
        raise httpx2.RemoteProtocolError(str(error), request=request) from error
    except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
        raise httpx2.ReadError(str(error), request=request) from error


@lru_cache(maxsize=64)
def _parse(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=64)
def _proxy_of(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for this host, if any."""
    return None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
