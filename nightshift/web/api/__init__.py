"""The HTTP API, a file for each noun: whatever ``router`` one of them brings is served below ``/v1``."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from fastapi import APIRouter


def routers() -> Iterator[APIRouter]:
    """The routers of all nouns."""
    for each in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        if router := getattr(import_module(each.name), "router", None):
            yield router
