"""What is asked of the API and no route of it takes: answered here, before the console's pages would."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from nightshift.base.words import one_line
from nightshift.web.problems import problem

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: Of a path that somebody made up, so much is said back.
LONGEST_PATH = 200
SEE = "/v1/openapi.json describes every route"


class Unrouted:
    """Says that there is nothing at this path, or which methods the route there takes."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = one_line(scope["path"], LONGEST_PATH)
        if takes := [method for method in METHODS if self._is_routed({**scope, "method": method})]:
            told = f"{path} takes {' and '.join(takes)}, not {scope['method']}; {SEE}"
            allow = {"Allow": ", ".join(takes)}
            answer = problem(HTTPStatus.METHOD_NOT_ALLOWED, told, headers=allow)
        else:
            answer = problem(HTTPStatus.NOT_FOUND, f"there is no {path}; {SEE}")
        await answer(scope, receive, send)

    def _is_routed(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._routes)


def install(app: FastAPI, *, below: str) -> None:
    """Answer whatever is asked below this prefix and has no route yet."""
    here = Unrouted(tuple(app.routes))
    app.router.routes += [
        Route(path, here, include_in_schema=False) for path in (below, f"{below}/{{path:path}}")
    ]
