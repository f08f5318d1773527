"""
What the simulated model does wrong when it is told to, and until when.

A fault is written the same way everywhere, as its name and its settings: ``429; retry-after=7``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from nightshift.base.errors import BadSetting

#: Every fault, with the settings it takes and what they are when left out.
FAULTS: Mapping[str, Mapping[str, int | None]] = {
    "401": {},
    "402": {},
    "429": {"retry-after": None, "retry-after-ms": None},
    "500": {},
    "503": {"retry-after": None, "retry-after-ms": None},
    "529": {"retry-after": None, "retry-after-ms": None},
    "hang": {},
    "reset": {},
    "drip": {"interval-ms": 100},
    "truncated": {},
    "wrong-json": {},
    "wrong-body": {},
    "huge": {"bytes": 64 * 1024 * 1024},
}

DIGITS = 12


@dataclass(frozen=True)
class Fault:
    """One way to fail, as named in ``FAULTS``."""

    name: str
    settings: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what the server would not know how to do, and fill in what was left out."""
        if self.name not in FAULTS:
            raise BadSetting(f"the fault {self.name!r} is unknown: use one of {', '.join(FAULTS)}")
        taken = FAULTS[self.name]
        if unknown := self.settings.keys() - taken.keys():
            known = ", ".join(taken) or "none"
            raise BadSetting(f"the fault {self.name} has no setting {min(unknown)!r}: it takes {known}")
        defaults = {setting: value for setting, value in taken.items() if value is not None}
        object.__setattr__(self, "settings", defaults | dict(self.settings))

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read a fault from ``name; setting=number; ...``."""
        name, *rest = (part.strip() for part in text.split(";"))
        return cls.from_words(name, (part.partition("=")[::2] for part in rest if part))

    @classmethod
    def from_words(cls, name: str, words: Iterable[tuple[str, str]]) -> Fault:
        """Take the settings as words, in which ``_`` may stand for ``-``."""
        settings = {setting.strip().replace("_", "-"): value.strip() for setting, value in words}
        for setting, value in settings.items():
            if not (value.isascii() and value.isdigit() and len(value) <= DIGITS):
                raise BadSetting(
                    f"{setting}={value[:40]!r} of the fault {name!r} is not a whole number: "
                    f"give 0 or more, in at most {DIGITS} digits"
                )
        return cls(name.replace("_", "-"), {setting: int(value) for setting, value in settings.items()})


@dataclass(frozen=True)
class FaultRule:
    """
    The next ``times`` matching requests get this fault; all of them when ``times`` is None.

    ``model`` and ``path`` are shell patterns and None matches anything.
    """

    fault: Fault
    times: int | None = None
    model: str | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        """Refuse a rule that could never apply."""
        if self.times is not None and self.times < 1:
            raise BadSetting(f"times={self.times} would never apply: give 1 or more, or none for always")

    @classmethod
    def from_json(cls, value: Any) -> FaultRule:
        """Read ``{"fault": "429; retry-after=7", "times": 3, "match": {"model": "flash-*"}}``."""
        rest = dict(value) if isinstance(value, dict) else {}
        fault, times, patterns = rest.pop("fault", None), rest.pop("times", None), rest.pop("match", {})
        if not isinstance(fault, str):
            raise BadSetting(f"{str(value)[:200]} is not a fault rule: it needs a text named 'fault'")
        if rest:
            raise BadSetting(f"a fault rule has no {min(rest)!r}: it takes fault, times and match")
        if times is not None and type(times) is not int:
            raise BadSetting(f"times={times!r} is not a whole number: leave it out for always")
        if isinstance(patterns, dict) and patterns.keys() <= {"model", "path"}:
            model, path = patterns.get("model"), patterns.get("path")
            if isinstance(model, str | None) and isinstance(path, str | None):
                return cls(Fault.parse(fault), times, model, path)
        raise BadSetting(f"a fault rule cannot match {patterns!r}: give model, path or both, as texts")

    def matches(self, model: str, path: str) -> bool:
        """Whether a request for this model on this path is meant."""
        return (self.model is None or fnmatchcase(model, self.model)) and (
            self.path is None or fnmatchcase(path, self.path)
        )


class FaultScript:
    """The rules still to be carried out; the first that matches a request is spent on it."""

    def __init__(self, rules: Iterable[FaultRule] = ()) -> None:
        self._left = list(rules)

    def take(self, model: str, path: str) -> Fault | None:
        """Say what goes wrong with this request, and count it."""
        for at, rule in enumerate(self._left):
            if rule.matches(model, path):
                match rule.times:
                    case None:
                        pass
                    case 1:
                        del self._left[at]
                    case times:
                        self._left[at] = replace(rule, times=times - 1)
                return rule.fault
        return None
