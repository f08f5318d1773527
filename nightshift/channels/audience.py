"""
Who may come to know what was said, and all that is made of it.

An audience is the channel itself (``str(ref)``), every channel of its server (``server:PLATFORM:ID``), every
channel there is (``everyone``), or nobody. ``may_see`` is the only rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from nightshift.base.errors import BadSetting
from nightshift.channels.channel import Channel

EVERYONE, NOBODY = "everyone", "nobody"
#: What a person may choose for a channel; the first holds until they do.
CHOICES = ("channel", "server", EVERYONE)


def server_audience(channel: Channel) -> str:
    return f"server:{channel.ref.platform}:{quote(channel.server_id, safe='')}"


def seen_by(channel: Channel) -> tuple[str, ...]:
    """The audiences that this channel belongs to, the narrowest first."""
    server = (server_audience(channel),) if channel.server_id and not channel.is_dm else ()
    return (str(channel.ref), *server, EVERYONE)


def may_see(audience: str, channel: Channel) -> bool:
    """Whether what has this audience may be told in this channel."""
    return audience in seen_by(channel)


def audience_of(channel: Channel) -> str:
    """Who may come to know what is said in this channel: nobody else, unless a person says otherwise."""
    if channel.is_dm or channel.audience not in seen_by(channel):
        return str(channel.ref)
    return channel.audience


def narrowed(then: str, channel: Channel) -> str:
    """What an audience of before has become: never wider than the channel's is now."""
    return merged([then if then in seen_by(channel) else str(channel.ref)], channel)


def chosen_audience(choice: str, channel: Channel) -> str:
    """The audience that a person's choice means for this channel, or a refusal."""
    if choice not in CHOICES:
        raise BadSetting(f"{choice!r} is no audience; there are {', '.join(CHOICES)}")
    if choice == "channel":
        return ""
    if channel.is_dm:
        raise BadSetting(
            f"{channel.ref} is a conversation between two; what is said there stays there (audience channel)"
        )
    if choice == "server" and not channel.server_id:
        raise BadSetting(f"no server is known of {channel.ref}; choose channel or {EVERYONE}")
    return server_audience(channel) if choice == "server" else EVERYONE


def merged(audiences: Iterable[str], channel: Channel) -> str:
    """The audience of what is made in this channel of several things: never wider than any of them."""
    known = seen_by(channel)
    all_of_them = {audience_of(channel), *audiences}
    return min(all_of_them, key=known.index) if all_of_them <= set(known) else NOBODY
