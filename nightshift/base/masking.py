"""Secrets taken out of what is told: in logs, in reasons, in what Flower shows."""

from __future__ import annotations

import re

MASK = "**"

#: What stands before the @ of a URL: a password after its user's name, or else all of it.
IN_URL = re.compile(r'(://(?:[^\s/:@"]*:)?)[^\s/"]+(?=@)')
#: What follows a word for a secret. A name in quotes takes a value in quotes, so that JSON stays JSON.
NAMED = re.compile(
    r"""(?ix) (
        bearer \s+
      | (?:key|token|password|secret) \\?["'] \s*[:=]\s* \\?["']
      | (?:key|token|password|secret) \s*[:=]\s* (?:\\?["'])?
    ) (?!\*\*) [^\s"'\\,;&{}\[\]]+"""
)
#: What looks like a key whatever is said of it.
SHAPED = re.compile(r"\b(?:sk-|AIza|nst_|xox[a-z]-|ghp_|gsk_|hf_|syt_)[\w.-]{8,}")


def masked(text: str) -> str:
    """The text without passwords, keys and tokens, as far as their place or look gives them away."""
    text = IN_URL.sub(rf"\1{MASK}", text)
    return SHAPED.sub(MASK, NAMED.sub(rf"\1{MASK}", text))


#: What is told of a crash is cut to this.
LONGEST_REASON = 200


def reason_of(error: BaseException) -> str:
    """What went wrong, in a few words without secrets."""
    return masked(f"{type(error).__name__}: {error}")[:LONGEST_REASON]
