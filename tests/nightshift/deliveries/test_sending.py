from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from nightshift.base.errors import (
    BadSetting,
    LostLease,
    NotPossible,
    NotTaken,
    PlatformDown,
    RateLimited,
    RefusedByPlatform,
    SendUnknown,
)
from nightshift.base.refs import ChannelRef
from nightshift.deliveries.by_hand import DeliveryVerdict, resolve
from nightshift.runs.carry import Run, carry_out
from nightshift.runs.states import Outcome, State
from nightshift.store.client import store_now
from tests.nightshift.deliveries.conftest import Post

HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


async def test_what_the_platform_took_is_sent_and_remembered_as_our_own(post: Post) -> None:
    made = await post.ask("good morning", reply_to="m1")
    await post.work()
    sent = await post.deliveries.get(made.id)

    assert (sent.state, sent.message_id) == ("sent", f"m-{made.key[:8]}")
    assert sent.sent
    (out,) = post.chat.taken
    assert (out.channel_id, out.text, out.key, out.reply_to) == (
        made.channel.id,
        "good morning",
        made.key,
        "m1",
    )
    assert post.remembered == [sent]
    run = await post.ledger.get(made.sending_run)
    assert run.state is State.DONE
    assert run.result == {"delivery": made.id, "state": "sent", "reason": ""}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RefusedByPlatform("no such channel"), "failed"),
        (BadSetting("the token file is gone"), "failed"),
        (SendUnknown("the answer was lost"), "unknown"),
    ],
)
async def test_what_the_platform_says_is_the_deliverys_state_and_never_the_runs(
    post: Post, error: Exception, state: str
) -> None:
    made = await post.ask()
    post.chat.answers = [error]
    await post.work()
    found = await post.deliveries.get(made.id)
    assert (found.state, found.reason) == (state, str(error))
    assert (await post.ledger.get(made.sending_run)).state is State.DONE
    assert post.remembered == []


async def test_a_platform_that_nobody_set_is_named(post: Post) -> None:
    made = await post.ask(channel=ChannelRef("gone", "1"))
    await post.work()
    found = await post.deliveries.get(made.id)
    assert (found.state, found.reason) == ("failed", "no platform is called 'gone'; set [platforms.gone]")


async def test_no_tenant_speaks_with_anothers_token(post: Post) -> None:
    made = await post.ask(tenant="b")
    await post.work()
    found = await post.deliveries.get(made.id)
    assert (found.state, found.reason) == ("failed", "chat is set up for another tenant")
    assert not post.chat.taken


@pytest.mark.parametrize("repeatable", [timedelta(0), HOUR])
async def test_whoever_is_told_to_wait_is_sent_once_that_has_passed(
    post: Post, repeatable: timedelta
) -> None:
    post.chat.repeatable_for = repeatable
    made, behind = await post.ask("first"), await post.ask("second", number=1)
    post.chat.answers = [RateLimited("slow down", retry_after=timedelta(seconds=90))]
    await post.work()
    assert post.chat.texts == []
    run = await post.ledger.get(made.sending_run)
    assert (run.state, run.ready) == (State.WAITING, post.clock.now + timedelta(seconds=90))
    post.clock.move(seconds=90)
    await post.work()
    assert [await post.state(made), await post.state(behind)] == ["sent", "sent"]
    assert post.chat.texts == ["first", "second"]


@pytest.mark.parametrize(
    ("repeatable", "error", "state"),
    [
        (timedelta(0), PlatformDown, "failed"),
        # Where the same can be sent again, nobody can tell whether one of these got through
        (HOUR, PlatformDown, "unknown"),
        # unless the platform says so.
        (HOUR, NotTaken, "failed"),
    ],
)
async def test_a_platform_that_stays_down_fails_the_delivery_with_its_run(
    post: Post, repeatable: timedelta, error: type[PlatformDown], state: str
) -> None:
    post.chat.repeatable_for = repeatable
    made, behind = await post.ask("first"), await post.ask("second", number=1)
    post.chat.answers = [error("chat cannot be reached")] * post.ledger.rules.retries
    for _ in range(post.ledger.rules.retries):
        await post.work()
        post.clock.move(minutes=10)
    assert (await post.ledger.get(made.sending_run)).state is State.FAILED
    found = await post.deliveries.get(made.id)
    assert found.state == state
    assert found.reason.startswith(f"gave up after 6 retries: {error.__name__}")
    assert await post.state(behind) == "sent"


