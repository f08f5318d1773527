"""What providers mean when they say no."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightshift.base.errors import (
    BadKeys,
    BadRequest,
    NightshiftError,
    Overloaded,
    RateLimited,
    RefusedByModel,
)
from nightshift.llm.keypool import NO_CREDIT, QUOTA_EXHAUSTED, UNAUTHORIZED, KeyEvent, rate_limited
from nightshift.llm.refusals import LONGEST_WAIT, Refusal, read_error, read_refusal

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def refusal(status: int, body: object = None, **headers: str) -> Refusal:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_refusal("m at endpoint main", status, named, body, "sk-1", NOW)


def said(message: str, **more: Any) -> dict[str, Any]:
    return {"message": message} | more


GEMINI_DAILY = [
    {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"quotaId": "EmbedContentRequestsPerDayPerUser"}, {"retryDelay": "36s"}],
        }
    }
]
GEMINI_MINUTE = [
    {"error": {"code": 429, "message": "slow", "details": [{"retryDelay": "34s", "quotaId": "PerMinute"}]}}
]


@pytest.mark.parametrize(
    ("status", "body", "error", "key"),
    [
        (401, said("no"), BadKeys, UNAUTHORIZED),
        (402, said("no"), BadKeys, NO_CREDIT),
        (403, said("no"), BadKeys, UNAUTHORIZED),
        # OpenRouter's moderation also answers 403.
        (403, said("flagged by moderation", metadata={"reasons": ["x"]}), RefusedByModel, None),
        (429, said("slow down"), RateLimited, rate_limited(None)),
        (429, said("no money", code="insufficient_quota"), RateLimited, NO_CREDIT),
        (429, GEMINI_DAILY, RateLimited, QUOTA_EXHAUSTED),
        (429, GEMINI_MINUTE, RateLimited, rate_limited(timedelta(seconds=34))),
        # Gemini says so of a bad key.
        (400, [{"error": said("API key not valid. Please pass a valid API key.")}], BadKeys, UNAUTHORIZED),
        (400, said("filtered", code="content_filter"), RefusedByModel, None),
        (400, said("context too long"), BadRequest, None),
        (404, said("no such model"), BadRequest, None),
        (422, None, BadRequest, None),
        (408, None, Overloaded, None),
        (500, "<html>oops</html>", Overloaded, None),
        (529, said("overloaded"), Overloaded, None),
        (302, "", BadRequest, None),
    ],
)
def test_each_status_means_one_thing_for_the_run_and_one_for_the_key(
    status: int, body: object, error: type[NightshiftError], key: KeyEvent | None
) -> None:
    found = refusal(status, body)

    assert type(found.error) is error
    assert found.key == key
    assert f"answered {status}" in str(found.error)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": "7"}, timedelta(seconds=7)),
        ({"retry_after": "0.5"}, timedelta(seconds=0.5)),
        ({"retry_after_ms": "1500", "retry_after": "2"}, timedelta(seconds=1.5)),
        ({"retry_after": "Fri, 20 Nov 2026 12:01:30 GMT"}, timedelta(seconds=90)),
        # What is past, or nobody can mean.
        ({"retry_after": "Fri, 20 Nov 2026 11:00:00 GMT"}, None),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "0"}, None),
        ({"retry_after": "1e300"}, None),
        ({"retry_after": "99999999"}, LONGEST_WAIT),
        ({"retry_after": "Fri, 31 Dec 9999 23:59:59 -2300"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_time_to_come_back_is_understood_in_every_form(
    headers: dict[str, str], wait: timedelta | None
) -> None:
    for status in (429, 503):
        error = refusal(status, **headers).error
        assert isinstance(error, RateLimited | Overloaded)
        assert error.retry_after == wait


def test_a_delay_in_the_body_is_taken_if_anybody_can_mean_it() -> None:
    for told, wait in (("34s", 34), ("45.837906927s", 45.837907), ("9" * 400 + "s", None), ("-3s", None)):
        found = refusal(429, {"error": {"details": [{"retryDelay": told}]}})
        assert found.key == rate_limited(timedelta(seconds=wait) if wait else None)


def test_a_quota_of_the_day_lasts_as_long_as_its_endpoint_says() -> None:
    # OpenAI's day begins at no midnight.
    per_day = said("Rate limit reached for gpt-4o on requests per day (RPD). Please try again in 7m12s.")
    assert refusal(429, per_day, retry_after="432").key == rate_limited(timedelta(seconds=432))


def test_no_refusal_repeats_the_key() -> None:
    assert "sk-1" not in str(refusal(401, said("Incorrect API key provided: sk-1")).error)


def test_a_refusal_inside_an_answer_is_found() -> None:
    found = read_error("m", {"error": {"code": 429, "message": "upstream"}}, "", NOW)
    assert found
    assert isinstance(found.error, RateLimited)
    odd = read_error("m", {"error": "broken"}, "", NOW)
    assert odd
    assert isinstance(odd.error, Overloaded)
    assert read_error("m", {"choices": [], "error": None}, "", NOW) is None
