"""What an echo bot needs to be always-on is no more than is said."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES

MOST = 15
BOTS = ["discord.py/bot.py", "matrix/bot.py", "typescript/bot.ts"]


def added(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line for line in lines if re.search(r"(#|//) \+(  |$)", line)]


@pytest.mark.parametrize("bot", BOTS)
def test_an_echo_bot_becomes_always_on_in_few_lines(bot: str) -> None:
    assert 0 < len(added(EXAMPLES / bot)) <= MOST


@pytest.mark.parametrize("bot", [bot for bot in BOTS if bot.endswith(".py")])
def test_what_is_marked_is_all_that_has_to_do_with_nightshift(bot: str) -> None:
    marked = added(EXAMPLES / bot)
    rest = [line for line in (EXAMPLES / bot).read_text().splitlines() if line not in marked]
    tree = ast.parse("\n".join(rest))
    tree.body = tree.body[1:]  # the docstring tells of it
    assert "night" not in ast.unparse(tree)
