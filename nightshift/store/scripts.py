"""Running Lua scripts: each stands beside its store and begins with the prelude that all share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.base.instants import to_ms
from nightshift.store.client import translated
from nightshift.store.keys import Keys

PRELUDE = "prelude.lua"


@cache
def load_script(package: str, name: str) -> str:
    """This package's script of this name; after its flags, the prelude of all and the package's own."""
    flags, body = (files(package) / f"{name}.lua").read_text().split("\n", 1)
    preludes = [files(each) / PRELUDE for each in dict.fromkeys(("nightshift.runs", package))]
    shared = [prelude.read_text() for prelude in preludes if prelude.is_file()]
    return "\n".join([flags, *shared, body])


class Scripts:
    """The scripts of one package. Each is safe to repeat, so the client may retry after a lost answer."""

    def __init__(
        self,
        package: str,
        names: Iterable[str],
        redis: Redis,
        keys: Keys,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """``clock`` replaces the server's time in tests."""
        self._root = keys.root
        self._clock = clock
        self._scripts = {name: redis.register_script(load_script(package, name)) for name in names}

    async def run(self, name: str, **request: Any) -> Any:
        now = {"now": to_ms(self._clock())} if self._clock else {}
        try:
            return await self._scripts[name](keys=[self._root], args=[encoded({**request, **now})])
        except RedisError as error:
            raise translated(error) from error


def encoded(request: Mapping[str, Any]) -> bytes:
    """A script's one argument; scripts read text only, and not all that people and libraries write is."""
    return json.dumps(request, ensure_ascii=False).encode(errors="replace")
