from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.nightshift.platforms.other_side import OtherSide


@pytest.fixture
async def other_side() -> AsyncIterator[OtherSide]:
    async with OtherSide().listening() as other_side:
        yield other_side
