"""Clients of the simulated model, and the web that the community talks to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from openai import AsyncOpenAI

from nightshift.demo.model import SimulatedModel
from tests.nightshift.web.conftest import serve, settle, stage, store, tokens

__all__ = ["serve", "settle", "stage", "store", "tokens"]


@pytest.fixture
async def client(model: SimulatedModel) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client, which tries once."""
    async with AsyncOpenAI(base_url=model.url, api_key="any", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
async def http(model: SimulatedModel) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client at the model's origin."""
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(model.origin, timeout=timeout) as http:
        yield http
