"""Matrix's API as recorded; `tests/matrix` asks a real homeserver."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from nightshift.base.errors import PlatformDown, RefusedByPlatform
from nightshift.platforms.matrix import MatrixPlatform
from nightshift.platforms.platform import Outgoing, PastMessage
from tests.nightshift.platforms import shapes
from tests.nightshift.platforms.other_side import OtherSide, Reply
from tests.nightshift.platforms.shapes import (
    matrix_edit,
    matrix_event,
    matrix_member,
    matrix_redacted,
    matrix_room,
    matrix_state,
)

ROOM, OWN = "!room:example.org", "@bot:example.org"
CLIENT = "/_matrix/client/v3"
MESSAGES = f"{CLIENT}/rooms/!room:example.org/messages"


@pytest.fixture
async def matrix(other_side: OtherSide) -> AsyncIterator[MatrixPlatform]:
    matrix = MatrixPlatform("matrix", other_side.url, lambda: "syt_token")
    other_side.answer("GET", f"{CLIENT}/account/whoami", Reply(shapes.MATRIX_WHOAMI))
    yield matrix
    await matrix.close()


def page(*newest_first: Any, end: str | None = None, state: tuple[Any, ...] = ()) -> Reply:
    answer = {"start": "t0", "chunk": list(newest_first), "state": list(state)}
    return Reply(answer | ({"end": end} if end else {}))


async def past(
    matrix: MatrixPlatform, other_side: OtherSide, *pages: Reply, limit: int = 100
) -> list[PastMessage]:
    other_side.answer("GET", MESSAGES, *pages)
    return await matrix.history(ROOM, limit=limit)


async def test_a_message_is_named_by_its_key_and_notifies_nobody(
    matrix: MatrixPlatform, other_side: OtherSide
) -> None:
    other_side.answer("PUT", "*", Reply(shapes.MATRIX_SENT))
    key = "heartbeat:matrix:%21room@2026-11-20T12:00:00Z/0"
    sent = await matrix.send(Outgoing(ROOM, "Hello @room", key=key, reply_to="$before"))
    assert sent.message_id == "$sent"
    asked = other_side.asked[-1]
    transaction = "heartbeat:matrix:%2521room@2026-11-20T12:00:00Z%2F0"
    assert asked.path == f"{CLIENT}/rooms/!room:example.org/send/m.room.message/{transaction}"
    assert asked.headers["Authorization"] == "Bearer syt_token"
    assert asked.json == {
        "msgtype": "m.text",
        "body": "Hello @room",
        "m.mentions": {},
        "m.relates_to": {"m.in_reply_to": {"event_id": "$before"}},
    }


async def test_nothing_is_sent_into_a_room_that_is_encrypted_or_may_be(
    matrix: MatrixPlatform, other_side: OtherSide
) -> None:
    state = f"{CLIENT}/rooms/{ROOM}/state/m.room.encryption"
    other_side.answer("PUT", "*", Reply(shapes.MATRIX_SENT))
    other_side.answer("GET", state, Reply({"algorithm": "m.megolm.v1.aes-sha2"}))
    with pytest.raises(RefusedByPlatform, match="encrypted end to end"):
        await matrix.send(Outgoing(ROOM, "a secret", key="k"))
    other_side.answer("GET", state, Reply({}, status=502))
    with pytest.raises(PlatformDown):
        await matrix.send(Outgoing(ROOM, "a secret", key="k"))
    assert {asked.method for asked in other_side.asked} == {"GET"}


async def test_the_longest_text_still_makes_an_event(matrix: MatrixPlatform, other_side: OtherSide) -> None:
    other_side.answer("PUT", "*", Reply(shapes.MATRIX_SENT))
    for text in ('"' * 1_000_000, "🌙" * 1_000_000, "\n" * 999_999 + "x"):
        await matrix.send(Outgoing(ROOM, text, key="k"))
        body = other_side.asked[-1].json
        assert body["body"].endswith("…")
        assert len(json.dumps(body, ensure_ascii=False).encode()) < 65_000


async def test_history_is_told_oldest_first_with_names(matrix: MatrixPlatform, other_side: OtherSide) -> None:
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": "$one"}}}
    quoted = "> <@ann:example.org> Hello\n> there\n\nHello yourself"
    found = await past(
        matrix,
        other_side,
        page(
            matrix_event("$two", quoted, sender=OWN, at=1_800_000_001_500, content=reply),
            matrix_event("$one", "Hello\nthere"),
            state=(matrix_member("@ann:example.org", "Ann"), matrix_member(OWN, "")),
        ),
    )
    assert found == [
        PastMessage(
            "$one",
            "@ann:example.org",
            "Ann",
            "Hello\nthere",
            datetime.fromtimestamp(1_800_000_000, UTC),
        ),
        PastMessage(
            "$two",
            OWN,
            OWN,
            "Hello yourself",
            datetime.fromtimestamp(1_800_000_001.5, UTC),
            reply_to="$one",
            is_bot=True,
        ),
    ]


async def test_the_newest_edit_by_its_writer_is_the_text(
    matrix: MatrixPlatform, other_side: OtherSide
) -> None:
    [found] = await past(
        matrix,
        other_side,
        page(
            matrix_edit("$forged", "$one", "I owe you", sender="@eve:example.org"),
            matrix_edit("$second", "$one", "better still", at=1_800_000_002_000),
            matrix_edit("$first", "$one", "better"),
            matrix_edit("$lost", "$gone", "of what is not there"),
            matrix_event("$one", "good"),
        ),
    )
    assert (found.message_id, found.text) == ("$one", "better still")
    assert found.edited_at == datetime.fromtimestamp(1_800_000_002, UTC)


async def test_what_was_redacted_is_told_as_taken_back_whatever_it_was(
    matrix: MatrixPlatform, other_side: OtherSide
) -> None:
    found = await past(
        matrix,
        other_side,
        page(
            matrix_edit("$edit", "$three", "edited before it was taken back"),
            matrix_redacted("$three", sender=OWN),
            matrix_event("$two", "", unsigned={"redacted_because": 5}),
            matrix_event("$one", "") | {"content": {}, "unsigned": None},
            matrix_event("$zero", "fine"),
            state=(matrix_member("@ann:example.org", "Ann"),),
        ),
    )
    told = [(each.message_id, each.taken_back, each.text, each.user_name, each.is_bot) for each in found]
    assert told == [
        ("$zero", False, "fine", "Ann", False),
        ("$one", True, "", "Ann", False),
        ("$two", True, "", "Ann", False),
        ("$three", True, "", OWN, True),
    ]


async def test_what_was_taken_back_takes_the_place_of_no_message(
    matrix: MatrixPlatform, other_side: OtherSide
) -> None:
    found = await past(
        matrix,
        other_side,
        page(matrix_redacted("$six"), matrix_event("$five", "five"), matrix_redacted("$four"), end="t1"),
        page(matrix_event("$three", "three"), matrix_redacted("$two"), matrix_event("$one", "one"), end="t2"),
        limit=2,
    )
    assert [each.message_id for each in found] == ["$three", "$four", "$five", "$six"]


async def test_what_makes_no_sense_is_passed_over(matrix: MatrixPlatform, other_side: OtherSide) -> None:
    nonsense: list[Any] = [
        5,
        {},
        matrix_event("$a", "x", content={"body": 5}),
        matrix_event("$b", "x", content={"body": {"a": 1}, "m.relates_to": 7}),
        matrix_event("$c", "x", content={"m.relates_to": {"m.in_reply_to": "x"}}),
        matrix_event("$d", "x", at=10**30),
        matrix_event("$e", "x", at=-1),
        matrix_event("", "x"),
        matrix_redacted(""),
        matrix_redacted("$topic") | {"type": "m.room.topic"},
        matrix_event("$f", "cat.jpg", content={"msgtype": "m.image", "body": "cat.jpg"}),
    ]
    state = (5, {"type": "m.room.member", "content": 3}, matrix_member("@ann:example.org", "Ann"))
    found = await past(matrix, other_side, page(*nonsense, matrix_event("$fine", "fine"), state=state))
    assert [(each.message_id, each.user_name) for each in found] == [("$fine", "Ann")]


async def test_pages_are_read_until_there_are_enough_messages(
    matrix: MatrixPlatform, other_side: OtherSide
) -> None:
    found = await past(
        matrix,
        other_side,
        page(matrix_edit("$e", "$two", "two!"), end="t1"),
        page(matrix_event("$three", "three"), matrix_event("$two", "two"), end="t2"),
        page(matrix_event("$one", "one"), end="t3"),
        limit=2,
    )
    assert [each.text for each in found] == ["two!", "three"]
    asked = [each.query.get("from") for each in other_side.asked if each.path == MESSAGES]
    assert asked == [None, "t1"]


async def test_a_homeserver_that_never_comes_to_an_end_is_left_in_time(
    matrix: MatrixPlatform, other_side: OtherSide
) -> None:
    assert await past(matrix, other_side, page(end="again")) == []
    assert len(other_side.asked) < 20


async def test_rooms_are_listed_with_names_and_members_but_none_that_encrypts_and_no_invitations(
    matrix: MatrixPlatform, other_side: OtherSide
) -> None:
    rooms = {
        "!a:example.org": matrix_room(12, matrix_state("m.room.name", name="Garden")),
        "!b:example.org": matrix_room(2, heroes=("@ann:example.org",)),
        "!c:example.org": matrix_room(3, matrix_state("m.room.canonical_alias", alias="#c:example.org")),
        "!d:example.org": matrix_room(9, matrix_state("m.room.create", type="m.space")),
        "!e:example.org": matrix_room(3, matrix_state("m.room.name", name=["odd"]), {}, {"type": 5}),
        "!g:example.org": matrix_room(2, matrix_state("m.room.encryption", algorithm="m.megolm.v1.aes-sha2")),
        "!h:example.org": matrix_room(2, matrix_state("m.room.encryption") | {"content": None}),
    }
    invited: dict[str, object] = {"!f:example.org": {"invite_state": {"events": []}}}
    other_side.answer("GET", f"{CLIENT}/sync", Reply({"rooms": {"join": rooms, "invite": invited}}))
    found = await matrix.servers_and_channels()
    assert [(each.id, each.name, each.member_count, each.is_dm) for each in found] == [
        ("!a:example.org", "Garden", 12, False),
        ("!b:example.org", "@ann:example.org", 2, True),
        ("!c:example.org", "#c:example.org", 3, False),
        ("!e:example.org", "", 3, False),
    ]
    assert not any(each.channels for each in found)
    asked = json.loads(other_side.asked[-1].query["filter"])["room"]["state"]["types"]
    assert {"m.room.name", "m.room.create", "m.room.encryption"} <= set(asked)
    assert {asked.method for asked in other_side.asked} == {"GET"}


@pytest.mark.parametrize(
    "lie", [{"rooms": {"join": [1]}}, {"rooms": {"join": {"\x00": {}}}}, {"rooms": 5}, []]
)
async def test_rooms_that_make_no_sense_are_no_rooms(
    matrix: MatrixPlatform, other_side: OtherSide, lie: Any
) -> None:
    other_side.answer("GET", f"{CLIENT}/sync", Reply(lie))
    with pytest.raises(PlatformDown, match="makes no sense"):
        await matrix.servers_and_channels()
