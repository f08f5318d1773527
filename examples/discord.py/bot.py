"""
An echo bot for Discord, made always-on by the lines that end in a plus.

It needs discord.py, and for the rest `pip install nightshift[client]`:

    DISCORD_TOKEN=… NIGHT_URL=http://127.0.0.1:8390 NIGHT_TOKEN=nst_… python bot.py
"""

from __future__ import annotations

import logging
import os

import discord

from nightshift.client import Nightshift  # +

night = Nightshift(os.environ["NIGHT_URL"], os.environ["NIGHT_TOKEN"], platform="discord")  # +

log = logging.getLogger("bot")


class Echo(discord.Client):
    """Says again what it hears."""

    async def setup_hook(self) -> None:  # +
        self.always_on = self.loop.create_task(self.work())  # +

    async def on_ready(self) -> None:
        log.info("here as %s", self.user)
        night.connected(self.user.id)  # +

    async def work(self) -> None:  # +
        async with night:  # +
            async for work in night.work():  # +
                await work.reply(work.instruction)  # +  here a cleverer bot thinks

    async def on_message_edit(self, _: discord.Message, said: discord.Message) -> None:  # +
        await night.edited(said.channel.id, said.id, said.content, at=said.edited_at)  # +

    async def on_raw_message_delete(self, gone: discord.RawMessageDeleteEvent) -> None:  # +
        await night.deleted(gone.channel_id, gone.message_id)  # +

    async def on_message(self, said: discord.Message) -> None:
        by = said.author
        who = {"user_id": by.id, "user_name": by.name, "origin": "agent" if by.bot else "human"}  # +
        await night.observe(said.channel.id, said.id, said.content, at=said.created_at, **who)  # +
        if not by.bot:
            await said.channel.send(said.content)


if __name__ == "__main__":
    intents = discord.Intents.default()
    intents.message_content = True
    Echo(intents=intents).run(os.environ["DISCORD_TOKEN"], root_logger=True)
