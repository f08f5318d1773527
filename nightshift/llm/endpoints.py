"""An endpoint's client: OpenAI's SDK over our own HTTP, kept as a resource and shared by all calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from nightshift.base.masking import masked
from nightshift.base.secret_file import secret_source
from nightshift.base.words import span
from nightshift.llm.sdk import load_sdk
from nightshift.llm.settings import MAIN, EndpointSettings, LlmSection
from nightshift.processes.resources import Resource

if TYPE_CHECKING:
    from openai import AsyncOpenAI

#: How OpenRouter shows its users where a call came from.
TITLE = {"X-Title": "nightshift"}
#: What is shown to an endpoint that asks for no key.
NO_KEY = "none"


def resource_name(endpoint: str) -> str:
    """What this endpoint's client is called among the resources."""
    return "model" if endpoint == MAIN else f"model:{endpoint}"


def key_sources(settings: LlmSection) -> dict[str, Callable[[], list[str]]]:
    """Where to ask for the keys of each endpoint that wants one, each time one is used."""
    sources = {
        name: secret_source(endpoint.key, endpoint.keys_file)
        for name, endpoint in settings.all_endpoints.items()
    }
    return {name: partial(_split, read) for name, read in sources.items() if read}


def _split(read: Callable[[], str]) -> list[str]:
    return read().split()


def endpoint_resource(name: str, endpoint: EndpointSettings) -> Resource[AsyncOpenAI]:
    """The client of this endpoint; each call shows a key of its own."""

    async def start() -> AsyncOpenAI:
        await load_sdk()
        import httpx2
        import openai

        from nightshift.llm.transport import AiohttpTransport

        http = httpx2.AsyncClient(
            transport=AiohttpTransport(), timeout=None, follow_redirects=False, trust_env=False
        )
        return openai.AsyncOpenAI(
            base_url=endpoint.url,
            api_key=NO_KEY,
            max_retries=0,
            timeout=None,
            default_headers=TITLE,
            http_client=http,
        )

    return Resource(resource_name(name), start, ping=_reach, close=lambda client: client.close())


async def _reach(client: AsyncOpenAI) -> None:
    """Have the endpoint answer anything at all, a refusal too: not every one lists its models."""
    import openai

    try:
        # Its body, which may be long, is not read.
        async with client.models.with_streaming_response.list():
            pass
    except openai.APIStatusError:
        pass


async def why_not_reached(name: str, endpoint: EndpointSettings) -> str:
    """Ask the endpoint for its list of models, which costs nothing; why no answer came, if none did."""
    import openai

    resource = endpoint_resource(name, endpoint)
    client = await resource.start()
    try:
        async with asyncio.timeout(resource.answer_within.total_seconds()):
            await resource.ping(client)
    except TimeoutError:
        return f"it does not answer within {span(resource.answer_within)}"
    except openai.APIError as error:
        return f"it does not answer: {masked(str(error.__cause__ or error))}"
    finally:
        await resource.close(client)
    return ""