@pytest.mark.parametrize("then", [RateLimited("slow down"), RefusedByPlatform("kicked meanwhile")])
async def test_what_one_attempt_left_open_stays_open_whatever_the_next_one_is_told(
    post: Post, then: Exception
) -> None:
    post.chat.repeatable_for = timedelta(minutes=2)
    made = await post.ask()
    post.chat.answers = [PlatformDown("the answer was lost"), then]
    for _ in range(3):
        await post.work()
        post.clock.move(minutes=1, seconds=1)
    assert await post.state(made) == "unknown"
    assert post.chat.taken == []


async def test_what_may_have_been_sent_is_unknown_however_often_we_are_told_to_wait_afterwards(
    post: Post,
) -> None:
    post.chat.repeatable_for = HOUR
    made = await post.ask()
    post.chat.answers = [PlatformDown("the answer was lost"), *[RateLimited("slow down")] * 9]
    for _ in range(post.ledger.rules.retries):
        await post.work()
        post.clock.move(minutes=10)
    found = await post.deliveries.get(made.id)
    assert found.state == "unknown"
    assert found.reason.startswith("gave up after 6 retries: RateLimited")


@pytest.mark.parametrize(
    ("error", "state"),
    [(PlatformDown("the answer was lost"), "unknown"), (RateLimited("slow down"), "suppressed")],
)
async def test_shadow_that_begins_between_two_attempts_says_never_sent_only_of_what_surely_was_not(
    post: Post, error: Exception, state: str
) -> None:
    post.chat.repeatable_for = HOUR
    made = await post.ask()
    post.chat.answers = [error]
    await post.work()
    await post.switches.set("shadow", on=True)
    post.clock.move(minutes=1)
    await post.work()
    assert await post.state(made) == state
    assert (await post.ledger.get(made.sending_run)).state is State.DONE
    assert post.chat.taken == []


async def test_what_the_platform_surely_never_took_is_sent_however_long_it_was_away(post: Post) -> None:
    post.chat.repeatable_for = timedelta(minutes=2)
    made = await post.ask()
    post.chat.answers = [NotTaken("chat cannot be reached")] * 3
    for _ in range(4):
        await post.work()
        post.clock.move(minutes=10)
    assert await post.state(made) == "sent"


# Crashes


async def crash_between_their_accept_and_our_commit(post: Post) -> None:
    """The platform has the message, and whoever sent it is gone without a word."""
    (run,) = await post.waiting()
    post.chat.hold = asyncio.Event()
    post.chat.reached.clear()
    claimed = await post.ledger.claim(run, worker="w", message="m")
    assert not isinstance(claimed, str)

    sending = asyncio.create_task(post.sender.send(Run(claimed, post.ledger)))
    await post.chat.reached.wait()
    sending.cancel()
    await asyncio.wait({sending})
    post.chat.hold = None
    post.clock.move(seconds=31)
    await post.ledger.look("pulse")


async def test_after_a_crash_it_is_repeated_where_the_platform_knows_the_key(post: Post) -> None:
    post.chat.repeatable_for = HOUR
    made = await post.ask()
    await crash_between_their_accept_and_our_commit(post)
    await post.work()
    assert await post.state(made) == "sent"
    assert [out.key for out in post.chat.taken] == [made.key] * 2
    assert post.chat.texts == ["good morning"]


@pytest.mark.parametrize("repeatable", [timedelta(0), timedelta(seconds=30)])
async def test_after_a_crash_it_is_unknown_where_the_platform_would_take_it_for_another(
    post: Post, repeatable: timedelta
) -> None:
    post.chat.repeatable_for = repeatable
    made = await post.ask()
    await crash_between_their_accept_and_our_commit(post)
    await post.work()
    found = await post.deliveries.get(made.id)
    assert (found.state, found.reason) == (
        "unknown",
        "whoever was sending it left no word of how it came out",
    )
    assert len(post.chat.taken) == 1
    assert (await post.ledger.get(made.sending_run)).state is State.DONE


async def test_the_time_that_a_platform_knows_a_key_is_counted_from_the_first_send(post: Post) -> None:
    post.chat.repeatable_for = timedelta(seconds=60)
    made = await post.ask()
    await crash_between_their_accept_and_our_commit(post)
    await crash_between_their_accept_and_our_commit(post)
    await post.work()
    assert await post.state(made) == "unknown"


