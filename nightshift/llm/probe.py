"""Whether the model answers, asked with the smallest question there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from nightshift.errors import BadSetting, Overloaded, PermanentError, RateLimited
from nightshift.parts import Part, Parts
from nightshift.settings import ModelSettings

if TYPE_CHECKING:
    from openai import (
        AsyncOpenAI,
    )  # 0.4 s and 30 MB, for whoever asks and not for beat, which imports every task

TIMEOUT = timedelta(seconds=30)
MILLION = 1_000_000


class Refused(PermanentError):
    """The endpoint will not serve us: the key or the account is the matter."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    model: str
    tokens: int
    micro_usd: int


def model_part(model: ModelSettings) -> Part[AsyncOpenAI]:
    """The model's client, as a part named ``model``."""

    async def start() -> AsyncOpenAI:
        import openai

        if not model.url:
            raise BadSetting("no model is set; set NIGHTSHIFT_MODEL__URL")
        key = model.key.get_secret_value() if model.key else "none"
        return openai.AsyncOpenAI(
            base_url=model.url, api_key=key, max_retries=0, timeout=TIMEOUT.total_seconds()
        )

    return Part("model", start, ping=_reach, close=lambda client: client.close())


async def _reach(client: AsyncOpenAI) -> None:
    """Have the endpoint answer anything at all, a refusal too: not every one lists its models."""
    import openai

    try:
        # Its body, which may be long, is not read.
        async with client.models.with_streaming_response.list():
            pass
    except openai.APIStatusError:
        pass


async def ask_whether_it_answers(model: ModelSettings, parts: Parts) -> Answer:
    """Ask for one token; raise what is wrong in our own words."""
    import openai

    async with parts.use("model") as client:
        try:
            reply = await client.chat.completions.create(
                model=model.name, max_tokens=1, messages=[{"role": "user", "content": "ping"}]
            )
        except openai.RateLimitError as error:
            raise RateLimited(
                f"{model.name}: {error.message}", retry_after=_retry_after(error.response.headers)
            ) from error
        except openai.APIStatusError as error:
            if error.status_code in (401, 402, 403):
                raise Refused(
                    f"{model.name} at {model.url} answered {error.status_code}; check NIGHTSHIFT_MODEL__KEY"
                ) from error
            raise Overloaded(f"{model.name} answered {error.status_code}") from error
        except openai.APIConnectionError as error:
            await parts.report_crash("model", client, error)
            raise Overloaded(f"{model.name} at {model.url} does not answer: {error}") from error
    usage = reply.usage
    cost = (usage.model_extra or {}).get("cost", 0) if usage else 0
    return Answer(reply.model, usage.total_tokens if usage else 0, round(float(cost) * MILLION))


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    value = headers.get("retry-after", "")
    return timedelta(seconds=float(value)) if value.replace(".", "", 1).isdigit() else None
