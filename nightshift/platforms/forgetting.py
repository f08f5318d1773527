"""Forgetting what was said in rooms of our own."""

from __future__ import annotations

from collections.abc import Iterable

from nightshift.channels.ref import ChannelRef
from nightshift.memory.forget import What
from nightshift.platforms.local import MESSAGES, LocalPlatform
from nightshift.platforms.platform import Platform


class RoomForgetter:
    """The rooms that we keep ourselves; what other platforms keep is theirs to forget."""

    name = "rooms"

    def __init__(self, platforms: Iterable[Platform]) -> None:
        self._local = {each.name: each for each in platforms if isinstance(each, LocalPlatform)}

    async def forget(self, what: What, *, dry_run: bool = False) -> int:
        platform = self._local.get(what.subject.platform)
        if platform is None:
            return 0
        if isinstance(what.subject, ChannelRef):
            said = len(await platform.history(what.subject.id, limit=MESSAGES))
            if not dry_run:
                await platform.forget_room(what.subject.id)
            return said
        rooms = {each.id for each in what.channels if each.platform == platform.name}
        return await platform.forget_user(what.subject.id, rooms, dry_run=dry_run)
