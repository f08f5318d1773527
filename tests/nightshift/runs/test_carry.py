"""Carrying a run out: whatever happens to the work, the run ends up in a state somebody chose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from nightshift.base.errors import LostLease, Overloaded, PermanentError, RateLimited, StoreFull
from nightshift.runs import carry
from nightshift.runs.carry import REVOKED, Run, Work, carry_out
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, RunRow
from nightshift.runs.states import Outcome, Rules, State, done, skipped
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock, request

#: Renewed every ten milliseconds; it lapses only when a test moves the clock.
SHORT = Rules(lease=timedelta(milliseconds=30))
#: Never renewed within a test, as if the worker were frozen.
FROZEN = Rules(lease=timedelta(hours=1))


class RenewalWatch(Ledger):
    """A ledger that tells when a claim has been renewed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._renewed = asyncio.Condition()

    async def renew(self, *args: Any, **options: Any) -> str | None:
        answer = await super().renew(*args, **options)
        async with self._renewed:
            self._renewed.notify_all()
        return answer

    async def renewal(self) -> None:
        """Wait for one that begins from now on."""
        for _ in range(2):
            async with self._renewed, asyncio.timeout(10):
                await self._renewed.wait()


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def ledger(redis: Redis, keys: Keys, clock: Clock) -> RenewalWatch:
    return RenewalWatch(redis, keys, SHORT, clock=clock)


@pytest.fixture
def frozen(redis: Redis, keys: Keys, clock: Clock) -> Ledger:
    return Ledger(redis, keys, FROZEN, clock=clock)


@pytest.fixture
async def news(ledger: Ledger, now: datetime) -> RunRequest:
    run = request("news", now, payload={"topic": "moon"}, deadline=timedelta(seconds=20))
    await ledger.record(run)
    return run


async def carry_one(ledger: Ledger, run: RunRequest, work: Work) -> State | str:
    return await carry_out(ledger, run.id, work, worker="w1", message="m1")


async def take_over(ledger: Ledger, run: RunRequest, clock: Clock) -> RunRow:
    """Let the lease lapse, between two renewals if need be, and claim the run."""
    while True:
        clock.now += ledger.rules.lease
        claimed = await ledger.claim(run.id, worker="rival", message="m2")
        if not isinstance(claimed, str):
            return claimed


