"""How the endpoints do: whether each is left alone, and how its keys are doing. Nobody is asked for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from nightshift.base.errors import BadSetting
from nightshift.base.words import span
from nightshift.llm.breaker import Breaker
from nightshift.llm.keypool import KeyPool, KeyState


@dataclass(frozen=True)
class EndpointHealth:
    """One endpoint, as its last calls left it."""

    name: str
    #: How long it is left alone: nothing if it is trusted, zero if the next call is to try it.
    pause: timedelta | None
    #: How many of its keys are doing how; nothing if it asks for none.
    keys: Mapping[str, int] | None
    #: Why its keys cannot be read, if they cannot.
    unread: str = ""

    @property
    def breaker(self) -> str:
        """Say whether it is left alone."""
        if self.pause is None:
            return "its breaker is closed"
        if not self.pause:
            return "its breaker is open until the next call goes well"
        return f"its breaker is open for {span(self.pause)}: half of its last calls failed"

    @property
    def key_count(self) -> str:
        """Say how many of its keys are ok, and what the others are."""
        if self.unread:
            return self.unread
        if self.keys is None:
            return "it asks for no key"
        ok, others = self.keys.get(KeyState.OK, 0), {*self.keys} - {KeyState.OK}
        told = ", ".join(f"{self.keys[state]} {state}" for state in sorted(others))
        return f"{ok} of {sum(self.keys.values())} keys ok" + (f" ({told})" if told else "")

    @property
    def lacks_keys(self) -> bool:
        """Whether it asks for a key and none is ok."""
        return self.keys is not None and not self.keys.get(KeyState.OK)

    @property
    def warnings(self) -> Sequence[str]:
        """What keeps calls from being made there."""
        told = [self.breaker] if self.pause is not None else []
        told += [self.key_count] if self.lacks_keys else []
        return [f"endpoint {self.name}: {each}" for each in told]


async def read_endpoints(
    names: Iterable[str], breaker: Breaker, pools: Mapping[str, KeyPool]
) -> list[EndpointHealth]:
    """How each of these endpoints does."""
    found = []
    for name in names:
        pause = await breaker.pause(name)
        try:
            counts = Counter(map(str, await pools[name].rows())) if name in pools else None
            found.append(EndpointHealth(name, pause, counts))
        except BadSetting as error:
            found.append(EndpointHealth(name, pause, {}, str(error)))
    return found
