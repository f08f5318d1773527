from __future__ import annotations

from nightshift.controls.switches import KNOWN
from tests.nightshift.cli.conftest import Cli, answer


async def test_a_switch_is_flipped_and_shown(cli: Cli) -> None:
    assert (await cli("switches", "set", "chat_llm_enabled", "off")).exit_code == 0
    told = answer(await cli("switches", "--json"))
    assert told["switches"] == {name: name != "shadow" for name in KNOWN} | {"chat_llm_enabled": False}
    assert told["paused"] == {}
    assert "lets through work that asks a model" in (await cli("switches")).stdout


async def test_an_unknown_switch_or_position_is_wrong_use(cli: Cli) -> None:
    unknown, nowhere = await cli("switches", "set", "x", "on"), await cli("switches", "set", "x", "maybe")
    assert (unknown.exit_code, nowhere.exit_code) == (2, 2)
    assert f"known ones: {', '.join(sorted(KNOWN))}" in unknown.stderr
    assert "maybe" in nowhere.stderr
