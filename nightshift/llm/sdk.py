"""OpenAI's SDK, loaded by whoever asks a model: beat, which imports every task, does without its 30 MB."""

from __future__ import annotations

import asyncio
from importlib import import_module

_here = False


async def load_sdk() -> None:
    """
    Have the SDK and what carries it imported, before anything on the loop says ``import`` for itself.

    It takes a second, or ten on a machine that is cold and busy. On the loop no claim would be renewed
    meanwhile, and whoever took the run over would pay for the same answer again.
    """
    global _here
    if not _here:
        for module in ("openai", "nightshift.llm.transport"):
            await asyncio.to_thread(import_module, module)
        _here = True
