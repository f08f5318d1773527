from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from nightshift.runs.ledger import Ledger
from nightshift.schedules.listing import read_schedules
from nightshift.schedules.schedule import Schedule, put_schedules, remove_schedule
from nightshift.store import client
from nightshift.store import pages as pages_module
from nightshift.store.pages import Place
from nightshift.time.cadence import every

HOUR = timedelta(hours=1)


async def put(ledger: Ledger, now: datetime, number: int, tenant: str = "default") -> None:
    """Schedules due in turn, three in every instant."""
    await put_schedules(
        ledger,
        [
            Schedule(
                f"{tenant}-{n:03}",
                every(hours=1).anchored(now + timedelta(seconds=n // 3)),
                "tasks.work",
                "io",
                tenant=tenant,
                agent="owl",
            )
            for n in range(number)
        ],
        now=now - timedelta(milliseconds=1),
    )


async def pages(ledger: Ledger, limit: int, tenant: str | None = None) -> list[list[str]]:
    found, after = [], None
    while True:
        page = await read_schedules(ledger, limit=limit, after=after, tenant=tenant)
        found.append([each.id for each in page.rows])
        if page.next is None:
            return found
        after = Place.parse(str(page.next))  # as whoever turns the page hands it back


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 100])
async def test_pages_put_together_are_every_schedule_once_soonest_first(
    ledger: Ledger, now: datetime, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FIRST_READ", 2)
    monkeypatch.setattr(client, "LARGEST_READ", 2)  # fewer than are due in one instant
    await put(ledger, now, 20)
    found = await pages(ledger, limit)
    assert [id for page in found for id in page] == [f"default-{n:03}" for n in range(20)]
    assert all(len(page) == limit for page in found[:-1])


async def test_a_schedule_is_shown_with_its_cadence_and_when_it_is_due(ledger: Ledger, now: datetime) -> None:
    await put(ledger, now, 1)
    ((view,), after) = (page := await read_schedules(ledger, limit=5)).rows, page.next
    assert (view.id, view.next, view.tenant, view.agent) == ("default-000", now, "default", "owl")
    assert (view.cadence, view.task, view.queue, after) == ("every hour", "tasks.work", "io", None)


async def test_schedules_of_other_tenants_are_on_no_page(ledger: Ledger, now: datetime) -> None:
    for tenant in ("a", "b"):
        await put(ledger, now, 5, tenant)
    assert await pages(ledger, 2, "a") == [["a-000", "a-001"], ["a-002", "a-003"], ["a-004"]]
    assert await pages(ledger, 10, "nobody") == [[]]


async def test_what_is_rare_is_found_over_several_pages_that_may_be_empty(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "LOOK_THROUGH", 5)
    await put(ledger, now, 12)
    await put(ledger, now + HOUR / 2, 1, "rare")
    found = await pages(ledger, 5, "rare")
    assert [id for page in found for id in page] == ["rare-000"]
    assert found[0] == []


async def test_a_schedule_that_goes_while_a_page_is_read_costs_no_other(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FIRST_READ", 4)
    await put(ledger, now, 20)
    read: Any = ledger.redis.zrange
    reads = []

    async def then_one_goes(*words: Any, **how: Any) -> Any:
        answer = await read(*words, **how)
        reads.append(answer)
        if len(reads) == 1:
            for n in range(3):
                await remove_schedule(ledger, f"default-{n:03}")
        return answer

    monkeypatch.setattr(ledger.redis, "zrange", then_one_goes)
    found = [each.id for each in (await read_schedules(ledger, limit=20)).rows]
    assert len(reads) > 1
    assert found[-16:] == [f"default-{n:03}" for n in range(4, 20)]


async def test_a_schedule_that_goes_between_two_pages_costs_no_other(ledger: Ledger, now: datetime) -> None:
    await put(ledger, now, 9)
    first = await read_schedules(ledger, limit=4)
    assert first.next
    await remove_schedule(ledger, first.next.id)
    rest = await read_schedules(ledger, limit=10, after=first.next)
    assert [each.id for each in rest.rows] == [f"default-{n:03}" for n in range(4, 9)]
