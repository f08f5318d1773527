"""
What an endpoint's no means: which of our errors it is, when to come back, and what it says of the key.

Providers say the same things differently; this is the only place that knows how.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from nightshift.base.errors import (
    BadKeys,
    BadRequest,
    NightshiftError,
    Overloaded,
    RateLimited,
    RefusedByModel,
)
from nightshift.llm.keypool import NO_CREDIT, QUOTA_EXHAUSTED, UNAUTHORIZED, KeyEvent, rate_limited

#: Nobody is taken at their word who says to come back next year.
LONGEST_WAIT = timedelta(days=1)
LONGEST_WORDS = 300

KEY_STATUSES = (401, 402, 403)
#: Too early, timed out on their side, in conflict with itself: all may work later.
BUSY_STATUSES = (408, 409, 425)
MODERATED = re.compile(r"content_filter|content_policy|moderation|flagged", re.IGNORECASE)
BAD_KEY = re.compile(r"api key not valid|api_key_invalid|api key expired", re.IGNORECASE)
#: Gemini's name for a quota that ends at midnight.
DAILY_QUOTA = re.compile(r"per ?day", re.IGNORECASE)
#: OpenAI answers 429 to whoever has no money left.
OUT_OF_MONEY = re.compile(r"insufficient_quota|insufficient_credits", re.IGNORECASE)
#: Gemini says when to come back in the body.
RETRY_DELAY = re.compile(r'"retryDelay": ?"(\d{1,9}(?:\.\d{1,9})?)s"')


class Refusal(Exception):
    """The endpoint said no, and charges nothing for that."""

    def __init__(self, error: NightshiftError, key: KeyEvent | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        #: What it says of the key that was shown.
        self.key = key


def read_error(asked: str, body: object, secret: str, now: datetime) -> Refusal | None:
    """Find the refusal in what calls itself an answer, as a gateway does whose own upstream refused."""
    told = body.get("error") if isinstance(body, Mapping) else None
    if not told:
        return None
    code = told.get("code") if isinstance(told, Mapping) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return read_refusal(asked, status, {}, told, secret, now)


def read_refusal(
    asked: str, status: int, headers: Mapping[str, str], body: object, secret: str, now: datetime
) -> Refusal:
    """Tell what this answer means, in words without the secret that was shown."""
    told = body if isinstance(body, str) else json.dumps(body, default=str)
    words = _words_of(body, secret)
    says = f"{asked} answered {status}{words and ': '}{words}"
    if status in KEY_STATUSES or (status == 400 and BAD_KEY.search(told)):
        if status == 403 and MODERATED.search(told):
            return Refusal(RefusedByModel(says))
        return Refusal(
            BadKeys(f"{says}; check the key of that endpoint"), NO_CREDIT if status == 402 else UNAUTHORIZED
        )
    if status == 429:
        said = retry_after(headers, now)
        wait = said or _delay_in(told)
        limited = RateLimited(says, retry_after=wait)
        if OUT_OF_MONEY.search(told):
            return Refusal(limited, NO_CREDIT)
        of_the_day = not said and DAILY_QUOTA.search(told)
        return Refusal(limited, QUOTA_EXHAUSTED if of_the_day else rate_limited(wait))
    if status >= 500 or status in BUSY_STATUSES:
        return Refusal(Overloaded(says, retry_after=retry_after(headers, now)))
    if status < 400:
        return Refusal(BadRequest(f"{says}; it wants to be asked elsewhere, so set the URL it has moved to"))
    return Refusal(RefusedByModel(says) if MODERATED.search(told) else BadRequest(says))


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long the answer asks us to stay away, in whichever of the three ways it says so."""
    for name, unit in (("retry-after-ms", timedelta(milliseconds=1)), ("retry-after", timedelta(seconds=1))):
        with suppress(ValueError, OverflowError):
            return _sane(float(headers.get(name, "")) * unit)
    with suppress(ValueError, OverflowError):
        return _sane(parsedate_to_datetime(headers.get("retry-after", "")).astimezone(UTC) - now)
    return None


def _delay_in(told: str) -> timedelta | None:
    found = RETRY_DELAY.search(told)
    return _sane(timedelta(seconds=float(found[1]))) if found else None


def _sane(wait: timedelta) -> timedelta | None:
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None


def _words_of(body: object, secret: str) -> str:
    """What the endpoint says went wrong; some repeat the key."""
    told = body.get("error", body) if isinstance(body, Mapping) else body
    words = told.get("message") if isinstance(told, Mapping) else told
    text = words if isinstance(words, str) else ""
    return " ".join((text.replace(secret, "…") if secret else text).split())[:LONGEST_WORDS]
