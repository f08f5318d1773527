"""A model that answers every call after a second: ``python -m bench.pool.server`` prints its port."""

from __future__ import annotations

import asyncio
from typing import cast

import uvloop

SECONDS = 1.0
ANSWER = b'{"answer": "' + b"x" * 1000 + b'"}'
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
)


class Model(asyncio.Protocol):
    """One connection. It takes each packet that ends a request's headers for one call."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if b"\r\n\r\n" in data:
            asyncio.get_running_loop().call_later(SECONDS, self._transport.write, RESPONSE)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
