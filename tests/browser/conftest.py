"""A real Chromium, and the console of a real deployment, for all tests in browsers."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from nightshift.access.tokens import Role, Tokens
from nightshift.store.keys import Keys
from nightshift.web.console.gate import COOKIE
from tests.faults.deployment import SETTINGS, STARTED, Deployment, until

#: Debian's Chromium as root in a container, asking nothing of anybody else.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run", "--disable-quic"]
SECRET = "the-first-token-of-these-tests-0123456789"


@dataclass
class Console:
    """A console, and whoever looks at it."""

    url: str
    deployment: Deployment
    browser: Browser
    tokens: Tokens

    async def visit(self, path: str = "/", role: Role = Role.OPERATOR, **how: Any) -> Page:
        """Open this page in a browser that has signed in already, with a token of its own."""
        tenant = how.pop("tenant", None)
        page = await (await self.visitor(role, tenant, **how)).new_page()
        await page.goto(self.url + path)
        return page

    async def visitor(self, role: Role, tenant: str | None = None, **how: Any) -> BrowserContext:
        name = f"{role}-{secrets.token_hex(3)}"
        secret = await self.tokens.create(name, role, tenant=tenant)
        cookie = await self.tokens.sign_in(secret)
        assert cookie
        context = await self.browser.new_context(**how)
        await context.add_cookies([{"name": COOKIE, "value": cookie, "url": self.url}])
        return context


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        why = "no chromium here: `scripts/install-test-tools` installs it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def console(browser: Browser) -> AsyncIterator[Console]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        settings = f'web_port = {port}\nweb_token = "{SECRET}"\nflower_port = 5999\n{SETTINGS}'
        async with Deployment(Path(folder), settings) as deployment:
            await deployment.start_core()
            await deployment.start_worker("worker", "io,graph,memory,heartbeat,agents")
            deployment.start("web", [sys.executable, "-m", "nightshift.cli", "web"])
            url = f"http://127.0.0.1:{port}"
            await until(_answers(f"{url}/readyz"), STARTED, "the web is ready")
            yield Console(url, deployment, browser, Tokens(deployment.client, Keys()))


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def close_pages(browser: Browser) -> AsyncIterator[None]:
    yield
    for context in browser.contexts:
        await context.close()


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        async with httpx2.AsyncClient() as client:
            try:
                return (await client.get(url)).status_code == 200
            except httpx2.TransportError:
                return False

    return answers
