"""Only keys that are not well are asked, with one cheap call each, and what they answer counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis

from nightshift.base.errors import Frozen, OutOfBudget
from nightshift.controls.freeze import Freeze
from nightshift.controls.switches import KNOWN, SwitchBoard
from nightshift.jobs.needs import missing_needs
from nightshift.jobs.row import Need
from nightshift.llm.breaker import Breaker
from nightshift.llm.calls import Calls
from nightshift.llm.endpoints import endpoint_resource, key_sources
from nightshift.llm.key_probe import probe_keys
from nightshift.llm.keypool import QUOTA_EXHAUSTED, UNAUTHORIZED, KeyPool, KeyState, key_id
from nightshift.llm.uses import Uses
from nightshift.money.caps import Caps
from nightshift.money.payer import Occasion, Payer
from nightshift.money.purse import Purse
from nightshift.money.settings import BudgetSettings
from nightshift.processes.resources import Resources
from nightshift.settings import Settings, load_settings
from nightshift.store.keys import Keys
from tests.nightshift.llm.asking import completion

WELL, EMPTY, DRY, WRONG, POOR = "key-well", "key-empty", "key-dry", "key-wrong", "key-poor"
EMBED, FLASH = "gemini-embedding-001", "gemini-2.5-flash"
PAYER = Payer("job:gemini_key_probe@1", "job:gemini_key_probe", kind=Occasion.MEMORY)
VECTOR = {"data": [{"index": 0, "embedding": [0.5, 0.5]}], "usage": {"prompt_tokens": 1}}
QUOTA = {"error": {"message": "quotaId: EmbedContentRequestsPerDayPerProject", "code": 429}}


@dataclass
class Gemini:
    """An endpoint that knows how each key is doing, and remembers with which it was asked."""

    says: dict[str, tuple[int, Mapping[str, object]]] = field(default_factory=dict)
    says_to_chat: tuple[int, Mapping[str, object]] = 200, completion()
    asked: list[str] = field(default_factory=list)
    asked_to_chat: list[str] = field(default_factory=list)
    url: str = ""

    async def embed(self, request: web.Request) -> web.Response:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        self.asked.append(key)
        status, body = self.says.get(key, (200, VECTOR))
        return web.json_response(body, status=status)

    async def chat(self, request: web.Request) -> web.Response:
        self.asked_to_chat.append(request.headers["Authorization"].removeprefix("Bearer "))
        status, body = self.says_to_chat
        return web.json_response(body, status=status)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/embeddings", self.embed)
        app.router.add_post("/chat/completions", self.chat)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
async def gemini() -> AsyncIterator[Gemini]:
    gemini = Gemini()
    async with gemini.serve():
        yield gemini


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "gemini-keys"
    put(file, WELL, EMPTY, DRY, WRONG, POOR)
    return file


def put(file: Path, *secrets: str) -> None:
    file.write_text("\n".join(secrets))


@pytest.fixture
def settings(gemini: Gemini, file: Path) -> Settings:
    return load_settings(
        endpoints={"gemini": {"url": gemini.url, "keys_file": file, "kind": "gemini"}},
        models={
            "embed": {"name": EMBED, "endpoint": "gemini", "price_in": 0.15},
            "flash": {"name": FLASH, "endpoint": "gemini"},
        },
    )


@dataclass
class Probe:
    """The probe with the real parts around it."""

    redis: Redis
    keys: Keys
    settings: Settings
    parts: Resources
    day: float = 1

    def calls(self, pools: Mapping[str, KeyPool]) -> Calls:
        caps = Caps(self.redis, self.keys, BudgetSettings(day=self.day))
        return Calls(
            self.parts,
            purse=Purse(self.redis, self.keys, caps),
            freeze=Freeze(self.redis, self.keys),
            breaker=Breaker(self.redis, self.keys),
            pools=pools,
        )

    @property
    def pool(self) -> KeyPool:
        return KeyPool(self.redis, self.keys, key_sources(self.settings)["gemini"], "gemini")

    async def __call__(self) -> Mapping[str, int]:
        return await probe_keys({"gemini": self.pool}, Uses(self.settings), self.calls, PAYER)


@pytest.fixture
async def probe(redis: Redis, keys: Keys, settings: Settings) -> AsyncIterator[Probe]:
    parts = Resources(endpoint_resource("gemini", settings.endpoints["gemini"]))
    yield Probe(redis, keys, settings, parts)
    await parts.close()


async def make_unwell(pool: KeyPool) -> None:
    for secret in (EMPTY, DRY):
        await pool.report(key_id(secret), QUOTA_EXHAUSTED, EMBED)
    for secret in (WRONG, POOR):
        for _ in range(2):
            await pool.report(key_id(secret), UNAUTHORIZED, EMBED)


async def test_only_keys_that_are_not_well_are_asked_and_go_where_they_belong(
    probe: Probe, gemini: Gemini
) -> None:
    gemini.says[WRONG] = 400, {"error": {"message": "API key not valid", "code": 400}}
    gemini.says[DRY] = gemini.says[POOR] = 429, QUOTA
    await make_unwell(probe.pool)
    counts = await probe()
    assert sorted(gemini.asked) == sorted([EMPTY, DRY, WRONG, POOR])
    assert {row.id: row.state for row in await probe.pool.rows()} == {
        key_id(WELL): KeyState.OK,
        key_id(EMPTY): KeyState.OK,
        key_id(DRY): KeyState.EXHAUSTED,
        # Nobody took it, so it is not known to be any good.
        key_id(POOR): KeyState.INVALID,
        key_id(WRONG): KeyState.INVALID,
    }
    assert counts == {"asked": 4, "ok": 2, "cooling": 0, "exhausted": 1, "invalid": 2}
    assert int(await probe.redis.get(probe.keys.spent_by(PAYER.run)) or 0) > 0

    gemini.asked.clear()
    gemini.says.clear()
    await probe()
    await probe()
    assert sorted(gemini.asked) == sorted([DRY, WRONG, POOR]), "once each, and then all are well"


async def test_a_key_that_rests_for_one_model_is_asked_by_that_one(
    probe: Probe, gemini: Gemini, file: Path
) -> None:
    put(file, WELL, EMPTY)
    for secret in (WELL, EMPTY):
        await probe.pool.report(key_id(secret), QUOTA_EXHAUSTED, FLASH)
    gemini.says_to_chat = 429, QUOTA
    assert (await probe())["exhausted"] == 2
    gemini.says_to_chat = 200, completion()
    assert (await probe())["ok"] == 2
    assert gemini.asked_to_chat == [WELL, EMPTY] * 2
    assert gemini.asked == []


async def test_a_key_put_in_place_of_a_bad_one_is_used_at_once(
    probe: Probe, gemini: Gemini, file: Path
) -> None:
    pool = probe.pool
    await make_unwell(pool)
    put(file, "key-new")
    assert (await pool.pick(EMBED)).secret == "key-new"
    assert (await probe())["asked"] == 0
    assert gemini.asked == []


async def test_neither_a_freeze_nor_an_empty_purse_is_passed_by(probe: Probe, gemini: Gemini) -> None:
    await make_unwell(probe.pool)
    probe.day = 0
    with pytest.raises(OutOfBudget):
        await probe()
    probe.day = 1
    await Freeze(probe.redis, probe.keys).freeze("ann")
    with pytest.raises(Frozen):
        await probe()
    assert gemini.asked == []


async def test_the_job_is_off_with_a_reason_unless_an_endpoint_has_a_key(
    settings: Settings, file: Path
) -> None:
    board = SwitchBoard(dict.fromkeys(KNOWN, True), {})
    assert Need.KEY_POOL not in await missing_needs(settings, board, None)
    put(file, WELL)  # a single key that was refused is to be taken up again as well
    assert Need.KEY_POOL not in await missing_needs(settings, board, None)
    put(file)
    assert "is empty" in (await missing_needs(settings, board, None))[Need.KEY_POOL]
    missing = (await missing_needs(Settings(), board, None))[Need.KEY_POOL]
    assert missing == "no endpoint has a key; put it, or several, into its keys_file, one a line"