class Endless:
    """Work that goes on until it is stopped."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = False

    async def __call__(self, run: Run) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped = True


# What work may come to


async def test_finished_work_ends_its_run_with_facts_and_cost(
    ledger: Ledger, news: RunRequest, now: datetime
) -> None:
    async def work(run: Run) -> Outcome:
        assert (run.id, run.nominal, run.started_at, run.payload) == (news.id, now, now, {"topic": "moon"})
        run.spend(4)
        run.spend(3)
        return done(found=3)

    assert await carry_one(ledger, news, work) == State.DONE
    row = await ledger.get(news.id)
    assert (row.state, row.result, row.cost) == (State.DONE, {"found": 3}, 7)
    assert await carry_one(ledger, news, work) == "ended"


def raises(error: BaseException) -> Work:
    async def work(run: Run) -> None:
        run.spend(2)
        raise error

    return work


async def finds_nothing(run: Run) -> Outcome:
    run.spend(2)
    return skipped("nothing new")


async def says_nothing(run: Run) -> None:
    run.spend(2)


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("work", "state", "reason", "wait", "spent"),
    [
        (says_nothing, "done", "", None, (0, 0)),
        (finds_nothing, "skipped", "nothing new", None, (0, 0)),
        # The other side names the time …
        (raises(RateLimited("429", retry_after=MINUTE)), "waiting", "RateLimited: 429", 60, (0, 1)),
        # … or we do.
        (raises(Overloaded("slow")), "waiting", "Overloaded: slow", 5, (0, 1)),
        (raises(PermanentError("no such room")), "failed", "PermanentError: no such room", None, (0, 0)),
        # Nobody's fault.
        (raises(StoreFull("maxmemory")), "waiting", "StoreFull: maxmemory", 60, (0, 0)),
        (raises(ZeroDivisionError("x / 0")), "waiting", "ZeroDivisionError: x / 0", 5, (1, 0)),
        # Not our being stopped: the work's own doing.
        (raises(asyncio.CancelledError()), "waiting", "RuntimeError: the work cancelled itself", 5, (1, 0)),
    ],
)
async def test_whatever_work_returns_or_raises_is_an_outcome(
    ledger: Ledger,
    news: RunRequest,
    now: datetime,
    work: Work,
    state: str,
    reason: str,
    wait: int | None,
    spent: tuple[int, int],
) -> None:
    assert await carry_one(ledger, news, work) == state
    row = await ledger.get(news.id)
    assert (row.state, row.reason, row.cost, (row.attempts, row.retries)) == (state, reason, 2, spent)
    if wait is not None:
        assert row.ready == now + timedelta(seconds=wait)


async def test_three_crashes_fail_the_run(ledger: Ledger, news: RunRequest, clock: Clock) -> None:
    states = []
    for _ in range(3):
        states.append(await carry_one(ledger, news, raises(ZeroDivisionError("x / 0"))))
        clock.move(minutes=10)
    assert states == ["waiting", "waiting", "failed"]
    assert (await ledger.get(news.id)).reason == "gave up after 3 attempts: ZeroDivisionError: x / 0"


async def test_work_that_outlasts_its_deadline_is_stopped_and_spends_an_attempt(
    ledger: Ledger, now: datetime
) -> None:
    run = request("slow", now, deadline=timedelta(milliseconds=20))
    await ledger.record(run)
    work = Endless()

    assert await carry_one(ledger, run, work) == State.WAITING
    assert work.stopped
    row = await ledger.get(run.id)
    assert (row.attempts, row.reason) == (1, "deadline: still working after 0:00:00.020000")


async def test_work_that_will_not_stop_does_not_hold_its_run_for_ever(
    ledger: Ledger, clock: Clock, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "HAND_BACK", timedelta(milliseconds=20))
    run = request("stubborn", now, deadline=timedelta(milliseconds=20))
    await ledger.record(run)
    let_go = asyncio.Event()
    came_to: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def stubborn(run: Run) -> None:
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()
        try:
            await run.save("too late")
        except LostLease:
            came_to.set_result("refused")

    assert await carry_one(ledger, run, stubborn) == State.WAITING
    clock.move(minutes=1)
    assert await carry_one(ledger, run, says_nothing) == State.DONE
    let_go.set()
    assert await came_to == "refused"


# Keeping and losing the claim


async def test_long_work_keeps_its_claim_for_many_leases(
    ledger: RenewalWatch, news: RunRequest, clock: Clock
) -> None:
    async def work(run: Run) -> None:
        for spent in range(5):
            clock.now += SHORT.lease - timedelta(milliseconds=1)
            run.spend(1)
            await ledger.renewal()
            assert await ledger.claim(news.id, worker="rival", message="m2") == "busy"
            assert (await ledger.look("pulse")).hints == []
            assert (await ledger.get(news.id)).cost == spent + 1

    assert await carry_one(ledger, news, work) == State.DONE


async def test_work_is_stopped_once_somebody_else_has_the_run_and_writes_nothing(
    ledger: Ledger, news: RunRequest, clock: Clock
) -> None:
    work = Endless()
    carried = asyncio.create_task(carry_one(ledger, news, work))
    await work.begun.wait()
    rival = await take_over(ledger, news, clock)

    assert await carried == "lost"
    assert work.stopped
    row = await ledger.get(news.id)
    assert (row.state, row.worker, row.token) == (State.RUNNING, "rival", rival.token)
    assert await ledger.settle(news.id, rival.token, done()) == State.DONE


@pytest.mark.parametrize("rival_ends", [True, False])
async def test_what_a_frozen_worker_finishes_too_late_is_refused(
    frozen: Ledger, news: RunRequest, clock: Clock, *, rival_ends: bool
) -> None:
    async def work(run: Run) -> Outcome:
        rival = await take_over(frozen, news, clock)
        if rival_ends:
            await frozen.settle(news.id, rival.token, done(by="rival"))
        return done(by="frozen")

    assert await carry_one(frozen, news, work) == "lost"
    row = await frozen.get(news.id)
    assert (row.state, row.result) == (("done", {"by": "rival"}) if rival_ends else ("running", None))


async def test_two_hints_for_one_run_do_its_work_once(ledger: Ledger, news: RunRequest) -> None:
    done_by = []

    async def work(run: Run) -> None:
        await asyncio.sleep(0)
        done_by.append(run.row.message)

    answers = await asyncio.gather(
        *(carry_out(ledger, news.id, work, worker="w", message=message) for message in ("m1", "m2"))
    )
    assert sorted(answers) in (["busy", "done"], ["done", "ended"])
    assert len(done_by) == 1


async def test_what_a_crashed_attempt_saved_is_there_for_the_next(
    ledger: Ledger, news: RunRequest, clock: Clock
) -> None:
    seen = []

    async def work(run: Run) -> Outcome:
        seen.append(run.checkpoint)
        if run.checkpoint is None:
            run.spend(5)
            await run.save({"answer": "yes"})
            raise ZeroDivisionError
        run.spend(1)
        return done()

    await carry_one(ledger, news, work)
    clock.move(minutes=1)
    assert await carry_one(ledger, news, work) == State.DONE
    assert seen == [None, {"answer": "yes"}]
    assert (await ledger.get(news.id)).cost == 6


async def test_saving_for_a_lost_run_tells_the_work_so(
    frozen: Ledger, news: RunRequest, clock: Clock
) -> None:
    went_on = False

    async def work(run: Run) -> None:
        nonlocal went_on
        await take_over(frozen, news, clock)
        await run.save("mine")
        went_on = True

    assert await carry_one(frozen, news, work) == "lost"
    assert not went_on
    assert (await frozen.get(news.id)).checkpoint is None


# Being stopped


async def test_a_run_cancelled_by_a_person_stops_working_and_is_skipped(
    ledger: Ledger, news: RunRequest
) -> None:
    work = Endless()
    carried = asyncio.create_task(carry_one(ledger, news, work))
    await work.begun.wait()
    assert await ledger.cancel(news.id, reason="no longer wanted") == "asked"

    assert await carried == State.SKIPPED
    assert work.stopped
    assert (await ledger.get(news.id)).reason == "no longer wanted"


async def test_saving_for_a_run_that_a_person_cancelled_stops_the_work(
    frozen: Ledger, news: RunRequest
) -> None:
    went_on = False

    async def work(run: Run) -> None:
        nonlocal went_on
        await frozen.cancel(news.id, reason="no longer wanted")
        await run.save("an answer")
        went_on = True

    assert await carry_one(frozen, news, work) == State.SKIPPED
    assert not went_on
    row = await frozen.get(news.id)
    assert (row.reason, row.checkpoint) == ("no longer wanted", "an answer")


@pytest.mark.parametrize(
    ("words", "state", "reason"),
    [
        ((), State.WAITING, "worker stopped"),  # somebody else goes on at once
        ((REVOKED,), State.SKIPPED, "revoked"),  # nobody shall
    ],
)
async def test_a_stopped_worker_gives_its_run_back_and_a_revoked_message_ends_it(
    ledger: Ledger, news: RunRequest, now: datetime, words: tuple[str, ...], state: State, reason: str
) -> None:
    work = Endless()
    carried = asyncio.create_task(carry_one(ledger, news, work))
    await work.begun.wait()
    carried.cancel(*words)

    with pytest.raises(asyncio.CancelledError):
        await carried
    assert work.stopped
    row = await ledger.get(news.id)
    assert (row.state, row.reason, row.attempts, row.retries) == (state, reason, 0, 0)
    assert row.ready == now


# A store that is away


class SettleWatch(Ledger):
    """A ledger that tells when a run is about to be settled."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.settling = asyncio.Event()

    async def settle(self, *args: Any, **options: Any) -> State:
        self.settling.set()
        return await super().settle(*args, **options)


