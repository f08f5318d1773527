"""What those who ask a model for a value need of the client."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from pydantic import BaseModel

from nightshift.llm.prompts import PromptMessage
from nightshift.llm.replies import Answer
from nightshift.llm.settings import Use
from nightshift.money.payer import Payer


class Asks[T: BaseModel](Protocol):
    """The one client of models, asked for values of one kind."""

    async def ask(
        self,
        use: Use,
        messages: Sequence[PromptMessage],
        payer: Payer,
        *,
        schema: type[T],
        max_tokens: int,
        deadline: timedelta,
    ) -> Answer[T]: ...
