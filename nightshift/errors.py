"""
What can go wrong, by what the caller can do about it.

A message names the value that was wrong and the remedy. Each adapter translates its
client's exceptions into these, so that no rule ever catches a library's own.
"""

from __future__ import annotations

from datetime import timedelta


class NightshiftError(Exception):
    """Anything nightshift itself reports."""


class TransientError(NightshiftError):
    """The same call may work later, so the run goes back to waiting."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(TransientError):
    """The other side asked us to come back later."""


class Overloaded(TransientError):
    """The other side is too busy, or did not answer in time."""


class StoreUnreachable(TransientError):
    """The state store cannot be reached."""


class PermanentError(NightshiftError):
    """The same call will never work."""


class BadSetting(PermanentError):
    """A setting is unknown, malformed or contradicts another."""


class BadSchedule(PermanentError):
    """A cadence that cannot be kept: impossible, too often, or not understood."""


class BadQuery(PermanentError):
    """A filter or a place in a list that means nothing."""


class Forbidden(PermanentError):
    """Whoever asks may not do this."""


class UnknownRun(PermanentError):
    """No run has this id."""


class UnknownJob(PermanentError):
    """No job has this name."""


class NotPossible(PermanentError):
    """The command does not fit the state the thing is in."""


class UnsafeStore(PermanentError):
    """The store would lose what it acknowledges, and nobody has said that this is fine."""


class StoreFull(NightshiftError):
    """The store refuses writes because its memory limit is reached."""


class LostLease(NightshiftError):
    """Somebody else owns this work now: write nothing more."""
