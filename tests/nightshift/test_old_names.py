"""What the pages once had people import still works for a version; what has moved says where to."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from nightshift import simulator
from nightshift.deployment import close_deployment, deployment
from tasks import job
from tests.nightshift.cli.conftest import broker, keys, redis, settled

__all__ = ["broker", "keys", "redis", "settled"]

#: Where the house itself has them; they warn nobody.
STILL_THERE = [
    ("nightshift.runs.carry", "Run"),
    ("nightshift.runs.states", "Outcome"),
    ("nightshift.runs.states", "done"),
    ("tasks.run", "carried_out_as_run"),
]


@pytest.mark.parametrize(("module", "name"), STILL_THERE)
def test_what_has_not_moved_is_what_the_door_offers(module: str, name: str) -> None:
    assert getattr(import_module(module), name) is getattr(job, name)


def test_prompts_have_not_moved() -> None:
    assert import_module("nightshift.llm.prompts").load is job.load_prompt


def test_the_payers_occasion_under_its_old_name_warns() -> None:
    payer = import_module("nightshift.money.payer")
    with pytest.warns(DeprecationWarning, match=r"tasks\.job\.Occasion"):
        assert payer.Kind is job.Occasion
    with pytest.raises(AttributeError, match="Kinds"):
        _ = payer.Kinds


def test_the_simulator_under_its_old_name_warns() -> None:
    for name in simulator.__all__:
        with pytest.warns(DeprecationWarning, match=rf"import {name} from nightshift\.simulator") as warned:
            found = getattr(import_module("nightshift.llm.simulated"), name)
        assert found is getattr(simulator, name)
        assert warned[0].filename == __file__


async def test_asking_a_model_by_its_old_name_warns_and_asks_as_ever(
    settled: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "nightshift.bootstrap", raising=False)
    with pytest.warns(DeprecationWarning, match=r"tasks\.job\.ask") as warned:
        import nightshift.bootstrap as old
    assert warned[0].filename == __file__
    assert old.models() is deployment().llm.models
    await close_deployment()