async def test_a_worker_that_crashes_each_time_leaves_it_unknown_and_the_next_is_sent(post: Post) -> None:
    post.chat.repeatable_for = HOUR
    made, behind = await post.ask("first"), await post.ask("second", number=1)
    for _ in range(post.ledger.rules.attempts):
        await crash_between_their_accept_and_our_commit(post)
    assert await post.state(made) == "unknown"
    await post.work()
    assert await post.state(behind) == "sent"


async def test_a_worker_that_was_given_up_and_hears_from_the_platform_settles_what_was_unknown(
    post: Post,
) -> None:
    made = await post.ask()
    claimed = await post.deliveries.claim(
        made.id, run=made.sending_run, claim="slow", repeatable_for=timedelta(0)
    )
    assert claimed
    assert not await post.deliveries.claim(
        made.id, run=made.sending_run, claim="next", repeatable_for=timedelta(0)
    )
    assert await post.state(made) == "unknown"
    with pytest.raises(NotPossible):
        await post.deliveries.sent(made.id, message_id="m", at=post.clock.now, claim="nobody's")
    assert (
        await post.deliveries.sent(made.id, message_id="m", at=post.clock.now, claim="slow")
    ).state == "sent"


async def test_whoever_lost_the_run_does_not_speak(post: Post) -> None:
    made = await post.ask()
    claimed = await post.ledger.claim(made.sending_run, worker="slow", message="m")
    assert not isinstance(claimed, str)

    post.clock.move(seconds=31)
    await post.ledger.look("pulse")
    with pytest.raises(LostLease):
        await post.sender.send(Run(claimed, post.ledger))
    assert post.chat.taken == []
    await post.work()
    assert post.chat.texts == ["good morning"]


async def test_a_send_that_a_person_cancels_at_the_last_moment_is_not_made(post: Post) -> None:
    made = await post.ask()

    async def cancelled_just_now(run: Run) -> Outcome:
        await post.ledger.cancel(run.id, reason="cancelled by ann")
        return await post.sender.send(run)

    await carry_out(post.ledger, made.sending_run, cancelled_just_now, worker="w", message="m")
    run, found = await post.ledger.get(made.sending_run), await post.deliveries.get(made.id)
    assert (run.state, run.reason) == (State.SKIPPED, "cancelled by ann")
    assert (found.state, found.reason) == ("failed", "cancelled by ann")
    assert post.chat.taken == []


async def test_what_was_sent_is_remembered_even_if_whoever_sent_it_died_before_it_could(post: Post) -> None:
    made = await post.ask()
    await post.deliveries.claim(made.id, run=made.sending_run, claim="c", repeatable_for=timedelta(0))
    await post.deliveries.sent(made.id, message_id="m", at=post.clock.now, claim="c")
    await post.work()
    assert [each.message_id for each in post.remembered] == ["m"]
    assert post.chat.taken == []


async def test_every_change_may_be_said_twice(post: Post) -> None:
    made = await post.ask()
    sender, at = {"run": made.sending_run, "repeatable_for": timedelta(0)}, post.clock.now
    for _ in range(2):
        assert await post.deliveries.claim(made.id, claim="c", **sender)  # type: ignore[arg-type]
    for _ in range(2):
        await post.deliveries.release(made.id, claim="c")
    for _ in range(2):
        assert await post.deliveries.claim(made.id, claim="d", **sender)  # type: ignore[arg-type]
    for _ in range(2):
        assert (await post.deliveries.unknown(made.id, "who knows", claim="d")).state == "unknown"
    for _ in range(2):
        assert (await post.deliveries.sent(made.id, message_id="m", at=at, claim="d")).message_id == "m"
    with pytest.raises(NotPossible, match="is sent, so it can no longer become failed"):
        await post.deliveries.failed(made.id, "no", claim="d")


# Freeze


async def test_a_freeze_keeps_it_waiting_and_a_thaw_lets_it_go(post: Post) -> None:
    made = await post.ask()
    await post.freeze.freeze("ann")
    await post.work()
    assert (await post.state(made), post.chat.taken) == ("requested", [])
    assert (await post.ledger.get(made.sending_run)).retries == 0
    await thaw(post)
    await post.work()
    assert await post.state(made) == "sent"


