"""
The kinds of platform there are: each is a ``Platform`` in a file of this folder that is called like the kind.

Whoever asks for one imports that one alone, so that reading the settings costs no more than what is in them.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from nightshift import platforms
from nightshift.base.errors import BadSetting
from nightshift.platforms.platform import Platform


def all_kinds() -> dict[str, type[Platform]]:
    """Every kind by its name; imports whatever is in the folder, which takes a while."""
    return {name: kind for name in _files() if (kind := _kind_in(name))}


def get_kind(name: str) -> type[Platform]:
    """The kind of this name; no other is imported."""
    kind = _kind_in(name) if name in _files() else None
    if kind is None:
        raise BadSetting(f"{name!r} is none of {', '.join(all_kinds())}")
    return kind


def _files() -> list[str]:
    return sorted(each.name for each in pkgutil.iter_modules(platforms.__path__))


def _kind_in(name: str) -> type[Platform] | None:
    """The kind that this file is, if it is one and not among what they all stand on."""
    for each in vars(import_module(f"{platforms.__name__}.{name}")).values():
        if isinstance(each, type) and issubclass(each, Platform) and getattr(each, "kind", "") == name:
            return each
    return None
