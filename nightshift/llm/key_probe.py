"""Asking how the keys are doing that were not well: each with the smallest question there is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import get_args

import structlog

from nightshift.base.errors import BadKeys, BadRequest, BadSetting, Overloaded, RateLimited, RefusedByModel
from nightshift.llm.calls import Calls, Errand
from nightshift.llm.keypool import KeyPool, KeyState
from nightshift.llm.prompts import PromptMessage
from nightshift.llm.replies import read_reply, read_vectors
from nightshift.llm.requests import Question, embedding_request
from nightshift.llm.settings import Use
from nightshift.llm.uses import NamedModel, Uses
from nightshift.money.payer import Payer

log = structlog.get_logger("nightshift.llm")

ANSWER_WITHIN = timedelta(seconds=30)
PING = "ping"
#: What says how a key is doing, or that its endpoint is not: no reason to leave the other keys unasked.
UNWELL = (RateLimited, BadKeys, BadRequest, RefusedByModel, Overloaded)


async def probe_keys(
    pools: Mapping[str, KeyPool],
    uses: Uses,
    new_calls: Callable[[Mapping[str, KeyPool]], Calls],
    payer: Payer,
) -> Mapping[str, int]:
    """Ask with the keys that are not well, and with no others; says how many, and how all are doing now."""
    counts = Counter(dict.fromkeys(("asked", *map(str, KeyState)), 0))
    for endpoint, pool in pools.items():
        for key, name in await pool.unwell():
            if asked := _model_at(uses, endpoint, name):
                counts["asked"] += 1
                try:
                    await _ask(new_calls({endpoint: pool.showing(key)}), *asked, payer)
                except UNWELL as error:
                    log.info("key_still_unwell", endpoint=endpoint, key=key.id, why=str(error))
        counts.update(str(row.state) for row in await pool.rows())
    return counts


async def _ask(calls: Calls, use: Use, model: NamedModel, payer: Payer) -> None:
    errand = Errand(use, payer, asyncio.get_running_loop().time() + ANSWER_WITHIN.total_seconds())
    if use == "embed":
        vectors = partial(read_vectors, count=1, asked=str(model))
        await calls.make(embedding_request(model, [PING]), errand, vectors)
    else:
        question = Question((PromptMessage("user", PING),), max_tokens=1)
        await calls.make(question.request(model), errand, partial(read_reply, asked=str(model)))


def _model_at(uses: Uses, endpoint: str, name: str) -> tuple[Use, NamedModel] | None:
    """The endpoint's model of this name; without one a model that embeds if it may be: that costs least."""
    for use in sorted(get_args(Use), key=lambda use: use != "embed"):
        with suppress(BadSetting):  # nobody set a model for this use
            for model in uses.chain(use).models:
                if model.endpoint == endpoint and name in ("", model.name):
                    return use, model
    return None