@pytest.fixture
async def impatient(redis_socket: Path, keys: Keys, clock: Clock) -> AsyncIterator[SettleWatch]:
    """A ledger whose client gives up on a server that does not answer within a moment."""
    client = Redis(
        unix_socket_path=str(redis_socket),
        decode_responses=True,
        socket_timeout=0.05,
        retry=Retry(NoBackoff(), 0),
    )
    async with client:
        yield SettleWatch(client, keys, FROZEN, clock=clock)


def finishes_while_the_store_is_away(redis: Redis) -> Work:
    async def work(run: Run) -> Outcome:
        run.spend(7)
        await redis.client_pause(timeout=300)
        return done(found=3)

    return work


async def test_finished_work_waits_for_a_store_that_is_away(
    impatient: Ledger, redis: Redis, news: RunRequest
) -> None:
    assert await carry_one(impatient, news, finishes_while_the_store_is_away(redis)) == State.DONE
    row = await impatient.get(news.id)
    assert (row.result, row.cost) == ({"found": 3}, 7)


async def test_finished_work_stays_finished_when_its_worker_is_stopped_meanwhile(
    impatient: SettleWatch, redis: Redis, news: RunRequest
) -> None:
    carried = asyncio.create_task(carry_one(impatient, news, finishes_while_the_store_is_away(redis)))
    await impatient.settling.wait()
    carried.cancel()

    with pytest.raises(asyncio.CancelledError):
        await carried
    assert (await impatient.get(news.id)).result == {"found": 3}
