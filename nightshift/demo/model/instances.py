"""
A small value that a JSON schema accepts.

It holds required properties only, one item per list where one is allowed (so that there is
something to read), zero where zero fits, and "simulated" wherever a string is free.

Candidates are built from what the schema offers and each is then checked against the schema, so
what comes out is valid or nothing comes out. A keyword that is not understood is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from nightshift.base.errors import PermanentError

#: Values looked at, and characters forced by ``minLength``, before a schema counts as too large.
EFFORT = 100_000

FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P0D",
    "email": "simulated@example.com",
    "hostname": "simulated.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

NOT_UNDERSTOOD = frozenset(
    {
        "$dynamicRef",
        "contains",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "not",
        "patternProperties",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)

TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


class NoInstance(PermanentError):
    """The schema accepts nothing, or nothing that can be found here."""


class _DeadEnd(Exception):
    """This branch of the schema gives no value; another one may."""


@lru_cache(maxsize=256)
def instance_text(schema_text: str) -> str:
    """Write, as JSON, a value for a schema given as JSON; the same schema is worked out once."""
    return json.dumps(instance_of(json.loads(schema_text)))


def instance_of(schema: Any) -> Any:
    """Build a value that the schema accepts."""
    try:
        return _Builder(schema).build(schema, frozenset({"#"}))
    except _DeadEnd as error:
        raise NoInstance(f"found no value that this schema accepts: {error}") from None
    except RecursionError:
        raise NoInstance("the schema refers to itself without end, or is nested too deeply") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, re.error) as error:
        # A schema is whatever the caller sent; saying what is wrong with each part is its validator's trade.
        raise NoInstance(f"this is not a JSON schema: {error}") from None


class _Builder:
    """Searches one schema, and stops when the search gets out of hand."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._effort_left = EFFORT

    def build(self, schema: Any, within: frozenset[str]) -> Any:
        """Give the first candidate that fits; ``within`` names the references being followed."""
        self._spend(1)
        flat, within = self._flatten(schema, within)
        for value in self._candidates(flat, within):
            if self._fits(value, schema):
                return value
        raise _DeadEnd(f"nothing fits {json.dumps(schema)[:200]}")

    def _spend(self, effort: int) -> None:
        self._effort_left -= effort
        if self._effort_left < 0:
            raise NoInstance(f"the schema asks for more than {EFFORT} values or characters: make it smaller")

    def _resolve(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise NoInstance(f"the reference {reference!r} leaves the schema: put its target under $defs")
        target = self._root
        try:
            for step in reference.split("/")[1:]:
                target = target[unquote(step).replace("~1", "/").replace("~0", "~")]
        except (KeyError, TypeError):
            raise NoInstance(f"the reference {reference!r} points at nothing: define it") from None
        return target

    def _flatten(self, schema: Any, within: frozenset[str]) -> tuple[dict[str, Any], frozenset[str]]:
        """Fold ``$ref`` and ``allOf`` into one schema: a guess at where to look, as the result is checked."""
        if isinstance(schema, bool):
            return ({} if schema else {"enum": []}), within
        if unknown := NOT_UNDERSTOOD & schema.keys():
            raise NoInstance(f"the schema keyword {min(unknown)!r} is not simulated: leave it out")
        flat = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        parts = [self._flatten(part, within) for part in schema.get("allOf", ())]
        if reference := schema.get("$ref"):
            if reference in within:
                raise _DeadEnd(f"{reference} needs itself")
            parts.append(self._flatten(self._resolve(reference), within | {reference}))
        for part, followed in parts:
            flat = _merge(part, flat)
            within |= followed
        return flat, within

    def _candidates(self, schema: dict[str, Any], within: frozenset[str]) -> Iterator[Any]:
        if "const" in schema:
            yield schema["const"]
        elif "enum" in schema:
            yield from schema["enum"]
        elif branches := schema.get("anyOf") or schema.get("oneOf"):
            rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
            for branch in branches:
                with suppress(_DeadEnd):
                    yield self.build({"allOf": [rest, branch]}, within)
        else:
            kinds = schema.get("type") or _likely_type(schema)
            for kind in [kinds] if isinstance(kinds, str) else kinds:
                yield from self._values(kind, schema, within)

    def _values(self, kind: str, schema: dict[str, Any], within: frozenset[str]) -> Iterator[Any]:
        match kind:
            case "string":
                yield from self._strings(schema)
            case "integer" | "number":
                yield from _numbers(schema, whole=kind == "integer")
            case "boolean":
                yield from (False, True)
            case "null":
                yield None
            case "array":
                yield from self._arrays(schema, within)
            case "object":
                yield from self._objects(schema, within)
            case _:
                raise NoInstance(f"the schema type {kind!r} is unknown: use one of {', '.join(TYPES)}")

    def _strings(self, schema: dict[str, Any]) -> Iterator[str]:
        shortest = schema.get("minLength", 0)
        self._spend(shortest)
        if schema.get("format") in FORMATS:
            yield FORMATS[schema["format"]]
        for word in ("simulated", "SIMULATED", "Simulated", "0"):
            yield (word * (shortest // len(word) + 1))[: max(shortest, len(word))][: schema.get("maxLength")]
        if "pattern" in schema:
            yield from FORMATS.values()

    def _arrays(self, schema: dict[str, Any], within: frozenset[str]) -> Iterator[list[Any]]:
        first = schema.get("prefixItems", [])
        fewest = schema.get("minItems", 0)
        for count in (max(fewest, min(1, schema.get("maxItems", 1))), fewest):
            with suppress(_DeadEnd):
                yield [
                    self.build(first[at] if at < len(first) else schema.get("items", True), within)
                    for at in range(count)
                ]

    def _objects(self, schema: dict[str, Any], within: frozenset[str]) -> Iterator[dict[str, Any]]:
        known = schema.get("properties", {})
        required = set(schema.get("required", ()))
        others = schema.get("additionalProperties", True)
        names = dict.fromkeys([*known, *sorted(required)])
        # All that is known comes second: it is for the schema that counts its properties.
        for wanted in (required, names):
            with suppress(_DeadEnd):
                yield {name: self.build(known.get(name, others), within) for name in names if name in wanted}

    def _fits(self, value: Any, schema: Any) -> bool:
        self._spend(1)
        if isinstance(schema, bool):
            return schema
        kinds = schema.get("type", list(TYPES))
        return (
            any(_is_a(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds))
            and ("const" not in schema or _same(value, schema["const"]))
            and ("enum" not in schema or any(_same(value, choice) for choice in schema["enum"]))
            and ("$ref" not in schema or self._fits(value, self._resolve(schema["$ref"])))
            and all(self._fits(value, part) for part in schema.get("allOf", ()))
            and ("anyOf" not in schema or any(self._fits(value, branch) for branch in schema["anyOf"]))
            and ("oneOf" not in schema or sum(self._fits(value, branch) for branch in schema["oneOf"]) == 1)
            and self._keeps_bounds(value, schema)
        )

    def _keeps_bounds(self, value: Any, schema: dict[str, Any]) -> bool:
        match value:
            case str():
                return _within(len(value), schema, "Length") and (
                    "pattern" not in schema or re.search(schema["pattern"], value) is not None
                )
            case bool():
                return True
            case int() | float():
                return (
                    schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
                    and schema.get("exclusiveMinimum", -math.inf)
                    < value
                    < schema.get("exclusiveMaximum", math.inf)
                    and ("multipleOf" not in schema or _exact(value) % _exact(schema["multipleOf"]) == 0)
                )
            case list():
                first = schema.get("prefixItems", [])
                return (
                    _within(len(value), schema, "Items")
                    and all(self._fits(*pair) for pair in zip(value, first, strict=False))
                    and all(self._fits(item, schema.get("items", True)) for item in value[len(first) :])
                    and (
                        not schema.get("uniqueItems")
                        or len({_canonical(item) for item in value}) == len(value)
                    )
                )
            case dict():
                known = schema.get("properties", {})
                others = schema.get("additionalProperties", True)
                return (
                    _within(len(value), schema, "Properties")
                    and all(name in value for name in schema.get("required", ()))
                    and all(self._fits(item, known.get(name, others)) for name, item in value.items())
                )
        return True


def _numbers(schema: dict[str, Any], *, whole: bool) -> Iterator[int | float]:
    """Zero, then what lies at and just inside each bound, then the middle."""
    low = [_exact(schema[name]) for name in ("minimum", "exclusiveMinimum") if name in schema]
    high = [_exact(schema[name]) for name in ("maximum", "exclusiveMaximum") if name in schema]
    step = _exact(schema.get("multipleOf", 1))
    if whole:
        # The whole multiples of 3/2 are the multiples of 3.
        step = Fraction(step.numerator)
    found = [Fraction(0)]
    if low:
        lowest = math.ceil(max(low) / step) * step
        found += [lowest, lowest + step]
    if high:
        highest = math.floor(min(high) / step) * step
        found += [highest, highest - step]
    if not whole and "multipleOf" not in schema:
        found += [*low, *high]
        if low and high:
            found.append((max(low) + min(high)) / 2)
    for number in found:
        yield number.numerator if number.denominator == 1 else float(number)


def _exact(number: Any) -> Fraction:
    if not isinstance(number, int | float):
        raise TypeError(f"{number!r} is not a number")
    return Fraction(str(number))


def _merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both schemas' demands as far as they add up, the other's where they do not."""
    merged = one | other
    for key in one.keys() & other.keys():
        match key:
            case "properties":
                shared = one[key].keys() & other[key].keys()
                both = {name: {"allOf": [one[key][name], other[key][name]]} for name in shared}
                merged[key] = one[key] | other[key] | both
            case "required":
                merged[key] = [*one[key], *other[key]]
            case "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties":
                merged[key] = max(one[key], other[key])
            case "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties":
                merged[key] = min(one[key], other[key])
    return merged


def _likely_type(schema: dict[str, Any]) -> str:
    if schema.keys() & {"properties", "required"}:
        return "object"
    return "array" if schema.keys() & {"items", "prefixItems"} else "string"


def _is_a(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _within(count: int, schema: dict[str, Any], what: str) -> bool:
    least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}", math.inf)
    return bool(least <= count <= most)


def _same(one: Any, other: Any) -> bool:
    return _canonical(one) == _canonical(other)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
