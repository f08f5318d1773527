"""Forgetting what was said in rooms of our own."""

from __future__ import annotations

from collections.abc import Iterable

from nightshift.base.refs import ChannelRef
from nightshift.base.subject import Subject
from nightshift.platforms.local import MESSAGES, LocalPlatform
from nightshift.platforms.platform import Platform


class RoomForgetter:
    """The rooms that we keep ourselves; what other platforms keep is theirs to forget."""

    name = "rooms"

    def __init__(self, platforms: Iterable[Platform]) -> None:
        self._local = {each.name: each for each in platforms if isinstance(each, LocalPlatform)}

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        platform = self._local.get(subject.ref.platform)
        if platform is None:
            return 0
        if isinstance(subject.ref, ChannelRef):
            said = len(await platform.history(subject.ref.id, limit=MESSAGES))
            if not dry_run:
                await platform.forget_room(subject.ref.id)
            return said
        rooms = {each.id for each in subject.channels if each.platform == platform.name}
        return await platform.forget_user(subject.ref.id, rooms, dry_run=dry_run)
