"""
All that a package needs that brings jobs: the run, its outcomes and errors, rows, and asking a model.

What is listed here keeps its name and its meaning from version to version. Where it comes from may change, so
nobody outside has to import from anywhere else. ``docs/how-to/jobs.md`` shows how to use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import overload

from pydantic import BaseModel

from nightshift.base.errors import (
    BadAnswer,
    BadKeys,
    BadRequest,
    BadSchedule,
    Frozen,
    LostLease,
    NightshiftError,
    NotPossible,
    OutOfBudget,
    Overloaded,
    OverRunCap,
    PermanentError,
    RateLimited,
    RefusedByModel,
    StoreUnreachable,
    TransientError,
    Truncated,
)
from nightshift.deployment import deployment
from nightshift.jobs.row import Job, Need, always, flag
from nightshift.llm.calls import NotReached
from nightshift.llm.models import Embeddings
from nightshift.llm.prompts import Prompt, PromptMessage
from nightshift.llm.prompts import load as load_prompt
from nightshift.llm.replies import Answer
from nightshift.llm.settings import Use
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, Overlap, done, failed, skipped
from nightshift.time.cadence import cron, every
from nightshift.time.misfire import Misfire
from tasks.run import carried_out_as_run

__all__ = [
    "Answer",
    "BadAnswer",
    "BadKeys",
    "BadRequest",
    "BadSchedule",
    "Embeddings",
    "Frozen",
    "Job",
    "LostLease",
    "Misfire",
    "Need",
    "NightshiftError",
    "NotPossible",
    "NotReached",
    "Occasion",
    "OutOfBudget",
    "Outcome",
    "OverRunCap",
    "Overlap",
    "Overloaded",
    "PermanentError",
    "Prompt",
    "PromptMessage",
    "RateLimited",
    "RefusedByModel",
    "Run",
    "StoreUnreachable",
    "TransientError",
    "Truncated",
    "Use",
    "always",
    "ask",
    "carried_out_as_run",
    "cron",
    "done",
    "embed",
    "every",
    "failed",
    "flag",
    "load_prompt",
    "skipped",
]


@overload
async def ask(
    run: Run,
    use: Use,
    messages: Sequence[PromptMessage],
    *,
    schema: None = None,
    occasion: Occasion = Occasion.SCHEDULE,
    max_tokens: int | None = None,
    deadline: timedelta | None = None,
    temperature: float | None = None,
) -> Answer[str]: ...


@overload
async def ask[T: BaseModel](
    run: Run,
    use: Use,
    messages: Sequence[PromptMessage],
    *,
    schema: type[T],
    occasion: Occasion = Occasion.SCHEDULE,
    max_tokens: int | None = None,
    deadline: timedelta | None = None,
    temperature: float | None = None,
) -> Answer[T]: ...


async def ask(
    run: Run,
    use: Use,
    messages: Sequence[PromptMessage],
    *,
    schema: type[BaseModel] | None = None,
    occasion: Occasion = Occasion.SCHEDULE,
    max_tokens: int | None = None,
    deadline: timedelta | None = None,
    temperature: float | None = None,
) -> Answer[str] | Answer[BaseModel]:
    """
    Have a model's answer, as text or as a value of ``schema``; the run pays for it.

    The deadline is for everything together, fallbacks and the repair of an answer too. When a budget runs
    short, what is asked on a lesser occasion is refused first.
    """
    models, payer = deployment().llm.models, Payer.of(run, occasion)
    if schema is None:
        return await models.ask(
            use, messages, payer, max_tokens=max_tokens, deadline=deadline, temperature=temperature
        )
    return await models.ask(
        use, messages, payer, schema=schema, max_tokens=max_tokens, deadline=deadline, temperature=temperature
    )


async def embed(run: Run, texts: Sequence[str], *, occasion: Occasion = Occasion.SCHEDULE) -> Embeddings:
    """Have a vector for each text; the run pays for them."""
    return await deployment().llm.models.embed(texts, Payer.of(run, occasion))