@pytest.mark.parametrize(("repeatable", "state"), [(10 * YEAR, "sent"), (timedelta(0), "unknown")])
async def test_a_freeze_cuts_short_what_is_on_its_way_as_a_crash_would(
    post: Post, repeatable: timedelta, state: str
) -> None:
    post.chat.repeatable_for, post.chat.hold = repeatable, asyncio.Event()
    made = await post.ask()
    sending = asyncio.create_task(post.work())
    await post.chat.reached.wait()
    await post.freeze.freeze("ann")
    await sending
    assert await post.state(made) == "requested"
    post.chat.hold = None
    await thaw(post)
    await post.work()
    assert await post.state(made) == state


async def thaw(post: Post) -> None:
    """End the freeze; what waited comes back by the store's own clock."""
    await post.freeze.thaw("ann")
    post.clock.now = await store_now(post.ledger.redis) + timedelta(minutes=1)


# By hand


async def test_what_is_unknown_is_marked_as_sent_by_whoever_looked(post: Post) -> None:
    made = await post.ask()
    post.chat.answers = [SendUnknown("lost")]
    await post.work()
    marked = await resolve(post.deliveries, made.id, DeliveryVerdict.SENT, by="ann")
    assert (marked.state, marked.reason) == ("sent", "marked as sent by ann")
    assert post.chat.taken == []


@pytest.mark.parametrize("error", [SendUnknown("lost"), RefusedByPlatform("no such channel")])
async def test_what_is_unknown_or_failed_is_sent_again_knowingly_under_another_key(
    post: Post, error: Exception
) -> None:
    made = await post.ask()
    post.chat.answers = [error]
    await post.work()
    again = await resolve(post.deliveries, made.id, DeliveryVerdict.RESEND, by="ann")
    assert (again.state, again.times, again.reason) == ("requested", 2, "sent again by ann")
    assert again.key != made.key
    await post.work()
    assert await post.state(made) == "sent"
    assert [out.key for out in post.chat.taken] == [again.key]


async def test_the_run_of_an_earlier_send_has_no_say_any_more(post: Post) -> None:
    made = await post.ask()
    post.chat.answers = [SendUnknown("lost")]
    await post.work()
    again = await resolve(post.deliveries, made.id, DeliveryVerdict.RESEND, by="ann")
    await post.ledger.replay(made.sending_run, by="ann")
    await post.ledger.cancel(made.sending_run)
    assert await post.state(made) == "requested"
    assert not await post.deliveries.claim(
        made.id, run=made.sending_run, claim="old", repeatable_for=timedelta(0)
    )
    claimed = await post.deliveries.claim(
        made.id, run=again.sending_run, claim="new", repeatable_for=timedelta(0)
    )
    assert claimed
    await post.deliveries.release(made.id, claim="old")
    assert not await post.deliveries.claim(
        made.id, run=again.sending_run, claim="next", repeatable_for=timedelta(0)
    )
    assert await post.state(made) == "unknown"
    await post.ledger.replay(made.sending_run, by="ann")
    await post.work()
    assert (await post.ledger.get(made.sending_run)).state is State.SKIPPED
    assert post.chat.taken == []


async def test_a_verdict_that_does_not_fit_is_refused_with_the_reason(post: Post) -> None:
    made = await post.ask()
    for verdict in DeliveryVerdict:
        with pytest.raises(NotPossible, match="is requested: it is still being sent"):
            await resolve(post.deliveries, made.id, verdict, by="ann")
    await post.work()
    for verdict in DeliveryVerdict:
        with pytest.raises(NotPossible, match="is sent: the platform has it"):
            await resolve(post.deliveries, made.id, verdict, by="ann")
    refused = await post.ask(number=1)
    post.chat.answers = [RefusedByPlatform("no")]
    await post.work()
    with pytest.raises(NotPossible, match="is failed: the platform does not have it; it can be sent again"):
        await resolve(post.deliveries, refused.id, DeliveryVerdict.SENT, by="ann")


async def test_two_people_who_send_it_again_at_once_send_it_once(post: Post) -> None:
    made = await post.ask()
    post.chat.answers = [SendUnknown("lost")]
    await post.work()
    unknown = await post.deliveries.get(made.id)
    await asyncio.gather(*(post.deliveries.send_again(unknown, by=who) for who in ("ann", "bob")))
    await post.work()
    assert len(post.chat.taken) == 1
