"""What people call the sources of runs: a channel by its name, not by what its platform calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nightshift.base.errors import BadQuery
from nightshift.base.refs import ChannelRef
from nightshift.channels.channels import Channels


async def name_sources(channels: Channels, sources: Iterable[str]) -> Callable[[str], str]:
    """Give the name of each of these sources, as far as its channel has one."""
    refs = {source: ref for source in sources if (ref := _channel_of(source))}
    titles = {each.ref: each.title for each in await channels.rows(sorted(set(refs.values())))}

    def name(source: str) -> str:
        title = titles.get(refs[source]) if source in refs else None
        return f"{source.partition(':')[0]} {title}" if title else source.removeprefix("job:")

    return name


def _channel_of(source: str) -> ChannelRef | None:
    """The channel that ends a source such as ``heartbeat:discord:42`` or ``work:owl:discord:42``."""
    _, *rest = source.split(":")
    try:
        return ChannelRef.parse(":".join(rest[-2:]))
    except BadQuery:
        return None
