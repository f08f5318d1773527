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
    """A call that may work later, so the run goes back to waiting."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(TransientError):
    """The other side asked us to come back later."""


class Overloaded(TransientError):
    """The other side is too busy, or did not answer in time."""


class PlatformDown(TransientError):
    """A chat platform cannot be reached, or says that it is unwell."""


class NotTaken(PlatformDown):
    """A chat platform is down, and surely never saw, or would not see, what it was sent."""


class OutOfBudget(TransientError):
    """A cap on spending is reached: the same call may be made once the cap has room again."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None, needs: int = 0) -> None:
        """``needs``: the most that the call may cost, in micro-USD."""
        super().__init__(message, retry_after=retry_after)
        self.needs = needs


class Frozen(TransientError):
    """Somebody stopped every call and send until they say otherwise."""


class StoreUnreachable(TransientError):
    """The state store cannot be reached."""


class PermanentError(NightshiftError):
    """A call that will never work."""


class BadSetting(PermanentError):
    """A setting is unknown, malformed or contradicts another."""


class BadSchedule(PermanentError):
    """A cadence that cannot be kept: impossible, too often, or not understood."""


class BadQuery(PermanentError):
    """A filter or a place in a list that means nothing."""


class Forbidden(PermanentError):
    """Whoever asks may not do this."""


class OverRunCap(PermanentError):
    """A run has spent what one run may, so that no waiting gives it room."""


class RefusedByModel(PermanentError):
    """The model, or who runs it, will not answer this."""


class Truncated(PermanentError):
    """The model's answer was cut off before its end."""


class BadRequest(PermanentError):
    """The endpoint says that what it was asked makes no sense."""


class BadAnswer(PermanentError):
    """What the model answered is not what it was asked for, nor was its repair."""


class BadKeys(PermanentError):
    """No key of an endpoint is accepted any more."""


class RefusedByPlatform(PermanentError):
    """A chat platform will not take this message, now or later."""


class MissingOnPlatform(RefusedByPlatform):
    """A chat platform knows nothing of what it was asked for."""


class SendUnknown(PermanentError):
    """Nobody can tell whether the platform took the message, so it is not sent again by itself."""


class UnknownChannel(PermanentError):
    """No channel has this name."""


class UnknownDelivery(PermanentError):
    """No delivery has this id."""


class UnknownAgent(PermanentError):
    """No agent has this name."""


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
