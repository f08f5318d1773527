"""The API is what it says it is, asked in hundreds of ways."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from nightshift.access.tokens import Tokens
from nightshift.runs.states import done
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Caller, Serve

#: A place in a list is taken from the page before; parameters that nobody knows are ignored.
BEYOND_DESCRIPTION = [positive_data_acceptance, negative_data_rejection]


async def test_the_description_is_openapi_3_1_and_names_the_way_in(admin: Caller) -> None:
    described = (await admin("/v1/openapi.json")).json()
    assert described["openapi"].startswith("3.1.")
    assert set(described["components"]["securitySchemes"]) == {"HTTPBearer"}
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert ("security" in operation) == path.startswith(("/v1", "/metrics")), path


async def test_whatever_is_asked_the_answer_is_as_described(
    serve: Serve, stage: Stage, tokens: Tokens
) -> None:
    await stage.job()
    await stage.run()
    await stage.run("ended", outcome=done(made=1))
    async with serve() as here:
        described = here.app.openapi()
        del described["paths"]["/v1/events"]["get"]  # has no end
        failed = await asyncio.to_thread(ask_everything, described, here.url, here.secret)
    assert failed == []


def ask_everything(described: dict[str, Any], url: str, secret: str) -> list[str]:
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=url)
    operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    failed: list[str] = []
    for operation, mode in product(operations, GenerationMode):

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=12,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            case.call_and_validate(
                headers={"Authorization": f"Bearer {secret}"}, excluded_checks=BEYOND_DESCRIPTION
            )

        try:
            ask()
        except FailureGroup as failure:  # what failed is shown together
            failed.append(f"{operation.label}: {failure}")
        except Unsatisfiable:
            pass  # an operation that is told nothing cannot be told anything wrong
    return failed
