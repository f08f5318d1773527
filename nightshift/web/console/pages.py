"""Pages and parts of pages, from templates that escape whatever they are given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from nightshift.base.words import money, span, stamp


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nightshift.web.console"),
        autoescape=True,  # names, reasons and answers come from people, pages and models
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": lambda instant: f"{instant.astimezone(UTC):%H:%M:%S}",
        "minute": lambda instant: f"{instant.astimezone(UTC):%H:%M}",
        "day": lambda instant: f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "money": money,
        "path": lambda text: quote(text, safe=""),
        "short": lambda source: source.removeprefix("job:"),
        "span": span,
        "stamp": stamp,
        "seconds": lambda seconds: span(timedelta(seconds=seconds)),
    }
    environment.tests["instant"] = lambda value: isinstance(value, datetime)
    return environment


def page(name: str, **facts: Any) -> str:
    """Fill this template in."""
    return _environment().get_template(name).render(facts)
