"""The HTTP below the clients: what is sent arrives, and nothing holds or leads us longer than we wish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from nightshift.llm.transport import AiohttpTransport, AnswerTooLong
from tests.nightshift.llm.asking import serving


class Server:
    """What it was sent, and who is still waiting."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.left = asyncio.Event()
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()
        self.visited: list[str] = []

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._note])
        app.add_routes(
            [
                web.post("/echo", self._echo),
                web.get("/hang", self._hang),
                web.get("/slowly", self._slowly),
                web.get("/packed", self._packed),
                web.get("/big", self._big),
                web.get("/elsewhere", self._elsewhere),
            ]
        )
        return app

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.headers = dict(request.headers)
        self.visited.append(request.path_qs)
        return await handler(request)

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=await request.read(), status=418, headers={"x-said": "yes"})

    async def _hang(self, _: web.Request) -> web.StreamResponse:
        self.waiting.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.left.set()
            raise
        raise AssertionError

    async def _slowly(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first ")
        await self.go_on.wait()
        await response.write(b"second")
        await response.write_eof()
        return response

    async def _packed(self, _: web.Request) -> web.StreamResponse:
        response = web.Response(body=b"x" * 10_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _big(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)

    async def _elsewhere(self, _: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.2:1/steal")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        serving(server.app()) as origin,
        httpx2.AsyncClient(transport=AiohttpTransport(longest_body=50_000), base_url=origin) as http,
    ):
        yield http


async def test_a_request_arrives_and_its_answer_comes_back(server: Server, http: httpx2.AsyncClient) -> None:
    answer = await http.post("/echo?a=%2Fb", json={"ü": 1}, headers={"Authorization": "Bearer x"})

    assert (answer.status_code, answer.headers["x-said"], answer.json()) == (418, "yes", {"ü": 1})
    assert server.headers["Authorization"] == "Bearer x"
    assert server.headers["Content-Type"] == "application/json"
    assert server.headers["Accept-Encoding"] == "identity"
    assert server.visited == ["/echo?a=%2Fb"]


async def test_a_call_that_is_cancelled_hangs_up(server: Server, http: httpx2.AsyncClient) -> None:
    calling = asyncio.create_task(http.get("/hang", timeout=None))
    await server.waiting.wait()
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling
    async with asyncio.timeout(5):
        await server.left.wait()


async def test_a_body_is_read_as_it_comes(server: Server, http: httpx2.AsyncClient) -> None:
    async with http.stream("GET", "/slowly") as answer:
        chunks = answer.aiter_bytes()
        assert await anext(chunks) == b"first "
        server.go_on.set()
        assert await anext(chunks) == b"second"


async def test_a_body_that_is_packed_unasked_is_unpacked(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/packed")).content == b"x" * 10_000


async def test_a_body_without_end_is_cut_off(http: httpx2.AsyncClient) -> None:
    with pytest.raises(AnswerTooLong):
        await http.get("/big")


async def test_no_redirect_is_followed(server: Server, http: httpx2.AsyncClient) -> None:
    answer = await http.get("/elsewhere", headers={"Authorization": "Bearer x"})

    assert (answer.status_code, server.visited) == (302, ["/elsewhere"])


async def test_nobody_there_is_told_from_somebody_who_breaks_off() -> None:
    async def reset(request: web.Request) -> web.StreamResponse:
        assert request.transport
        request.transport.abort()
        return web.Response()

    async def lie(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "100"})
        await response.prepare(request)
        await response.write(b"less")
        assert request.transport
        request.transport.close()
        return response

    app = web.Application()
    app.add_routes([web.get("/reset", reset), web.get("/lie", lie)])
    async with httpx2.AsyncClient(transport=AiohttpTransport()) as http:
        async with serving(app) as origin:
            with pytest.raises(httpx2.ReadError):
                await http.get(f"{origin}/reset")
            with pytest.raises(httpx2.RemoteProtocolError):
                await http.get(f"{origin}/lie")
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"{origin}/reset")
