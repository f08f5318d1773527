"""Which channels are visited, and what is kept of them."""

from __future__ import annotations

from datetime import timedelta

from nightshift.base.refs import ChannelRef, UserRef
from nightshift.base.subject import Subject
from nightshift.heartbeats.forgetting import VisitForgetter
from nightshift.heartbeats.row import source_of
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.heartbeats.tending import tend
from tests.nightshift.heartbeats.scene import ROOM, Scene

AGAIN = timedelta(minutes=1)


async def pass_over(scene: Scene) -> dict[str, int]:
    return await tend(scene.messages.channels, scene.visits, scene.rules, now=scene.now, again=AGAIN)


async def visit_keys(scene: Scene) -> set[str]:
    """What stands in the store of visits, apart from the ledger's own rows."""
    keys = {key async for key in scene.redis.scan_iter(f"{scene.keys.root}*beat*")}
    return {key for key in keys if not key.startswith((scene.keys.run(""), scene.keys.lane("")))}


async def test_every_key_the_scripts_leave_is_one_that_keys_builds(scene: Scene) -> None:
    await scene.looked(await scene.visit())
    await scene.visit()
    await scene.visits.may_act(ROOM, "run", ["mark"], "topic", scene.rules)
    await scene.come()
    other = ChannelRef("discord", "2")
    await scene.adopt(other)
    keys = scene.keys
    rows = {keys.visit(str(ref)) for ref in (ROOM, other)}
    assert await visit_keys(scene) == {keys.visits, keys.visits_out, keys.skips(source_of(ROOM)), *rows}


async def test_the_most_recently_used_channels_visit_and_others_make_room(scene: Scene) -> None:
    scene.heed(channels=2)
    others = [ChannelRef("discord", name) for name in ("a", "b")]
    for ref in others:
        scene.clock.move(minutes=1)
        await scene.say(ref=ref)
    assert await pass_over(scene) == {"adopted": 2, "dropped": 1, "misplaced": 0}
    assert await pass_over(scene) == {"adopted": 0, "dropped": 0, "misplaced": 0}
    assert (await scene.row()).next_at is None
    scene.clock.move(minutes=1)
    await scene.say()
    assert await pass_over(scene) == {"adopted": 1, "dropped": 1, "misplaced": 0}
    assert (await scene.row()).next_at


async def test_a_visit_that_is_out_is_dropped_too(scene: Scene) -> None:
    await scene.come()
    scene.heed(channels=0)
    assert (await pass_over(scene))["dropped"] == 1
    assert await scene.visits.count() == 0


async def test_rules_changed_live_are_heeded_by_the_next_beat(scene: Scene) -> None:
    book = RuleBook(scene.redis, scene.keys, scene.rules)
    await book.set({"interval": timedelta(hours=2), "jitter": 0})
    visited = await scene.visit()
    assert visited.next == scene.now + timedelta(hours=2)
    assert (await scene.row()).interval == timedelta(hours=2)
    await book.unset("interval")
    assert (await book.read()).interval == timedelta(minutes=30)
    assert (await book.read()).jitter == 0


async def test_forgetting_a_channel_leaves_nothing_of_its_visits(scene: Scene) -> None:
    await scene.looked(await scene.visit())
    await scene.visit()  # skipped, with a reason that is kept
    what, forgetter = Subject(ROOM, (ROOM,)), VisitForgetter(scene.visits)
    assert await forgetter.forget(what, dry_run=True) == 1
    assert await scene.visits.find(ROOM)
    assert await forgetter.forget(what) == 1
    assert not {*await visit_keys(scene)}
    assert await forgetter.forget(what) == 0


async def test_forgetting_a_user_drops_what_acts_were_about_and_lets_the_channel_visit_on(
    scene: Scene,
) -> None:
    assert await scene.visits.may_act(ROOM, "run", ["mark"], "ada's birthday", scene.rules) is None
    what, forgetter = Subject(UserRef("discord", "ada"), (ROOM,)), VisitForgetter(scene.visits)
    assert await forgetter.forget(what, dry_run=True) == 1
    assert await forgetter.forget(what) == 1
    (act,) = (await scene.row()).acts
    assert (act.topic, act.run) == ("", "run")
    assert (await scene.row()).next_at
