"""What the platforms' APIs answer, as recorded; ids and names are made up."""

from __future__ import annotations

from typing import Any

# Matrix

MATRIX_WHOAMI = {"user_id": "@bot:example.org", "is_guest": False, "device_id": "ABCDEFG"}
MATRIX_SENT = {"event_id": "$sent"}
MATRIX_LIMITED = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 3000}
MATRIX_UNKNOWN_TOKEN = {
    "errcode": "M_UNKNOWN_TOKEN",
    "error": "Invalid access token passed.",
    "soft_logout": False,
}
MATRIX_FORBIDDEN = {"errcode": "M_FORBIDDEN", "error": "User @bot:example.org not in room !room:example.org"}


def matrix_event(id: str, text: str, *, at: int = 1_800_000_000_000, **more: Any) -> dict[str, Any]:
    content = {"msgtype": "m.text", "body": text} | more.pop("content", {})
    return {
        "type": "m.room.message",
        "room_id": "!room:example.org",
        "sender": "@ann:example.org",
        "content": content,
        "origin_server_ts": at,
        "unsigned": {"age": 10},
        "event_id": id,
        "user_id": "@ann:example.org",
        "age": 10,
        **more,
    }


def matrix_edit(id: str, of: str, text: str, **more: Any) -> dict[str, Any]:
    content = {
        "m.new_content": {"msgtype": "m.text", "body": text},
        "m.relates_to": {"rel_type": "m.replace", "event_id": of},
    }
    return matrix_event(id, f"* {text}", content=content, **more)


def matrix_redacted(id: str, **more: Any) -> dict[str, Any]:
    """What is left of a message that was taken back."""
    because = {
        "type": "m.room.redaction",
        "room_id": "!room:example.org",
        "sender": "@ann:example.org",
        "content": {"redacts": id, "reason": "regretted"},
        "redacts": id,
        "origin_server_ts": 1_800_000_005_000,
        "event_id": f"$redaction-of-{id.strip('$')}",
        "unsigned": {"age": 5},
    }
    unsigned = {"age": 10, "redacted_by": because["event_id"], "redacted_because": because}
    return matrix_event(id, "", unsigned=unsigned, **more) | {"content": {}}


def matrix_member(user_id: str, name: str) -> dict[str, Any]:
    return {
        "type": "m.room.member",
        "state_key": user_id,
        "sender": user_id,
        "content": {"membership": "join", "displayname": name},
        "origin_server_ts": 1_799_000_000_000,
        "event_id": f"$join-{name}",
    }


def matrix_room(members: int, *events: dict[str, Any], heroes: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "timeline": {"events": [], "prev_batch": "t1", "limited": True},
        "state": {"events": list(events)},
        "account_data": {"events": []},
        "ephemeral": {"events": []},
        "unread_notifications": {"notification_count": 0, "highlight_count": 0},
        "summary": {
            "m.joined_member_count": members,
            "m.invited_member_count": 0,
            "m.heroes": list(heroes),
        },
    }


def matrix_state(type: str, /, **content: Any) -> dict[str, Any]:
    return {"type": type, "state_key": "", "sender": "@ann:example.org", "content": content}


# Discord

DISCORD_ME = {
    "id": "80351110224678912",
    "username": "nightshift",
    "discriminator": "0",
    "global_name": None,
    "avatar": None,
    "bot": True,
    "mfa_enabled": False,
    "flags": 0,
}
DISCORD_LIMITED = {"message": "You are being rate limited.", "retry_after": 3.0, "global": False}
DISCORD_UNAUTHORIZED = {"message": "401: Unauthorized", "code": 0}
DISCORD_FORBIDDEN = {"message": "Missing Access", "code": 50001}


def discord_message(id: str, text: str, *, channel: str = "1001", **more: Any) -> dict[str, Any]:
    return {
        "type": 0,
        "content": text,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "timestamp": "2026-11-20T12:00:00.123000+00:00",
        "edited_timestamp": None,
        "flags": 0,
        "components": [],
        "id": id,
        "channel_id": channel,
        "author": {
            "id": "53908232506183680",
            "username": "ann",
            "discriminator": "0",
            "global_name": "Ann",
            "avatar": None,
        },
        "pinned": False,
        "mention_everyone": False,
        "tts": False,
        **more,
    }


def discord_guild(id: str, name: str, members: int) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "icon": None,
        "owner": False,
        "permissions": "36953089",
        "features": ["COMMUNITY"],
        "approximate_member_count": members,
        "approximate_presence_count": 3,
    }


def discord_channel(id: str, type: int, name: str) -> dict[str, Any]:
    return {
        "id": id,
        "type": type,
        "name": name,
        "guild_id": "2001",
        "position": 1,
        "permission_overwrites": [],
    }


# Slack

SLACK_IDENTITY = {
    "ok": True,
    "url": "https://example.slack.com/",
    "team": "Example",
    "user": "nightshift",
    "team_id": "T12345678",
    "user_id": "W12345678",
    "bot_id": "B12345678",
}
SLACK_POSTED = {
    "ok": True,
    "channel": "C123456",
    "ts": "1503435956.000247",
    "message": {"text": "Hello", "bot_id": "B12345678", "type": "message", "ts": "1503435956.000247"},
}
SLACK_HISTORY = {
    "ok": True,
    "messages": [
        {
            "type": "message",
            "user": "W12345678",
            "bot_id": "B12345678",
            "text": "of our own",
            "ts": "1800000003.000000",
            "thread_ts": "1800000001.000000",
        },
        {
            "type": "message",
            "subtype": "channel_join",
            "user": "U012AB3CDE",
            "text": "<@U012AB3CDE> has joined the channel",
            "ts": "1800000002.000000",
        },
        {
            "type": "message",
            "user": "U012AB3CDE",
            "text": "more &lt;b&gt; &amp; less",
            "ts": "1800000001.000000",
            "thread_ts": "1800000001.000000",
            "edited": {"user": "U012AB3CDE", "ts": "1800000009.000000"},
        },
    ],
    "has_more": True,
    "pin_count": 0,
    "response_metadata": {"next_cursor": "bmV4dA=="},
}
SLACK_ROOMS = {
    "ok": True,
    "channels": [
        {"id": "C012AB3CD", "name": "general", "is_channel": True, "is_im": False, "is_member": True},
        {"id": "C061EG9T2", "name": "random", "is_channel": True, "is_im": False, "is_member": False},
        {"id": "D0G9QPQLV", "created": 1_449_709_364, "is_im": True, "user": "U012AB3CDE"},
    ],
    "response_metadata": {"next_cursor": ""},
}

# Telegram

TELEGRAM_ME = {
    "ok": True,
    "result": {"id": 123456, "is_bot": True, "first_name": "nightshift", "username": "nightshift_bot"},
}
TELEGRAM_SENT = {
    "ok": True,
    "result": {
        "message_id": 42,
        "from": {"id": 123456, "is_bot": True, "first_name": "nightshift"},
        "chat": {"id": -1001234, "title": "Example", "type": "supergroup"},
        "date": 1_800_000_000,
        "text": "Hello",
    },
}
TELEGRAM_LIMITED = {
    "ok": False,
    "error_code": 429,
    "description": "Too Many Requests: retry after 3",
    "parameters": {"retry_after": 3},
}
TELEGRAM_UNAUTHORIZED = {"ok": False, "error_code": 401, "description": "Unauthorized"}
TELEGRAM_FORBIDDEN = {
    "ok": False,
    "error_code": 403,
    "description": "Forbidden: bot was kicked from the supergroup chat",
}
