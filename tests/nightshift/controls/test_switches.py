"""Switches as everybody sees them, at once."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import BadSetting
from nightshift.controls.switches import KNOWN, Switches
from nightshift.settings import Settings
from nightshift.store.keys import Keys


def switches(redis: Redis, keys: Keys, *, model_probe: bool = True) -> Switches:
    return Switches(redis, keys, Settings.model_construct(model_probe=model_probe))


async def test_the_settings_give_a_switch_its_first_value_and_flipping_it_the_next(
    redis: Redis, keys: Keys
) -> None:
    mine, yours = switches(redis, keys, model_probe=False), switches(redis, keys, model_probe=True)
    assert not (await mine.read()).is_on("model_probe")

    await mine.set("model_probe", True)
    assert (await mine.read()).is_on("model_probe")

    await mine.set("model_probe", False)
    assert not (await yours.read()).is_on("model_probe")  # what is stored counts for everybody
    assert (await yours.read()).is_on("chat_llm_enabled")


async def test_a_paused_job_stays_paused_until_it_is_resumed_and_says_by_whom(
    redis: Redis, keys: Keys
) -> None:
    here = switches(redis, keys)
    await here.pause("tidy", by="ada")
    await here.pause("model_probe", by="bo")  # a job may be called like a switch
    assert (await here.read()).paused == {"tidy": "ada", "model_probe": "bo"}
    assert (await here.read()).is_on("model_probe")

    await here.resume("tidy")
    assert (await here.read()).paused == {"model_probe": "bo"}


async def test_a_switch_that_does_not_exist_cannot_be_flipped(redis: Redis, keys: Keys) -> None:
    with pytest.raises(BadSetting, match=r"switch 'model_prob' is not known; known ones: .*model_probe"):
        await switches(redis, keys).set("model_prob", True)


async def test_every_switch_has_a_first_value_among_the_settings(redis: Redis, keys: Keys) -> None:
    assert set((await switches(redis, keys).read()).on) == set(KNOWN)
